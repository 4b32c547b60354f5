"""
Tests for mailer.daemon: start, lists, reload, health. The end is in test_daemon_stop.
"""

import json
import sqlite3
from contextlib import closing

import pytest

from mailer.alias_list import AliasList
from mailer.daemon import READY_TIMEOUT, Roles
from mailer.delivery import FAIR_WAIT
from mailer.errors import ListenError, TemporaryError
from mailer.listen import Listen
from mailer.store import FILE_NAME, Etags, Store

LMTP, SOCKETMAP, HTTP = 2401, 2402, 2403
ALIASES = b"info@example.com odoo@example.com\n"
TRANSPORT = b"odoo@example.com\n"
STORED_PAGE = b"stored@example.com\n"
STORED = AliasList(transport={"stored@example.com": ""})


def levels(logged, level):
    """
    Return the log lines of one level, as formats with their fields.
    """
    return [
        event["log_format"].format(**event) for event in logged if event["log_level"].name == level
    ]


def test_every_place_is_bound_before_anything_else(make_site):
    """
    privilegedStartService binds all three, and asks nobody.
    """
    site = make_site()
    site.make().privilegedStartService()
    assert [SOCKETMAP, LMTP, HTTP] == [server[0] for server in site.reactor.tcpServers]
    assert [] == site.reactor.tcpClients


@pytest.mark.parametrize(
    ("roles", "ports"),
    [
        (Roles(socketmap=False, http=False), [LMTP]),
        (Roles(socketmap=False, lmtp=False), [HTTP]),
    ],
)
def test_roles_say_what_is_served(make_site, roles, ports):
    """
    lmtp alone and webhook alone bind one place each.
    """
    site = make_site(roles=roles)
    site.start()
    assert ports == [server[0] for server in site.reactor.tcpServers]


def test_a_place_that_cannot_be_had_gives_the_others_back(make_site, tmp_path):
    """
    The socket files that were made are removed again.
    """
    (tmp_path / "h").write_text("no socket")
    site = make_site(
        socketmap=Listen(path=str(tmp_path / "m"), group=""), http=Listen(path=str(tmp_path / "h"))
    )
    site.make()
    with pytest.raises(ListenError, match="it exists and is no socket"):
        site.daemon.privilegedStartService()
    site.reactor.close()
    assert ["cache", "h"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_cache_that_cannot_be_used_stops_the_start(make_site, tmp_path):
    """
    Nothing is bound.
    """
    (tmp_path / "cache").write_text("a file")
    site = make_site()
    with pytest.raises(TemporaryError, match="cache"):
        site.make()
    assert [] == site.reactor.tcpServers


def test_the_list_is_fetched_at_the_start(running):
    """
    Both maps answer from it.
    """
    assert running.look_up(b"aliases info@example.com") == b"OK odoo@example.com"
    assert running.look_up(b"transport info@example.com") == b"OK lmtp:unix:private/odoo-lmtp"
    assert running.look_up(b"aliases other@example.com") == b"NOTFOUND "


def test_before_the_first_list_everything_is_temporary(make_site):
    """
    TEMP, and not ready, but healthy.
    """
    site = make_site()
    site.start()
    assert site.look_up(b"aliases info@example.com").startswith(b"TEMP ")
    assert [503, 200] == [site.get(path).code for path in (b"/readyz", b"/healthz")]


def test_the_stored_list_is_served_before_odoo_is_asked(make_site, fakes, tmp_path):
    """
    A restart while Odoo is down goes unnoticed.
    """
    fakes.store_list(tmp_path / "cache", fakes.make_server(), STORED)
    site = make_site()
    site.start()
    assert site.look_up(b"aliases stored@example.com") == b"OK stored@example.com"
    assert site.get(b"/readyz").code == 200


@pytest.mark.parametrize(("url", "sent"), [(None, '"a"'), ("http://127.0.0.1/other", None)])
def test_stored_validators_are_used_for_the_same_server(make_site, fakes, tmp_path, url, sent):
    """
    Those of another URL mean nothing.
    """
    etags = Etags('"a"', '"t"')
    fakes.store_list(tmp_path / "cache", fakes.make_server(), STORED, url=url, etags=etags)
    site = make_site()
    site.start()
    site.odoo.run()
    assert sent == site.odoo.requests[0].headers.get("if-none-match")


def test_health_tells_of_each_server(running, fakes):
    """
    Age, number of addresses, reachability and deliveries under way.
    """
    running.reactor.advance(12.5)
    document = json.loads(running.get(b"/readyz").body)
    assert {
        "ready": True,
        "servers": {
            "odoo": {
                "list_loaded": True,
                "list_age_seconds": 12.5,
                "aliases": 2,
                "up": True,
                "in_flight": 0,
            }
        },
    } == document


def test_with_one_list_of_two_missing_it_is_not_ready(make_site, fakes, tmp_path):
    """
    Ready means every list.
    """
    fakes.store_list(tmp_path / "cache", fakes.make_server("one"), STORED)
    site = make_site(names=("one", "two"))
    site.start()
    assert site.get(b"/readyz").code == 503
    site.odoo.run()
    assert site.get(b"/readyz").code == 200


def test_with_one_list_of_two_missing_unknown_addresses_are_temporary(make_site, fakes, tmp_path):
    """
    They may be the other server's, and have been known to the process before.
    """
    fakes.store_list(tmp_path / "cache", fakes.make_server("one"), STORED)
    site = make_site(names=("one", "two"))
    site.start()
    assert site.look_up(b"aliases stored@example.com") == b"OK stored@example.com"
    assert site.look_up(b"aliases other@example.com").startswith(b"TEMP ")


def test_who_wants_every_list_is_told_in_a_thread(make_site):
    """
    on_list gets the configuration, the table in force, and the time.
    """
    told = []
    site = make_site(roles=Roles(on_list=lambda *arguments: told.append(arguments)))
    site.start()
    site.odoo.run()
    ((config, table, now),) = told
    assert site.config is config
    assert site.reactor.seconds() == now
    assert table.find("info@example.com") is not None


def test_map_files_that_cannot_be_written_are_reported(make_site, logged):
    """
    The daemon goes on.
    """

    def on_list(config, table, now):
        raise TemporaryError("disk full")

    site = make_site(roles=Roles(on_list=on_list))
    site.start()
    site.odoo.run()
    assert any("disk full" in line for line in levels(logged, "warn"))
    assert site.look_up(b"aliases info@example.com").startswith(b"OK")


def test_a_mark_is_remembered(make_site, tmp_path):
    """
    After a restart a page without mark is a proxy's still.
    """
    site = make_site()
    site.odoo.answer = lambda request: (200, b"", {"X-Mail-Delivery": "1"})
    site.start()
    site.odoo.run()
    assert Store(str(tmp_path / "cache")).is_marked("odoo")


def test_a_mark_that_cannot_be_stored_is_only_logged(make_site, tmp_path, logged):
    """
    The answer counts all the same.
    """
    site = make_site()
    site.make()
    with closing(sqlite3.connect(tmp_path / "cache" / FILE_NAME)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON server WHEN NEW.loaded_at IS NULL"
            " BEGIN SELECT RAISE(ABORT, 'read-only'); END"
        )
    site.odoo.answer = lambda request: (200, b"", {"X-Mail-Delivery": "1"})
    site.daemon.startService()
    site.odoo.run()
    failures = [event["log_failure"] for event in logged if "log_failure" in event]
    assert any("read-only" in str(failure.value) for failure in failures)
    assert site.get(b"/readyz").code == 200


def test_with_a_stored_list_it_is_ready_at_once(make_site, fakes, tmp_path):
    """
    Before Odoo has answered.
    """
    fakes.store_list(tmp_path / "cache", fakes.make_server(), STORED)
    site = make_site()
    site.start()
    assert fakes.has_fired(site.daemon.when_ready())


@pytest.mark.parametrize("code", [200, 500, None])
def test_without_a_list_it_is_ready_after_the_first_fetch(make_site, fakes, code):
    """
    However that ends: with a list, with an error, or refused.
    """
    site = make_site()
    if code != 200:
        site.odoo.answer = code and (lambda request: (code, b""))
    site.start()
    ready = site.daemon.when_ready()
    assert not fakes.has_fired(ready)
    site.odoo.run()
    site.reactor.advance(READY_TIMEOUT / 2)  # to be refused takes a moment
    assert fakes.result_of(ready) is None


def test_ready_waits_for_the_first_fetch_of_each_server(make_site, fakes, tmp_path):
    """
    A list that is missing is waited for, whatever the others have.
    """
    fakes.store_list(tmp_path / "cache", fakes.make_server("one"), STORED)
    site = make_site(names=("one", "two"))
    site.start()
    ready = site.daemon.when_ready()
    fired = {}

    def answer(request):
        fired[request.path] = fakes.has_fired(ready)
        return 200, STORED_PAGE

    site.odoo.answer = answer
    site.odoo.run()
    assert {
        f"/{name}/mail_delivery/{page}": False
        for name in ("one", "two")
        for page in ("aliases", "transport")
    } == fired
    assert fakes.result_of(ready) is None


def test_an_odoo_that_hangs_is_not_waited_for(make_site, fakes):
    """
    After five seconds it is ready, mail waits, and the list is taken when it comes.
    """
    site = make_site()
    site.start()
    ready = site.daemon.when_ready()
    site.reactor.advance(READY_TIMEOUT - 0.1)
    assert not fakes.has_fired(ready)
    site.reactor.advance(0.1)
    assert fakes.result_of(ready) is None
    assert site.look_up(b"aliases info@example.com").startswith(b"TEMP ")
    site.odoo.run()
    assert site.look_up(b"aliases info@example.com") == b"OK odoo@example.com"
    site.reactor.advance(70)
    site.odoo.run()
    assert len(site.odoo.requests) == 4


@pytest.mark.parametrize(
    ("names", "reply"), [(("odoo", "other"), b"451 4.3.2"), (("odoo",), b"250 2.1.5")]
)
def test_a_server_that_hangs_takes_no_agents_from_another(make_site, fakes, tmp_path, names, reply):
    """
    Mail for it is put off at RCPT once nobody's turn comes; a server that is alone may take long.
    """
    declared = AliasList(transport={"info@example.com": ""})
    fakes.store_list(tmp_path / "cache", fakes.make_server(names[0]), declared)
    site = make_site(names=names)
    site.start()
    lmtp = site.reactor.factory_at(LMTP)
    recipient = b"LHLO mx\r\nMAIL FROM:<s@example.org>\r\nRCPT TO:<info@example.com>\r\n"
    for _ in range(site.config.servers[0].max_in_flight):
        fakes.Connection(lmtp).send(recipient + b"DATA\r\nSubject: x\r\n\r\n.\r\n")
    site.reactor.advance(FAIR_WAIT + 1)
    assert fakes.Connection(lmtp).send(recipient).splitlines()[-1].startswith(reply)
    site.odoo.run()
