"""
Tests for mailer.deadline.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from mailer.deadline import Deadline


class Case:
    """
    A deadline, and the times at which it passed.
    """

    def __init__(self):
        self.clock = Clock()
        self.passed = []
        self.deadline = Deadline(self.clock, lambda: self.passed.append(self.clock.seconds()))

    def advance_to(self, *times):
        """
        Go to these times, one after the other.
        """
        for time in times:
            self.clock.advance(time - self.clock.seconds())


@pytest.fixture
def case():
    """
    A deadline that is not set.
    """
    return Case()


def test_it_passes_once_and_on_time(case):
    """
    Not before, and not again.
    """
    case.deadline.set(10)
    case.advance_to(9)
    assert [] == case.passed
    case.advance_to(10, 30)
    assert [10] == case.passed


def test_moved_on_it_passes_later(case):
    """
    Where it once was nothing happens.
    """
    case.deadline.set(10)
    case.advance_to(5)
    case.deadline.set(15)
    case.advance_to(10, 14)
    assert [] == case.passed
    case.advance_to(15)
    assert [15] == case.passed


def test_moved_back_it_passes_earlier(case):
    """
    The timer does not sleep past it.
    """
    case.deadline.set(300)
    case.deadline.set(10)
    case.advance_to(10, 300)
    assert [10] == case.passed


def test_moving_it_on_needs_no_timer(case):
    """
    However often it is moved there is one timer, and that stays where it was.
    """
    case.deadline.set(10)
    (timer,) = case.clock.getDelayedCalls()
    for at in range(11, 100):
        case.deadline.set(at)
    assert [timer] == case.clock.getDelayedCalls()
    assert timer.getTime() == 10


def test_cleared_it_does_not_pass(case):
    """
    Until it is set again.
    """
    case.deadline.set(10)
    case.deadline.clear()
    case.advance_to(10)
    assert [] == case.passed
    case.deadline.set(20)
    case.advance_to(20)
    assert [20] == case.passed


def test_ended_it_leaves_no_timer(case):
    """
    Nothing keeps the connection alive behind its end; ending it twice does no harm.
    """
    case.deadline.set(10)
    case.deadline.end()
    case.deadline.end()
    assert [] == case.clock.getDelayedCalls()


def test_what_is_over_passes_but_not_from_there(case):
    """
    The caller is not called back while it calls.
    """
    case.advance_to(50)
    case.deadline.set(40)
    assert [] == case.passed
    case.clock.advance(0)
    assert [50] == case.passed


@given(
    st.lists(st.tuples(st.sampled_from(["set", "move on", "clear", "wait"]), st.integers(0, 20)))
)
def test_it_passes_when_a_timer_of_its_own_would(steps):
    """
    However it is moved, and however often.
    """
    case, expected, at = Case(), [], None
    for step, number in steps:
        now = case.clock.seconds()
        if step == "set":
            at = now + number
            case.deadline.set(at)
        elif step == "move on":
            if at is not None:
                at += number
                case.deadline.at = at
        elif step == "clear":
            at = None
            case.deadline.clear()
        else:
            for time in range(int(now), int(now) + number + 1):
                case.advance_to(time)
                if at is not None and at <= time:
                    expected.append(time)
                    at = None
    assert expected == case.passed
