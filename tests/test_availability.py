"""
Tests for mailer.availability.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.availability import TRIAL, Availability
from mailer.reply import BUSY_451, TLS_FAILED_451, UNREACHABLE_451

TIMES = st.lists(st.floats(0, 120, allow_nan=False), min_size=1, max_size=30).map(sorted)


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
    ("failures", "pause"), [(1, 1), (2, 2), (3, 4), (4, 4), (10, 4), (2000, 4)]
)
def test_pause_after_failures(failures, pause):
    """
    The pause doubles with each failure, up to four seconds.
    """
    availability = failed(failures - 1)
    assert pause == availability.failed(100.0)
    assert UNREACHABLE_451 == availability.refusal(100.0)
    assert UNREACHABLE_451 == availability.refusal(100.0 + pause - 0.001)
    assert availability.refusal(100.0 + pause) is None


def test_down_until_an_answer():
    """
    The end of a pause does not make a server up; an answer does.
    """
    availability = failed(1)
    availability.called(200.0)
    assert not availability.is_up
    availability.answered(200.0)
    assert availability.is_up


def test_one_trial():
    """
    After the pause one delivery goes out, the others are answered at once.
    """
    availability = failed(1)
    assert availability.refusal(101.0) is None
    availability.called(101.0)
    assert UNREACHABLE_451 == availability.refusal(101.0)


def test_trial_without_outcome():
    """
    A trial that does not end lets another one through after half a minute.
    """
    availability = failed(1)
    availability.called(101.0)
    assert UNREACHABLE_451 == availability.refusal(101.0 + TRIAL - 0.001)
    assert availability.refusal(101.0 + TRIAL) is None


def test_calls_to_a_server_that_is_up_are_no_trials():
    """
    One call under way holds up no other.
    """
    availability = Availability()
    availability.called(100.0)
    assert availability.refusal(100.0) is None


def test_the_reply_tells_the_reason():
    """
    Mail for a server that cannot be reached is told why.
    """
    availability = Availability()
    availability.failed(100.0, TLS_FAILED_451)
    assert TLS_FAILED_451 == availability.refusal(100.0)


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


def test_busy_server_gets_one_trial():
    """
    After the pause that was asked for, one delivery goes out first.
    """
    availability = Availability()
    availability.answered(100.0, retry_after=30.0)
    assert availability.refusal(130.0) is None
    availability.called(130.0)
    assert BUSY_451 == availability.refusal(130.0)


@given(st.integers(1, 12), TIMES)
def test_trials_are_rare(failures, times):
    """
    While a server is down, two trials are at least half a minute apart.
    """
    availability = failed(failures)
    trials = []
    for time in times:
        if availability.refusal(100.0 + time) is None:
            availability.called(100.0 + time)
            trials.append(time)
    gaps = [later - earlier for earlier, later in pairwise(trials)]
    assert all(gap >= TRIAL - 1e-6 for gap in gaps)
