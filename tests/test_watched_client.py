"""
Tests for mailer.watched_client.
"""

import pytest

from mailer.errors import ListError, NoAnswerError, TemporaryError, TlsError, UnreachableError
from mailer.odoo import Delivery
from mailer.reply import BUSY_451, TLS_FAILED_451, UNREACHABLE_451
from mailer.store import Etags
from mailer.verdict import Answer
from mailer.watched_client import WatchedClient

DELIVERY = Delivery("s@example.com", ("a@example.com",), "0" * 64, "Q", None)
REFUSED = UnreachableError("refused")


class Watch:
    """
    A watched client, and what it does.
    """

    def __init__(self, fakes):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.client = fakes.Client(fakes.make_server())
        metrics, self.value = fakes.make_metrics()
        self.returns = []
        self.watched = WatchedClient(
            self.client, metrics, self.clock, lambda: self.returns.append(self.clock.seconds())
        )
        self.watched.watch()

    def deliver(self, outcome=None):
        """
        Make a delivery; return its Deferred.
        """
        delivering = self.fakes.Deferred.fromCoroutine(self.watched.deliver(DELIVERY))
        if outcome is not None:
            self.client.answer(outcome)
        return delivering

    def fail(self, error):
        """
        Make a delivery that fails.
        """
        with pytest.raises(type(error)):
            self.fakes.result_of(self.deliver(error))

    def fetch(self, outcome):
        """
        Fetch the list; return its Deferred.
        """
        fetching = self.fakes.Deferred.fromCoroutine(self.watched.fetch(Etags()))
        self.client.answer(outcome)
        return fetching

    def probe(self, error=None):
        """
        Answer the probe under way, which there has to be.
        """
        (probing,) = self.client.probes
        self.client.probes.clear()
        if error is None:
            probing.callback(None)
        else:
            probing.errback(error)

    @property
    def up(self):
        """The metric."""
        return self.value("odoo_up", server="odoo")


@pytest.fixture
def watch(fakes):
    """
    A watched client, and what it does.
    """
    return Watch(fakes)


def test_a_server_that_answers_is_let_alone(watch):
    """
    No probe, no refusal, up.
    """
    watch.deliver(Answer(200))
    watch.clock.advance(3600)
    assert watch.watched.refusal() is None
    assert [] == watch.client.probes
    assert watch.up == 1


def test_a_server_that_refuses_is_probed_until_it_is_back(watch):
    """
    One, two, then four seconds apart; mail is refused meanwhile, and taken after.
    """
    watch.fail(REFUSED)
    for pause in (1, 2, 4, 4, 4):
        assert UNREACHABLE_451 == watch.watched.refusal()
        assert watch.up == 0
        watch.clock.advance(pause - 0.001)
        assert [] == watch.client.probes
        watch.clock.advance(0.001)
        watch.probe(REFUSED)
    watch.clock.advance(4)
    watch.probe()
    assert watch.watched.refusal() is None
    assert watch.watched.is_up
    assert watch.up == 1
    watch.clock.advance(60)
    assert [] == watch.client.probes


def test_probes_that_hang_are_no_further_apart(watch):
    """
    The time that a probe takes is part of the pause.
    """
    watch.fail(REFUSED)
    for pause in (1, 2, 4, 4):
        watch.clock.advance(pause)
        begun = watch.clock.seconds()
        watch.clock.advance(3)
        watch.probe(NoAnswerError("no answer within 3 s"))
        if pause == 4:
            watch.clock.advance(1)
            assert 4 == watch.clock.seconds() - begun
            assert len(watch.client.probes) == 1
            watch.probe(REFUSED)


def test_the_return_is_told_once(watch):
    """
    Whoever waits for the server learns of it, when it answers the first time.
    """
    watch.fail(REFUSED)
    watch.clock.advance(1)
    watch.probe()
    watch.deliver(Answer(200))
    assert [watch.clock.seconds()] == watch.returns


def test_a_delivery_can_be_the_first_to_notice_the_return(watch):
    """
    Then there is no further probe.
    """
    watch.fail(REFUSED)
    watch.clock.advance(0.5)
    watch.deliver(Answer(200))
    watch.clock.advance(60)
    assert [] == watch.client.probes
    assert len(watch.returns) == 1


def test_outage_and_return_are_logged_once_each(watch, logged):
    """
    However many deliveries and probes fail meanwhile.
    """
    for _ in range(3):
        watch.fail(REFUSED)
    watch.clock.advance(1)
    watch.probe(REFUSED)
    watch.deliver(Answer(200))
    formats = [event["log_format"] for event in logged if "log_format" in event]
    assert ["{server} is down, its mail waits: {reason}", "{server} answers again"] == formats


@pytest.mark.parametrize(
    "outcome", [NoAnswerError("reset"), Answer(502, body=b"<html>"), Answer(503), Answer(504)]
)
def test_a_call_that_broke_off_is_doubt_only(watch, outcome):
    """
    One message that brings a worker down holds up no other: a probe tells, at once.
    """
    if isinstance(outcome, Exception):
        watch.fail(outcome)
    else:
        assert outcome == watch.fakes.result_of(watch.deliver(outcome))
    assert watch.watched.refusal() is None
    watch.clock.advance(0)
    watch.probe()
    assert watch.watched.is_up
    assert [] == watch.returns


def test_a_server_that_hangs_is_down(watch):
    """
    Connections are made and nothing is ever answered: the probe finds out.
    """
    watch.fail(NoAnswerError("no answer within 120 s"))
    watch.clock.advance(0)
    watch.probe(NoAnswerError("no answer within 3 s"))
    assert UNREACHABLE_451 == watch.watched.refusal()
    assert watch.up == 0


def test_a_marked_502_is_an_answer(watch):
    """
    What Odoo itself said is no proxy's word.
    """
    watch.deliver(Answer(502, marked=True))
    watch.clock.advance(0)
    assert [] == watch.client.probes


def test_tls_that_fails_is_an_outage_of_its_own(watch):
    """
    Mail is told so, and the server is probed.
    """
    watch.fail(TlsError("expired"))
    assert TLS_FAILED_451 == watch.watched.refusal()
    watch.clock.advance(1)
    watch.probe(TlsError("expired"))
    assert TLS_FAILED_451 == watch.watched.refusal()


def test_a_probe_that_was_overtaken_does_not_count(watch):
    """
    It failed, but a delivery was answered while it was under way.
    """
    watch.fail(NoAnswerError("reset"))
    watch.clock.advance(0)
    watch.clock.advance(1)
    watch.deliver(Answer(200))
    watch.probe(NoAnswerError("no answer within 3 s"))
    assert watch.watched.is_up


def test_an_outage_that_begins_during_a_probe_is_probed(watch):
    """
    The probe was overtaken by an answer; what came after that answer counts.
    """
    watch.fail(NoAnswerError("reset"))
    watch.clock.advance(0)
    watch.clock.advance(0.5)
    watch.deliver(Answer(200))
    watch.clock.advance(0.5)
    watch.fail(REFUSED)
    watch.probe(NoAnswerError("no answer within 3 s"))
    assert not watch.watched.is_up
    watch.clock.advance(0)
    watch.probe()
    assert watch.watched.is_up


def test_only_one_probe_at_a_time(watch):
    """
    However many deliveries fail.
    """
    for _ in range(5):
        watch.fail(NoAnswerError("reset"))
    watch.clock.advance(0)
    watch.fail(NoAnswerError("reset"))
    watch.clock.advance(0)
    assert len(watch.client.probes) == 1


def test_a_pause_that_was_asked_for_outlives_a_probe(watch):
    """
    503 with Retry-After: a sign of life is no leave to go on.
    """
    watch.fail(NoAnswerError("reset"))
    watch.deliver(Answer(503, retry_after=60.0))
    watch.clock.advance(0)
    watch.fetch(watch.fakes.UNCHANGED)
    assert BUSY_451 == watch.watched.refusal()


@pytest.mark.parametrize(
    ("error", "up"),
    [
        (UnreachableError("refused"), False),
        (TlsError("expired"), False),
        (NoAnswerError("reset"), True),
        (TemporaryError("HTTP 401"), True),
        (ListError("line 1"), True),
    ],
)
def test_fetching_tells_too(watch, error, up):
    """
    A poll finds an outage before any mail does.
    """
    watch.fetch(error).addErrback(lambda failure: failure.trap(type(error)))
    assert up == watch.watched.is_up
    assert up == bool(watch.up) or error.args == ("reset",)


def test_a_fetch_that_works_ends_an_outage(watch):
    """
    And deliveries go on.
    """
    watch.fail(REFUSED)
    watch.fetch(watch.fakes.UNCHANGED)
    assert watch.watched.refusal() is None
    assert watch.value("last_success_timestamp_seconds", server="odoo") == watch.clock.seconds()


@pytest.mark.parametrize("is_watched", [True, False])
def test_no_probe_after_the_end(watch, is_watched):
    """
    A server that was taken out of the configuration is left alone.
    """
    if is_watched:
        watch.fail(REFUSED)
        watch.watched.stop()
    else:
        watch.watched.stop()
        watch.fail(REFUSED)
    watch.clock.advance(60)
    assert [] == watch.client.probes


def test_a_probe_that_ends_after_the_end(watch):
    """
    It starts no other.
    """
    watch.fail(REFUSED)
    watch.clock.advance(1)
    watch.watched.stop()
    watch.probe(REFUSED)
    watch.clock.advance(60)
    assert [] == watch.client.probes


def test_our_own_bug_does_not_end_the_probing(watch, logged):
    """
    It is logged, and the next probe comes.
    """
    watch.fail(REFUSED)
    watch.clock.advance(1)
    watch.probe(ZeroDivisionError("oops"))
    assert any("log_failure" in event for event in logged)
    watch.clock.advance(4)
    watch.probe()
    assert watch.watched.is_up
