"""
The known faults of the program that this one replaces, one test each.
"""

import hmac
from types import SimpleNamespace

import pytest

from mailer import cli, config
from mailer.alias_list import AliasList
from mailer.alias_table import ServerList, merge
from mailer.config import DEFAULT_HTTP, Config
from mailer.daemon import Daemon, Roles
from mailer.listen import Listen
from mailer.map_files import write_map_file
from mailer.map_text import transport_text

LMTP, SOCKETMAP, HTTP = 2401, 2402, 2403
LIST = AliasList({"info@example.com": ("odoo@example.com",)}, transport={"odoo@example.com": ""})


class Site:
    """
    A whole daemon in memory, with a stored list, and Odoo beside it.
    """

    def __init__(self, fakes, folder, is_stored=True):
        self.fakes = fakes
        if is_stored:
            fakes.store_list(folder, fakes.make_server(), LIST)
        self.reactor = fakes.Reactor()
        self.answer = (200, b"")
        self.odoo = fakes.Odoo(self.reactor, lambda request: self.answer)
        config = Config(
            (fakes.make_server(),),
            socket=Listen(host="127.0.0.1", port=LMTP),
            socketmap=Listen(host="127.0.0.1", port=SOCKETMAP),
            http=Listen(host="127.0.0.1", port=HTTP),
            cache=str(folder),
            nexthop="lmtp:inet:127.0.0.1:2401",
        )
        self.daemon = Daemon(lambda: config, config, Roles(), self.reactor)
        self.daemon.startService()

    def deliver(self, *recipients, message=b"Subject: x\r\n\r\ntext\r\n"):
        """
        Send a message by LMTP; return the reply lines after the dot, and what Odoo got.
        """
        connection = self.fakes.Connection(self.reactor.factory_at(LMTP))
        commands = [b"LHLO mx", b"MAIL FROM:<s@example.org>"]
        commands += [b"RCPT TO:<%b>" % recipient.encode() for recipient in recipients]
        connection.send(b"\r\n".join([*commands, b"DATA", b""]))
        connection.send(message + b".\r\n")
        self.odoo.run()
        calls = [request for request in self.odoo.requests if request.method == "POST"]
        return connection.received().decode("ascii").splitlines(), calls[-1] if calls else None

    def post(self, body, content_type="application/yaml", token="odoo-token"):
        """
        Call the webhook; return the response.
        """
        head = (
            f"POST /aliases HTTP/1.1\r\nHost: x\r\nX-Mail-Token: {token}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection = self.fakes.Connection(self.reactor.factory_at(HTTP))
        connection.protocol.dataReceived(head.encode("latin-1") + body)
        return self.fakes.http_response(connection.received())

    def look_up(self, address):
        """
        Return the answer of the map aliases.
        """
        request = f"aliases {address}".encode()
        connection = self.fakes.Connection(self.reactor.factory_at(SOCKETMAP))
        return connection.send(b"%d:%b," % (len(request), request)).decode()


@pytest.fixture
def site(fakes, tmp_path):
    """
    A daemon with a stored list.
    """
    return Site(fakes, tmp_path / "cache")


def test_dots_are_unstuffed(site):
    """
    A line that begins with a dot arrives with one dot, not with two.
    """
    _, request = site.deliver("info@example.com", message=b"Subject: x\r\n\r\n..\r\n...x\r\n")
    assert request.body.endswith(b"\r\n\r\n.\r\n..x\r\n")


def test_every_recipient_has_a_reply(site):
    """
    N recipients have N replies, where there was one and Postfix waited for the rest.
    """
    lines, _ = site.deliver("info@example.com", "odoo@example.com", "info+x@example.com")
    assert ["250 2.0.0"] * 3 == [line[:9] for line in lines]


def test_mail_that_is_not_utf_8_is_delivered(site):
    """
    Octets arrive as they are.
    """
    message = b"Subject: caf\xe9\r\n\r\n\xff\xfe\x00\x80\r\n"
    lines, request = site.deliver("info@example.com", message=message)
    assert lines[0].startswith("250 ")
    assert request.body.endswith(message)


def test_http_errors_are_told_apart(site):
    """
    The token, the address, the size, the load and the rest each have a reply of their own.
    """
    statuses = []
    for code in (401, 404, 413, 429, 500):
        site.answer = (code, b"")
        lines, _ = site.deliver("info@example.com")
        statuses.append(lines[0][:9])
    assert ["451 4.7.0", "451 4.3.5", "451 4.3.4", "451 4.3.2", "451 4.3.0"] == statuses


def test_no_body_of_http_comes_into_a_reply(site):
    """
    The page of a proxy stays out of the protocol.
    """
    site.answer = (500, b"250 2.0.0 Ok\r\n<h1>secret trace</h1>\r\n" * 100)
    lines, _ = site.deliver("info@example.com")
    assert len(lines) == 1
    assert "secret" not in lines[0]
    assert "<" not in lines[0]


def test_the_envelope_reaches_odoo(site):
    """
    Sender and recipients are told to Odoo, which otherwise guesses them from To and Cc.
    """
    message = b"To: someone@else.example\r\n\r\n"
    _, request = site.deliver("info@example.com", "odoo@example.com", message=message)
    assert request.headers["x-mail-sender"] == "s@example.org"
    assert request.headers["x-mail-recipients"] == "info@example.com,odoo@example.com"
    assert request.body.startswith(
        b"Return-Path: <s@example.org>\r\n"
        b"Delivered-To: info@example.com\r\nDelivered-To: odoo@example.com\r\n"
    )


def test_bad_yaml_does_not_empty_the_list(site):
    """
    422, where the maps were emptied and the answer was 200.
    """
    assert site.post(b"odoo@example.com: [info").code == 422
    assert "OK odoo@example.com" in site.look_up("info@example.com")


def test_a_wrong_content_type_is_answered(site):
    """
    415, where the client waited for ever.
    """
    assert site.post(b"{}", content_type="text/plain").code == 415


def test_map_files_are_replaced_whole(tmp_path, monkeypatch):
    """
    Who reads the old file reads it to its end; the new one is there at once.
    """
    program = tmp_path / "postmap"
    program.write_text('#!/bin/sh\nexec cp "${1##*:}" "${1##*:}.db"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    target = tmp_path / "virtual"
    write_map_file(str(target), "old@example.com old@example.com\n")
    with open(target) as source, open(f"{target}.db") as indexed:
        write_map_file(str(target), "new@example.com new@example.com\n")
        assert source.read() == indexed.read() == "old@example.com old@example.com\n"
    assert target.read_text() == "new@example.com new@example.com\n"


def test_the_transport_file_is_a_transport_table():
    """
    One address and its next hop a line, where all addresses stood in one.
    """
    table = merge([ServerList("odoo", LIST)], {}, "lmtp:unix:private/odoo-lmtp")
    lines = [line.split() for line in transport_text(table, 0.0).splitlines() if line[0] != "#"]
    assert [
        ["info@example.com", "lmtp:unix:private/odoo-lmtp"],
        ["odoo@example.com", "lmtp:unix:private/odoo-lmtp"],
    ] == lines


def test_a_failed_fetch_at_the_start_is_told_and_tried_again(fakes, tmp_path, logged):
    """
    It is in the log, lookups are temporary, and a second later Odoo is asked again.
    """
    site = Site(fakes, tmp_path / "cache", is_stored=False)
    site.answer = (500, b"")
    site.odoo.run()
    warnings = [event for event in logged if event["log_level"].name == "warn"]
    assert any("HTTP 500" in event["log_format"].format(**event) for event in warnings)
    assert "TEMP " in site.look_up("info@example.com")
    site.answer = (200, b"info@example.com")
    site.reactor.advance(2)
    site.odoo.run()
    assert "OK info@example.com" in site.look_up("info@example.com")


def test_the_webhook_is_on_loopback_and_compares_in_constant_time(site, monkeypatch):
    """
    Not on all addresses, and no comparison that ends at the first wrong octet.
    """
    compared = []

    def compare_digest(*pair):
        compared.append(set(pair))
        return hmac.compare_digest(*pair)

    monkeypatch.setattr(config, "hmac", SimpleNamespace(compare_digest=compare_digest))
    assert DEFAULT_HTTP.host == "127.0.0.1"
    assert site.post(b"{}", token="odoo-wrong").code == 401
    assert compared
    assert all({b"odoo-token", b"odoo-wrong"} == pair for pair in compared)


def test_pipe_never_exits_with_1(monkeypatch, capsys):
    """
    Postfix bounces on 1; whatever is not understood is 75.
    """

    def fail(words):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_run", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main(["pipe"])
    assert caught.value.code == 75
