"""
Tests for mailer.refresh: when the list is fetched.
"""

import pytest

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.errors import TemporaryError, TlsError, UnreachableError
from mailer.refresh import INTERNAL_ERROR, Outcome, Refresher
from mailer.replacement import RefreshPolicy
from mailer.store import Etags, Store

PAGE = b"info@example.com odoo@example.com\n"
TRANSPORT = b"odoo@example.com\n"
KNOWN = AliasList({"info@example.com": ("odoo@example.com",)}, transport={"odoo@example.com": ""})


class Site:
    """
    One refresher and all it works with.
    """

    def __init__(self, fakes, folder, interval=60.0, random=0.5, **changes):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.server = fakes.make_server()
        self.client = fakes.Client(self.server)
        self.directory = fakes.make_directory(ServerList("odoo", None))
        self.metrics, self.value = fakes.make_metrics()
        self.told = []
        values = {
            "client": fakes.watched(self.client, self.metrics, self.clock),
            "directory": self.directory,
            "store": Store(str(folder)),
            "policy": RefreshPolicy(interval, 0.5, 1000.0),
            "metrics": self.metrics,
            "clock": self.clock,
            "in_thread": fakes.in_thread,
            "random": lambda: random,
            "etags": Etags(),
            "on_list": self.tell,
        }
        self.refresher = Refresher(**{**values, **changes})

    async def tell(self, anew):
        """
        Note what the refresher tells.
        """
        self.told.append(anew)

    def start(self, *answers):
        """
        Start, and answer the first fetches.
        """
        self.refresher.startService()
        for answer in answers:
            self.client.answer(answer)

    def next_delay(self):
        """
        Return the seconds until the next poll.
        """
        (call,) = self.clock.getDelayedCalls()
        return round(call.getTime() - self.clock.seconds(), 6)

    def count(self, trigger, result):
        """
        Return how many refreshes ended so.
        """
        return self.value("refresh_total", server="odoo", trigger=trigger, result=result)


@pytest.fixture
def make_site(fakes, tmp_path):
    """
    Makes a site with a store of its own.
    """
    return lambda **changes: Site(fakes, tmp_path, **changes)


@pytest.fixture
def pages(fakes):
    """
    The list of two addresses.
    """
    return fakes.make_pages(PAGE, TRANSPORT, ('"a"', '"t"'))


def test_list_is_fetched_at_start(make_site, pages):
    """
    The first fetch comes at once, and its list is in force.
    """
    site = make_site()
    site.start(pages)
    assert KNOWN == site.directory["odoo"].declared
    assert site.count("start", "changed") == 1


@pytest.mark.parametrize("trigger", ["start", "sighup"])
def test_first_trigger_is_counted_as_what_it_was(make_site, pages, trigger):
    """
    After a reload the first fetch counts as sighup.
    """
    site = make_site(first_trigger=trigger)
    site.start(pages)
    assert site.count(trigger, "changed") == 1


def test_list_is_polled_after_the_interval(make_site, pages, fakes):
    """
    The next fetch comes an interval after the end of the last, with its validators.
    """
    site = make_site()
    site.start(pages)
    site.clock.advance(59.9)
    assert [] == site.client.waiting
    site.clock.advance(0.1)
    site.client.answer(fakes.UNCHANGED)
    assert [Etags(), Etags('"a"', '"t"')] == site.client.calls
    assert site.count("poll", "unchanged") == 1


@pytest.mark.parametrize(("random", "delay"), [(0.0, 54.0), (0.5, 60.0), (1.0, 66.0)])
def test_polls_are_jittered_by_a_tenth(make_site, pages, random, delay):
    """
    The interval varies by a tenth to both sides.
    """
    site = make_site(random=random)
    site.start(pages)
    assert delay == site.next_delay()


def test_failures_back_off_and_success_returns_to_the_interval(make_site, pages, fakes):
    """
    After failures the pause is 1, 2, 4 … 300 seconds; after a success the interval again.
    """
    site = make_site()
    site.start(TemporaryError("HTTP 401"))
    delays = []
    for _ in range(11):
        delays.append(site.next_delay())
        site.clock.advance(delays[-1])
        site.client.answer(TemporaryError("HTTP 500"))
    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] == delays
    site.clock.advance(300)
    site.client.answer(pages)
    assert site.next_delay() == 60
    site.clock.advance(60)
    site.client.answer(TemporaryError("HTTP 500"))
    assert site.next_delay() == 1


def test_thousands_of_failures_do_no_harm(make_site):
    """
    The pause stays 300 seconds however long a server is down.
    """
    site = make_site()
    site.start(UnreachableError("refused"))
    for _ in range(2000):
        site.clock.advance(301)
        site.client.answer(UnreachableError("refused"))
    assert site.next_delay() == 300


def test_a_refused_list_is_polled_at_the_interval(make_site, fakes):
    """
    A list that is refused is no failure of the server: no back-off.
    """
    site = make_site()
    site.start(fakes.make_pages(marked=False))
    assert site.count("start", "refused") == 1
    assert site.next_delay() == 60


@pytest.mark.parametrize("trigger", ["webhook", "sighup", "command"])
def test_a_call_fetches_at_once_and_restarts_the_interval(make_site, pages, fakes, trigger):
    """
    Whoever asks does not wait for the next poll, of which there is still only one.
    """
    site = make_site()
    site.start(pages)
    site.clock.advance(30)
    outcome = site.refresher.refresh(trigger)
    assert [] == site.clock.getDelayedCalls()
    site.client.answer(fakes.UNCHANGED)
    assert Outcome("unchanged", "", 2) == fakes.result_of(outcome)
    assert site.count(trigger, "unchanged") == 1
    assert site.next_delay() == 60


def test_a_burst_during_a_refresh_makes_one_more(make_site, pages, fakes):
    """
    A hundred calls while one is under way share the one after it, and each has its outcome.
    """
    site = make_site()
    site.start()
    outcomes = [site.refresher.refresh("webhook") for _ in range(100)]
    site.client.answer(pages)
    assert not any(fakes.has_fired(outcome) for outcome in outcomes)
    site.client.answer(fakes.UNCHANGED)
    assert {Outcome("unchanged", "", 2)} == {fakes.result_of(outcome) for outcome in outcomes}
    assert len(site.client.calls) == 2
    assert site.next_delay() == 60


def test_force_of_one_caller_holds_for_the_refresh_they_share(make_site, pages, fakes):
    """
    One forced call in a burst lets the list through.
    """
    site = make_site()
    site.start()
    outcomes = [site.refresher.refresh("command", force) for force in (False, True, False)]
    site.client.answer(pages)
    site.client.answer(fakes.make_pages(b"", b""))
    assert [Outcome("changed", "", 0)] * 3 == [fakes.result_of(outcome) for outcome in outcomes]


def test_who_is_told_may_ask_again(make_site, pages, fakes):
    """
    A call from within an outcome's callback starts one more refresh, not two timers.
    """
    site = make_site()
    site.start()
    again = []
    first = site.refresher.refresh("command")
    first.addCallback(lambda _: again.append(site.refresher.refresh("command")))
    site.client.answer(pages)
    site.client.answer(fakes.UNCHANGED)
    site.client.answer(fakes.UNCHANGED)
    assert Outcome("unchanged", "", 2) == fakes.result_of(again[0])
    assert site.next_delay() == 60


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), RecursionError(), KeyError("x")])
def test_an_unexpected_exception_never_stops_the_loop(make_site, pages, logged, error):
    """
    Our own bug is logged, the outcome is failed, and the next poll still happens.
    """
    site = make_site()
    site.start(error)
    assert site.count("start", "failed") == 1
    assert any(error is event["log_failure"].value for event in logged if "log_failure" in event)
    site.clock.advance(1)
    site.client.answer(pages)
    assert KNOWN == site.directory["odoo"].declared


def test_an_exception_of_who_is_told_never_stops_the_loop(make_site, pages, fakes, logged):
    """
    Even a failure in on_list leaves the next poll in place.
    """

    async def on_list(anew):
        raise ZeroDivisionError

    site = make_site(on_list=on_list)
    site.start()
    outcome = site.refresher.refresh("command")
    site.client.answer(pages)
    site.client.answer(fakes.UNCHANGED)
    assert fakes.result_of(outcome).result == "failed"
    assert [event["log_format"] for event in logged if "log_failure" in event]
    assert site.next_delay() == 2


def test_an_internal_error_is_told_without_details(make_site, fakes):
    """
    What a caller gets of our bug is only that there was one.
    """
    site = make_site()
    site.start()
    outcome = site.refresher.refresh("command")
    site.client.answer(ZeroDivisionError("secret"))
    site.client.answer(ZeroDivisionError("secret"))
    assert Outcome("failed", INTERNAL_ERROR, 0) == fakes.result_of(outcome)


def test_stopping_cancels_the_next_poll(make_site, pages):
    """
    Nothing is left to the clock after stopService.
    """
    site = make_site()
    site.start(pages)
    assert site.refresher.stopService() is None
    assert [] == site.clock.getDelayedCalls()


def test_stopping_waits_for_the_refresh_under_way(make_site, pages, fakes):
    """
    The Deferred of stopService fires when it has ended, and no poll follows.
    """
    site = make_site()
    site.start()
    stopped = site.refresher.stopService()
    assert not fakes.has_fired(stopped)
    site.client.answer(pages)
    assert fakes.result_of(stopped) is None
    assert [] == site.clock.getDelayedCalls()


def test_no_refresh_is_under_way_once_stopped(make_site, pages, fakes):
    """
    A refresh that was wanted during the last one is waited for, or not begun at all.
    """
    site = make_site()
    site.start()
    site.refresher.refresh("webhook")
    stopped = site.refresher.stopService()
    site.client.answer(pages)
    assert not (fakes.has_fired(stopped) and site.client.waiting)


def test_a_stopped_refresher_can_start_again(make_site, pages, fakes):
    """
    After another startService it fetches and polls.
    """
    site = make_site()
    site.start(pages)
    site.refresher.stopService()
    site.start(fakes.UNCHANGED)
    assert site.next_delay() == 60


def test_metrics_follow_the_server(make_site, pages, fakes):
    """
    Up, last success, age and size of the list are what the last refresh found.
    """
    site = make_site()
    site.start(UnreachableError("refused"))
    assert site.value("odoo_up", server="odoo") == 0
    site.clock.advance(1)
    site.client.answer(pages)
    assert site.value("odoo_up", server="odoo") == 1
    assert site.value("aliases", server="odoo") == 2
    assert site.value("last_success_timestamp_seconds", server="odoo") == fakes.NOW + 1
    site.clock.advance(60)
    site.client.answer(fakes.UNCHANGED)
    assert site.value("list_timestamp_seconds", server="odoo") == fakes.NOW + 61
    assert site.value("refresh_seconds_count") == 3


def test_a_flood_of_calls_is_one_refresh_more(make_site, pages):
    """
    And nothing is kept of each of them.
    """
    site = make_site()
    site.refresher.startService()
    for _ in range(1000):
        site.refresher.refresh_soon("webhook")
    assert len(site.refresher._wanted) == 1
    site.client.answer(pages)
    site.client.answer(pages)
    assert not site.client.waiting
    assert site.count("webhook", "unchanged") == 1


def test_a_server_that_returns_is_asked_at_once(make_site, pages):
    """
    What may have changed during an outage is not left to the back-off.
    """
    site = make_site()
    site.start(UnreachableError("refused"))
    site.refresher.catch_up()
    site.client.answer(pages)
    assert site.count("poll", "changed") == 1
    site.refresher.catch_up()
    assert not site.client.waiting


def test_a_refresh_under_way_is_enough(make_site):
    """
    A server that returns while it is being asked is not asked twice.
    """
    site = make_site()
    site.start(UnreachableError("refused"))
    site.clock.advance(1)
    site.refresher.catch_up()
    assert len(site.client.waiting) == 1


def test_an_answer_that_is_no_list_counts_as_up(make_site):
    """
    A server that answers 401 is up all the same.
    """
    site = make_site()
    site.start(TemporaryError("aliases: HTTP 401"))
    assert site.value("odoo_up", server="odoo") == 1


def test_who_wants_to_know_is_told_after_each_good_refresh(make_site, pages, fakes):
    """
    And whether the webhook asked, because then the map files are written anew.
    """
    site = make_site()
    site.start(pages)
    site.clock.advance(60)
    site.client.answer(fakes.UNCHANGED)
    site.refresher.refresh("webhook")
    site.client.answer(fakes.UNCHANGED)
    assert [False, False, True] == site.told


def test_what_cannot_be_written_is_tried_again(make_site, pages, fakes):
    """
    A list whose map files were not written is no success, and the next try is soon.
    """
    tries = []

    async def on_list(anew):
        tries.append(anew)
        if len(tries) == 1:
            raise TemporaryError("disk full")

    site = make_site(on_list=on_list)
    site.start(pages)
    assert site.count("start", "failed") == 1
    site.clock.advance(1)
    site.client.answer(fakes.UNCHANGED)
    assert len(tries) == 2
    assert site.next_delay() == 60


@pytest.mark.parametrize(("error", "up"), [(TlsError("expired"), 0), (TemporaryError("500"), 1)])
def test_a_failure_is_no_success(make_site, pages, fakes, error, up):
    """
    Without TLS a server is down; an answer of 500 is an answer, but no good one.
    """
    site = make_site()
    site.start(pages)
    site.clock.advance(60)
    site.client.answer(error)
    assert up == site.value("odoo_up", server="odoo")
    assert fakes.NOW == site.value("last_success_timestamp_seconds", server="odoo")
