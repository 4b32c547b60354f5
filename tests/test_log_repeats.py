"""
Tests for mailer.log_repeats.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure

from mailer.log_repeats import PASSED, PERIOD, Repeats


class Log:
    """
    What is written of what happens.
    """

    def __init__(self):
        self.written = []
        self.repeats = Repeats(self.written.append)
        self.now = 1000.0

    def say(self, format="cut: {reason}", level=LogLevel.warn, **fields):
        """
        Log an event.
        """
        self.repeats(
            {
                "log_time": self.now,
                "log_level": level,
                "log_namespace": "mailer.x",
                "log_format": format,
                **fields,
            }
        )

    @property
    def lines(self):
        """The texts."""
        return [formatEvent(event) for event in self.written]


@pytest.fixture
def log():
    """
    What is written of what happens.
    """
    return Log()


def test_a_flood_is_ten_lines_and_a_sum(log):
    """
    The sum tells how many there were, and shows the last.
    """
    for number in range(100_000):
        log.say(reason=number)
    assert PASSED == len(log.lines)
    log.repeats.sum_up(log.now + PERIOD)
    assert [*(f"cut: {n}" for n in range(PASSED)), "99990 more like this in 60 s: cut: 99999"] == (
        log.lines
    )
    assert LogLevel.warn == log.written[-1]["log_level"]


def test_before_the_period_is_over_there_is_no_sum(log):
    """
    And in the end there is one in any case.
    """
    for number in range(PASSED + 1):
        log.say(reason=number)
    log.repeats.sum_up(log.now + PERIOD - 1)
    assert PASSED == len(log.lines)
    log.repeats.sum_up()
    assert "1 more like this in 60 s: cut: 10" == log.lines[-1]
    log.repeats.sum_up()
    assert PASSED + 1 == len(log.lines)


def test_a_later_event_brings_the_sum_too(log):
    """
    It stands before what is logged then, whatever that is.
    """
    for number in range(PASSED + 5):
        log.say(reason=number)
    log.now += PERIOD
    log.say("list changed", LogLevel.info)
    assert ["5 more like this in 60 s: cut: 14", "list changed"] == log.lines[PASSED:]
    log.say(reason="again")
    assert "cut: again" == log.lines[-1]


def test_a_few_are_all_written_and_need_no_sum(log):
    """
    What happens now and then is told each time.
    """
    for number in range(PASSED):
        log.say(reason=number)
    log.repeats.sum_up()
    assert PASSED == len(log.lines)


def test_kinds_do_not_hide_each_other(log):
    """
    Another text, level or namespace, or a failure, has a count of its own.
    """
    for _ in range(PASSED + 1):
        log.say(reason="x")
    before = len(log.lines)
    log.say("other: {reason}", reason="x")
    log.say(level=LogLevel.error, reason="x")
    log.say(log_namespace="mailer.y", reason="x")
    log.say(log_failure=Failure(ValueError()), reason="x")
    assert before + 4 == len(log.lines)


@pytest.mark.parametrize(
    ("level", "fields"),
    [(LogLevel.info, {}), (LogLevel.debug, {}), (LogLevel.warn, {"queue_id": "4F"})],
)
def test_what_is_always_written(log, level, fields):
    """
    What goes well, and a line for each mail, is never held back.
    """
    for _ in range(PASSED * 5):
        log.say(level=level, reason="x", **fields)
    assert PASSED * 5 == len(log.lines)


def test_a_bug_that_every_mail_meets_is_summed_up(log):
    """
    Even though its line is about a mail: forty lines of traceback each are no help.
    """
    for _ in range(PASSED * 5):
        log.say(queue_id="4F", log_failure=Failure(ValueError()))
    assert PASSED == len(log.lines)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 30))))
def test_nothing_is_lost_in_the_sums(events):
    """
    What was written and what was summed up make all that happened.
    """
    log = Log()
    for kind, pause in events:
        log.now += pause
        log.say(f"kind {kind}: {{reason}}", reason="x")
    log.repeats.sum_up()
    assert len(events) == sum(event.get("count", 1) for event in log.written)
