"""
Tests for mailer.throttle.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer import throttle
from mailer.throttle import Throttle, source_of


def test_a_burst_and_then_one_an_interval():
    """
    After three in a row one more comes free every ten seconds.
    """
    limit = Throttle(3, 10.0)
    assert [0, 0, 0, 10, 10] == [limit.wait("a", 100.0) for _ in range(5)]
    assert limit.wait("a", 104.0) == 6
    assert [0, 10] == [limit.wait("a", 110.0) for _ in range(2)]
    assert [0, 0, 0, 10] == [limit.wait("a", 1000.0) for _ in range(4)]


def test_sources_do_not_disturb_each_other():
    """
    Each has its own bucket.
    """
    limit = Throttle(1, 10.0)
    assert [0, 0, 10] == [limit.wait(source, 0.0) for source in "aba"]


def test_few_sources_are_remembered(monkeypatch):
    """
    Of a flood from everywhere those heard of last are remembered.
    """
    monkeypatch.setattr(throttle, "MAX_SOURCES", 10)
    limit = Throttle(1, 10.0)
    for number in range(1000):
        limit.wait(str(number), 0.0)
        limit.wait("steady", 0.0)
    assert len(limit._free_at) == 10
    assert limit.wait("steady", 0.0) == 10
    assert limit.wait("0", 0.0) == 0


def test_a_clock_that_goes_back_does_no_harm():
    """
    The wait is no longer than the bucket is deep.
    """
    limit = Throttle(2, 10.0)
    limit.wait("a", 1000.0)
    assert limit.wait("a", 990.0) == 10
    assert limit.wait("a", 1000.0) == 0


@given(st.integers(1, 5), st.lists(st.floats(0, 30), max_size=60))
def test_never_more_than_the_rate(burst, pauses):
    """
    In any stretch of time no more pass than the burst and one for each interval of it.
    """
    limit, now, passed = Throttle(burst, 10.0), 0.0, []
    for pause in pauses:
        now += pause
        if not limit.wait("a", now):
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - passed[first]) / 10 + 1e-6


@given(st.integers(1, 5), st.integers(1, 20))
def test_who_waits_as_told_passes(burst, more):
    """
    What is told is long enough.
    """
    limit = Throttle(burst, 7.0)
    waits = [limit.wait("a", 0.0) for _ in range(burst + more)]
    assert limit.wait("a", waits[-1] / 2) > 0
    assert limit.wait("a", waits[-1]) == 0


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("name", "name"),
    ],
)
def test_sources(host, source):
    """
    Whoever has one address of an IPv6 network has all of them.
    """
    assert source == source_of(host)
