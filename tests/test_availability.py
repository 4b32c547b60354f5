"""
Tests for mailer.availability.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.availability import MAX_PAUSE, Availability
from mailer.reply import BUSY_451, UNREACHABLE_451

TIMES = st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=30).map(sorted)


def failed(times):
    """
    Return the availability of a server that failed so often, at second 100.
    """
    availability = Availability()
    for _ in range(times):
        availability.failed(100.0)
    return availability


def test_asked_from_the_start():
    """
    A server of which nothing is known is up, and asked every time.
    """
    availability = Availability()
    assert [None, None, True] == [
        availability.refusal(0.0),
        availability.refusal(0.0),
        availability.is_up,
    ]


@pytest.mark.parametrize(
    ("failures", "pause"), [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5), (10, 5), (2000, 5)]
)
def test_pause_after_failures(failures, pause):
    """
    The pause doubles with each failure, up to five seconds.
    """
    availability = failed(failures)
    assert UNREACHABLE_451 == availability.refusal(100.0)
    assert UNREACHABLE_451 == availability.refusal(100.0 + pause - 0.001)
    assert availability.refusal(100.0 + pause) is None


def test_down_until_an_answer():
    """
    The end of a pause does not make a server up; an answer does.
    """
    availability = failed(1)
    availability.refusal(200.0)
    assert not availability.is_up
    availability.answered(200.0)
    assert availability.is_up


def test_one_probe():
    """
    After the pause one delivery goes out, the others are answered at once.
    """
    availability = failed(1)
    assert [None, UNREACHABLE_451, UNREACHABLE_451] == [
        availability.refusal(101.0) for _ in range(3)
    ]


def test_probe_without_outcome():
    """
    A probe that never ends lets another one through after five seconds.
    """
    availability = failed(1)
    availability.refusal(101.0)
    assert UNREACHABLE_451 == availability.refusal(101.0 + MAX_PAUSE - 0.001)
    assert availability.refusal(101.0 + MAX_PAUSE) is None


def test_answer_ends_the_pause():
    """
    After an answer everyone is let through, and failures count from one again.
    """
    availability = failed(5)
    availability.answered(100.0)
    assert [None, None] == [availability.refusal(100.0), availability.refusal(100.0)]
    availability.failed(100.0)
    assert availability.refusal(101.0) is None


def test_busy_server():
    """
    A server that asks for a pause is up, and gets it.
    """
    availability = Availability()
    availability.answered(100.0, retry_after=30.0)
    assert availability.is_up
    assert BUSY_451 == availability.refusal(129.9)
    assert availability.refusal(130.0) is None


def test_busy_server_gets_one_probe():
    """
    After the pause that was asked for, one delivery goes out first.
    """
    availability = Availability()
    availability.answered(100.0, retry_after=30.0)
    assert [None, BUSY_451] == [availability.refusal(130.0), availability.refusal(130.0)]


@given(st.integers(1, 12), TIMES)
def test_probes_are_rare(failures, times):
    """
    While a server is down, two probes are at least five seconds apart.
    """
    availability = failed(failures)
    probes = [time for time in times if availability.refusal(100.0 + time) is None]
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert all(gap >= MAX_PAUSE - 1e-6 for gap in gaps)
