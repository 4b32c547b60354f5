"""
Tests for mailer.delivery: one server, its limits and its outages.
"""

import pytest

from mailer.delivery import ServerDelivery
from mailer.errors import NoAnswerError, TemporaryError, TlsError, UnreachableError
from mailer.odoo import Delivery
from mailer.reply import (
    BUSY_451,
    LOCAL_ERROR_451,
    NOT_UNDERSTOOD_451,
    OK_250,
    TLS_FAILED_451,
    TOKEN_REFUSED_451,
    UNREACHABLE_451,
)
from mailer.verdict import Answer

TIMEOUT = 120.0  # seconds


class Counter:
    """
    One server with two places.
    """

    def __init__(self, fakes, longest_wait=None):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.client = fakes.Client(fakes.make_server(timeout=TIMEOUT, max_in_flight=2))
        metrics, self.value = fakes.make_metrics()
        self.watched = fakes.watched(self.client, metrics, self.clock)
        self.server_delivery = ServerDelivery(self.watched, metrics, self.clock, longest_wait)

    def deliver(self, *recipients):
        """
        Deliver a message; return the Deferred of its replies.
        """
        delivery = Delivery("s@example.com", recipients or ("a@example.com",), "0" * 64, "Q", None)
        return self.fakes.Deferred.fromCoroutine(self.server_delivery.deliver(delivery))

    def deliver_now(self, answer):
        """
        Deliver a message that is answered at once; return its replies.
        """
        delivering = self.deliver()
        self.client.answer(answer)
        return self.fakes.result_of(delivering)


@pytest.fixture
def counter(fakes):
    """
    One server with two places.
    """
    return Counter(fakes)


def test_so_many_calls_at_once_and_no_more(counter, fakes):
    """
    Two are under way, the third waits for a place, and the order is kept.
    """
    delivering = [counter.deliver(f"{name}@example.com") for name in "abc"]
    assert len(counter.client.calls) == 2
    assert counter.server_delivery.in_flight == 2
    assert counter.value("deliveries_in_flight", server="odoo") == 2
    counter.client.answer(Answer(200))
    assert ("c@example.com",) == counter.client.calls[2].recipients
    counter.client.answer(Answer(200))
    counter.client.answer(Answer(200))
    assert [[OK_250]] * 3 == [fakes.result_of(one) for one in delivering]
    assert counter.server_delivery.in_flight == 0
    assert counter.value("deliveries_in_flight", server="odoo") == 0


def test_waiting_for_longer_than_the_timeout_is_temporary(counter, fakes):
    """
    A message that found no place in time gets 451 4.3.2, and leaves the queue.
    """
    under_way = [counter.deliver(), counter.deliver()]
    waiting = counter.deliver()
    counter.clock.advance(TIMEOUT - 1)
    assert not fakes.has_fired(waiting)
    counter.clock.advance(1)
    assert [BUSY_451] == fakes.result_of(waiting)
    for _ in under_way:
        counter.client.answer(Answer(200))
    assert len(counter.client.calls) == 2
    assert counter.server_delivery.in_flight == 0


def test_a_place_is_given_back_after_every_kind_of_failure(counter, logged):
    """
    Failures do not use the places up.
    """
    for error in (NoAnswerError("reset"), TlsError("no"), ZeroDivisionError(), TemporaryError()):
        for _ in range(3):
            counter.deliver_now(error)
            counter.clock.advance(60)
    assert [OK_250] == counter.deliver_now(Answer(200))


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (UnreachableError("refused"), UNREACHABLE_451),
        (NoAnswerError("reset"), UNREACHABLE_451),
        (TlsError("certificate"), TLS_FAILED_451),
        (TemporaryError("whatever"), LOCAL_ERROR_451),
    ],
)
def test_errors_become_replies(counter, error, reply):
    """
    What could not be asked is temporary, with a status of its own.
    """
    assert [reply] == counter.deliver_now(error)


def test_an_unexpected_exception_is_temporary_and_logged(counter, logged):
    """
    Our own bug never bounces mail.
    """
    error = ZeroDivisionError("oops")
    assert [LOCAL_ERROR_451] == counter.deliver_now(error)
    assert [error] == [event["log_failure"].value for event in logged if "log_failure" in event]


def test_a_server_known_to_be_down_is_not_asked(counter, fakes):
    """
    After a refused connection mail is answered at once, until the pause is over.
    """
    counter.deliver_now(UnreachableError("refused"))
    assert [UNREACHABLE_451] == fakes.result_of(counter.deliver())
    assert len(counter.client.calls) == 1
    assert counter.value("odoo_up", server="odoo") == 0


def test_one_delivery_tries_after_the_pause(counter, fakes):
    """
    The first mail after the pause asks the server; what comes meanwhile is still answered at once.
    """
    counter.deliver_now(UnreachableError("refused"))
    counter.clock.advance(1)
    trial = counter.deliver()
    assert [UNREACHABLE_451] == fakes.result_of(counter.deliver())
    counter.client.answer(Answer(200))
    assert [OK_250] == fakes.result_of(trial)
    assert [OK_250] == counter.deliver_now(Answer(200))
    assert counter.value("odoo_up", server="odoo") == 1


def test_who_waited_for_a_place_learns_of_the_outage(counter, fakes):
    """
    When the calls under way find the server down, those in the queue do not ask again.
    """
    delivering = [counter.deliver() for _ in range(5)]
    counter.client.answer(UnreachableError("refused"))
    counter.client.answer(UnreachableError("refused"))
    assert [[UNREACHABLE_451]] * 5 == [fakes.result_of(one) for one in delivering]
    assert len(counter.client.calls) == 2


def test_who_knows_of_the_outage_does_not_wait_for_a_place(counter, fakes):
    """
    Mail for a server that is down is answered at once, even while older calls hang.
    """
    hanging = [counter.deliver(), counter.deliver()]
    counter.watched._failed(UnreachableError("no answer to the probe"), counter.clock.seconds())
    assert [UNREACHABLE_451] == fakes.result_of(counter.deliver())
    assert not any(map(fakes.has_fired, hanging))


def test_who_would_wait_too_long_is_told_at_once(fakes):
    """
    Where calls take ten seconds, so many wait as have a turn in time; the others do not.
    """
    counter = Counter(fakes, longest_wait=10.0)
    for _ in range(20):
        slow = counter.deliver()
        counter.clock.advance(10)
        counter.client.answer(Answer(200))
        assert [OK_250] == fakes.result_of(slow)
    under_way = [counter.deliver(), counter.deliver()]
    first, second, third = counter.deliver(), counter.deliver(), counter.deliver()
    assert [False, False] == [fakes.has_fired(first), fakes.has_fired(second)]
    assert [BUSY_451] == fakes.result_of(third)
    for _ in under_way:
        counter.client.answer(Answer(200))
    counter.client.answer(Answer(200))
    counter.client.answer(Answer(200))
    assert [OK_250, OK_250] == [*fakes.result_of(first), *fakes.result_of(second)]


def test_who_would_wait_for_a_server_that_hangs_is_told_at_once(fakes):
    """
    As soon as nobody's turn has come for that long, however quick it was before.
    """
    counter = Counter(fakes, longest_wait=10.0)
    for _ in range(5):
        counter.deliver_now(Answer(200))
    hanging = [counter.deliver() for _ in range(2)]
    waiting = counter.deliver()
    counter.clock.advance(10)
    assert [BUSY_451] == fakes.result_of(waiting)
    assert counter.server_delivery.refusal() is None
    counter.clock.advance(1)
    assert BUSY_451 == counter.server_delivery.refusal()
    assert [BUSY_451] == fakes.result_of(counter.deliver())
    counter.client.answer(Answer(200))
    assert counter.server_delivery.refusal() is None
    assert [True, False] == list(map(fakes.has_fired, hanging))


def test_a_server_that_was_slow_is_not_refused_while_it_has_a_place(fakes):
    """
    Only who would have to wait can wait too long.
    """
    counter = Counter(fakes, longest_wait=10.0)
    slow = counter.deliver()
    counter.clock.advance(100)
    counter.client.answer(Answer(200))
    assert [OK_250] == fakes.result_of(slow)
    assert [OK_250] == counter.deliver_now(Answer(200))


def test_a_slow_answer_is_no_outage(counter):
    """
    A server that took one message too long is asked for the next.
    """
    counter.deliver_now(NoAnswerError("no answer within 120 s"))
    assert [OK_250] == counter.deliver_now(Answer(200))


@pytest.mark.parametrize("code", [409, 429, 503])
def test_retry_after_is_honoured(counter, fakes, code):
    """
    A server that asks for a pause has it.
    """
    assert [BUSY_451] == counter.deliver_now(Answer(code, retry_after=30.0))
    counter.clock.advance(29)
    assert [BUSY_451] == fakes.result_of(counter.deliver())
    assert len(counter.client.calls) == 1
    counter.clock.advance(1)
    assert [OK_250] == counter.deliver_now(Answer(200))


def test_retry_after_of_other_answers_does_not_count(counter):
    """
    Only 409, 429 and 503 ask for a pause.
    """
    counter.deliver_now(Answer(500, retry_after=30.0))
    assert [OK_250] == counter.deliver_now(Answer(200))


@pytest.mark.parametrize("code", [409, 429, 503])
def test_busy_without_retry_after_makes_no_pause(counter, code):
    """
    The next mail asks again.
    """
    assert [BUSY_451] == counter.deliver_now(Answer(code))
    assert [OK_250] == counter.deliver_now(Answer(200))


def test_an_unmarked_200_counts_until_the_server_has_marked_once(counter):
    """
    Behind an addon that marks, a 200 without mark is a proxy's page.
    """
    assert [OK_250] == counter.deliver_now(Answer(200))
    counter.client.marked = True
    assert [NOT_UNDERSTOOD_451] == counter.deliver_now(Answer(200, body=b"<html>"))


def test_a_refused_token_is_logged_as_an_error(counter, logged):
    """
    Somebody has to mend it; the mail waits.
    """
    assert [TOKEN_REFUSED_451] == counter.deliver_now(Answer(401))
    assert any(
        "token" in event["log_format"] and event["log_level"].name == "error" for event in logged
    )


def test_no_token_in_any_log_line(counter, logged):
    """
    Whatever happens, the token is in no event.
    """
    for answer in (Answer(401), Answer(200), UnreachableError("refused")):
        counter.deliver_now(answer)
    assert "odoo-token" not in repr(logged)


def test_without_recipients_there_is_at_least_one_reply(counter, fakes):
    """
    Where Odoo chooses the recipients, all its replies are given, or the one for the answer.
    """
    delivery = Delivery("", (), "0" * 64, "", None)
    for answer, codes in (
        (Answer(200), [250]),
        (Answer(500), [451]),
        (
            Answer(200, True, b'{"recipients": {"a@x": {"code": 550, "status": "5.1.1",'
                   b' "text": ""}, "b@x": {"code": 250, "status": "2.0.0", "text": ""}}}'),
            [550, 250],
        ),
    ):  # fmt: skip
        delivering = fakes.Deferred.fromCoroutine(counter.server_delivery.deliver(delivery))
        counter.client.answer(answer)
        assert codes == [reply.code for reply in fakes.result_of(delivering)]


def test_deliveries_are_counted_and_timed(counter):
    """
    Result and duration of each call are in the metrics.
    """
    delivering = counter.deliver()
    counter.clock.advance(3)
    counter.client.answer(Answer(200))
    counter.fakes.result_of(delivering)
    counter.deliver_now(NoAnswerError("reset"))
    assert counter.value("deliveries_total", server="odoo", result="delivered") == 1
    assert counter.value("deliveries_total", server="odoo", result="deferred") == 1
    assert counter.value("delivery_seconds_sum", server="odoo") == 3
    assert counter.value("delivery_seconds_count", server="odoo") == 2
    assert counter.value("last_success_timestamp_seconds", server="odoo") == counter.fakes.NOW + 3


@pytest.mark.parametrize(
    ("answer", "up"),
    [(TlsError("expired"), 0), (NoAnswerError("reset"), 1), (Answer(500), 1), (Answer(401), 1)],
)
def test_metrics_tell_a_good_answer_from_any_other(counter, answer, up):
    """
    Up is who can be reached; the time of the last success is that of the last good answer.
    """
    counter.deliver_now(Answer(200))
    assert counter.value("odoo_up", server="odoo") == 1
    counter.clock.advance(60)
    counter.deliver_now(answer)
    assert up == counter.value("odoo_up", server="odoo")
    assert counter.fakes.NOW == counter.value("last_success_timestamp_seconds", server="odoo")
