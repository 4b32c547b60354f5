"""
Tests for mailer.daemon: reloads.
"""

import dataclasses
import signal
import sqlite3
from contextlib import closing

import pytest

from mailer.alias_list import AliasList
from mailer.cli import hold_hangup
from mailer.config import Token
from mailer.daemon import install_hangup
from mailer.errors import ConfigError, Fault, TemporaryError
from mailer.listen import Listen
from mailer.store import FILE_NAME, Store

LMTP = 2401
MESSAGE = (
    b"LHLO mx\r\nMAIL FROM:<s@example.org>\r\nRCPT TO:<info@example.com>\r\nDATA\r\n"
    b"Subject: x\r\n\r\n.\r\n"
)


def levels(logged, level):
    """
    Return the log lines of one level, as formats with their fields.
    """
    return [
        event["log_format"].format(**event) for event in logged if event["log_level"].name == level
    ]


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("/etc/x.yaml", [Fault(3, "refresh", "expected a number"), Fault(4, "", "b")]),
        ZeroDivisionError("oops"),
        TemporaryError("no"),
    ],
)
def test_a_faulty_configuration_keeps_the_running_one(running, logged, error):
    """
    The fault is logged, and everything goes on as before.
    """
    running.config = error
    running.daemon.reload()
    assert running.look_up(b"aliases info@example.com") == b"OK odoo@example.com"
    assert levels(logged, "error") or levels(logged, "critical")
    assert "configuration reloaded" not in levels(logged, "info")
    running.reactor.advance(70)
    running.odoo.run()
    assert len(running.odoo.requests) == 4


def test_every_fault_is_a_log_line(running, logged):
    """
    File, line and key, one line each.
    """
    faults = [Fault(3, "refresh", "expected a number"), Fault(4, "x", "unknown key")]
    running.config = ConfigError("/etc/x.yaml", faults)
    running.daemon.reload()
    assert [
        "configuration not reloaded: /etc/x.yaml:3: refresh: expected a number",
        "configuration not reloaded: /etc/x.yaml:4: x: unknown key",
    ] == levels(logged, "error")


def test_a_good_configuration_is_swapped_in(running, fakes):
    """
    The list stays in force, the new token is used, and the old timer is gone.
    """
    running.reload(servers=(fakes.make_server(token=Token("new-token")),))
    assert running.look_up(b"aliases info@example.com") == b"OK odoo@example.com"
    running.odoo.run()
    assert running.odoo.requests[-1].headers["x-mail-token"] == "new-token"
    assert len(running.odoo.requests) == 4
    running.reactor.advance(70)
    running.odoo.run()
    assert len(running.odoo.requests) == 6
    metrics = running.get(b"/metrics").body
    assert b'refresh_total{result="unchanged",server="odoo",trigger="sighup"} 1.0' in metrics


@pytest.mark.parametrize(
    ("change", "request_", "answer"),
    [
        ({"nexthop": "lmtp:inet:h:24"}, b"transport info@example.com", b"OK lmtp:inet:h:24"),
        ({"recipient_delimiter": "-"}, b"aliases info-x@example.com", b"OK odoo@example.com"),
        ({"recipient_delimiter": ""}, b"aliases info+x@example.com", b"NOTFOUND "),
    ],
)
def test_what_answers_depend_on_changes_at_once(running, change, request_, answer):
    """
    Next hop and delimiter need no restart.
    """
    running.reload(**change)
    assert answer == running.look_up(request_)


def test_a_server_may_be_added_and_removed(running, fakes):
    """
    A new one holds nobody up; its addresses are known with its list, a removed one's no more.
    """
    running.reload(servers=(fakes.make_server("new"), fakes.make_server()))
    assert running.look_up(b"aliases x@example.com") == b"NOTFOUND "
    running.odoo.run()
    assert running.look_up(b"aliases x@example.com") == b"NOTFOUND "
    running.reload(servers=(fakes.make_server("other"),))
    assert running.look_up(b"aliases info@example.com").startswith(b"TEMP ")


def test_an_added_server_without_a_list_holds_nobody_up(running, fakes):
    """
    Neither while it fails, nor after another reload; with its list its addresses are known.
    """
    answer = running.odoo.answer
    running.odoo.answer = lambda request: (500, b"") if "/new/" in request.path else answer(request)
    running.reload(servers=(fakes.make_server(), fakes.make_server("new")))
    running.odoo.run()
    running.reload(refresh=30)
    running.odoo.run()
    assert running.look_up(b"aliases x@example.com") == b"NOTFOUND "
    running.odoo.answer = lambda request: (200, b"x@example.com\n")
    running.reactor.advance(2)
    running.odoo.run()
    assert running.look_up(b"aliases x@example.com") == b"OK x@example.com"


def test_a_list_missing_since_the_start_is_missing_after_a_reload(make_site, fakes, tmp_path):
    """
    Its addresses may have been known to the process before: they stay TEMP.
    """
    stored = AliasList(transport={"stored@example.com": ""})
    fakes.store_list(tmp_path / "cache", fakes.make_server("one"), stored)
    site = make_site(names=("one", "two"))
    site.start()
    site.reload(servers=tuple(map(fakes.make_server, ("one", "two", "three"))))
    assert site.look_up(b"aliases stored@example.com") == b"OK stored@example.com"
    assert site.look_up(b"aliases x@example.com").startswith(b"TEMP ")
    site.reload(servers=tuple(map(fakes.make_server, ("one", "three"))))
    assert site.look_up(b"aliases x@example.com") == b"NOTFOUND "


@pytest.mark.parametrize("names", [("new",), ("new", "newer")])
def test_without_any_list_after_a_reload_everything_is_temporary(running, fakes, names):
    """
    As at a start: nothing is known of any address.
    """
    running.reload(servers=tuple(map(fakes.make_server, names)))
    for key in (b"aliases info@example.com", b"aliases x@example.com"):
        assert running.look_up(key).startswith(b"TEMP ")


def send_mail(site, fakes, headers):
    """
    Send a message, have it answered with these headers; return the code of the reply.
    """
    answer = site.odoo.answer
    site.odoo.answer = lambda request: (200, b"{}", headers)
    connection = fakes.Connection(site.reactor.factory_at(LMTP))
    connection.send(MESSAGE)
    site.odoo.run()
    site.odoo.answer = answer
    return int(connection.received().splitlines()[-1][:3])


def test_a_mark_that_could_not_be_stored_survives_a_reload(running, fakes, tmp_path, logged):
    """
    A page without mark is a proxy's, whatever the disk says.
    """
    with closing(sqlite3.connect(tmp_path / "cache" / FILE_NAME)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON server WHEN NEW.marked"
            " BEGIN SELECT RAISE(ABORT, 'read-only'); END"
        )
    send_mail(running, fakes, {"X-Mail-Delivery": "1"})
    assert not Store(str(tmp_path / "cache")).is_marked("odoo")
    assert send_mail(running, fakes, {}) == 451
    running.reload(refresh=30)
    running.odoo.run()
    assert send_mail(running, fakes, {}) == 451


def test_a_mark_is_stored_in_a_thread(running, fakes, tmp_path):
    """
    A slow disk holds nobody up.
    """
    jobs = []
    running.reactor.thread = lambda *job: jobs.append(job) or fakes.Deferred()
    send_mail(running, fakes, {"X-Mail-Delivery": "1"})
    store = Store(str(tmp_path / "cache"))
    assert not store.is_marked("odoo")
    ((function, *arguments),) = jobs
    function(*arguments)
    assert store.is_marked("odoo")


@pytest.mark.parametrize(
    "change",
    [
        {"socket": Listen(host="127.0.0.1", port=2500)},
        {"socketmap": Listen(host="127.0.0.1", port=2500)},
        {"http": Listen(host="127.0.0.1", port=2500)},
        {"cache": "/var/lib/other"},
        {"log": "json"},
    ],
)
def test_a_change_that_needs_a_restart_warns(running, logged, change):
    """
    The key is named, and nothing is bound anew.
    """
    running.reload(**change)
    (key,) = change
    assert [f"a change of {key} takes effect at the next restart"] == levels(logged, "warn")
    assert len(running.reactor.tcpServers) == 3


def test_a_new_socket_is_not_told_to_postfix_before_the_restart(make_site):
    """
    The next hop stays where LMTP listens.
    """
    site = make_site(nexthop="")
    site.start()
    site.odoo.run()
    before = site.look_up(b"transport info@example.com")
    assert before == b"OK lmtp:inet:127.0.0.1:2401"
    site.reload(socket=Listen(host="127.0.0.1", port=2500))
    assert before == site.look_up(b"transport info@example.com")


def test_a_reload_between_storing_and_publishing_loses_nothing(make_site, fakes, tmp_path):
    """
    A list that was stored but not yet in force comes into force all the same.
    """
    fakes.store_list(tmp_path / "cache", fakes.make_server(), AliasList({}, transport={
        "odoo@example.com": ""}))  # fmt: skip
    site = make_site()
    site.etags = {"aliases": '"a"', "transport": '"t"'}
    slow = site.reactor.thread = fakes.SlowThread()
    site.start()
    site.odoo.run()
    slow.finish()  # the page is read
    site.odoo.run()
    assert len(slow.waiting) == 1
    site.reactor.thread = fakes.in_thread
    site.daemon.reload()
    slow.finish()
    assert site.look_up(b"aliases info@example.com") == b"OK odoo@example.com"
    site.odoo.run()
    assert site.look_up(b"aliases info@example.com") == b"OK odoo@example.com"


def test_a_server_by_another_name_loses_no_mail(make_site, fakes, tmp_path):
    """
    Until its list was fetched, what is not known is not refused.
    """
    for name in ("one", "two"):
        declared = AliasList(transport={f"info@{name}.example.com": ""})
        fakes.store_list(tmp_path / "cache", fakes.make_server(name), declared)
    site = make_site(names=("one", "two"))
    site.start()
    assert site.look_up(b"aliases info@one.example.com") == b"OK info@one.example.com"
    renamed = dataclasses.replace(fakes.make_server("one"), name="uno")
    site.reload(servers=(renamed, fakes.make_server("two")))
    assert site.look_up(b"aliases info@one.example.com").startswith(b"TEMP ")
    assert site.look_up(b"aliases info@two.example.com") == b"OK info@two.example.com"


def test_sighup_calls_the_function_in_the_reactor(fakes):
    """
    Not from within the signal.
    """
    before = signal.getsignal(signal.SIGHUP)
    called = []
    reactor = fakes.Reactor()
    reactor.callFromThread = lambda function: called.append(function)
    try:
        install_hangup(reactor, test_sighup_calls_the_function_in_the_reactor)
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [test_sighup_calls_the_function_in_the_reactor] == called


def test_a_sighup_during_the_start_is_heeded_after_it(fakes):
    """
    It does not end the process; the configuration may have been read before it.
    """
    before = signal.getsignal(signal.SIGHUP)
    called = []
    reactor = fakes.Reactor()
    reactor.callFromThread = called.append
    try:
        hold_hangup()
        signal.raise_signal(signal.SIGHUP)
        install_hangup(reactor, "reload")
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    assert ["reload"] == called
