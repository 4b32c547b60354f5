"""
The sandbox as a service: its port, its watch on the alias file, its word to the daemon.
"""

import json
import os
from pathlib import Path

import pytest
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from mailer.config import Config, Server, Token
from mailer.errors import ConfigError
from mailer.listen import Listen
from mailer.sandbox import WATCH, AliasFile, make_sandbox
from mailer.sandbox_aliases import EXAMPLE
from mailer.sandbox_notify import TIMEOUT


def config(url="http://127.0.0.1:8069", **keys):
    """
    A configuration with one server.
    """
    return Config((Server("odoo", url, Token("secret")),), **keys)


class Sandbox:
    """
    A sandbox on a reactor without sockets.
    """

    def __init__(self, folder: Path, **keys):
        self.aliases = folder / "some" / "aliases.yaml"
        self.mail = folder / "mail"
        self.reactor = MemoryReactorClock()
        self.service = make_sandbox(config(**keys), self.aliases, self.mail, self.reactor)
        self.service.startService()

    def edit(self, text):
        """
        Save another text, and let the watch see it.
        """
        before = self.aliases.stat().st_mtime_ns
        self.aliases.write_text(text, encoding="utf-8")
        os.utime(self.aliases, ns=(before + 1, before + 1))
        self.reactor.advance(WATCH)

    def get(self, path, header=b"X-Mail-Token: secret\r\n"):
        """
        Return the answer to a request.
        """
        factory = self.reactor.tcpServers[0][1]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path, header))
        return transport.value()

    def daemon(self):
        """
        Connect the last client, and return its transport and protocol.
        """
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return transport, protocol


@pytest.fixture
def sandbox(tmp_path):
    """
    A running sandbox over the example.
    """
    sandbox = Sandbox(tmp_path)
    yield sandbox
    sandbox.service.stopService()


@pytest.fixture
def logged():
    """
    The format of each line that was logged.
    """
    lines = []

    def observe(event):
        lines.append((event.get("log_format") or "").format_map(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:8069", (8069, "127.0.0.1")),
        ("http://127.0.0.1", (80, "127.0.0.1")),
        ("http://127.0.0.2:1", (1, "127.0.0.2")),
        ("http://localhost:8069", (8069, "127.0.0.1")),
        ("http://odoo.localhost:8069", (8069, "127.0.0.1")),
        ("http://[::1]:8069", (8069, "::1")),
    ],
)
def test_listens_where_the_server_is(tmp_path, url, place):
    """
    The sandbox is found at the URL of the configuration; http without a port is 80.
    """
    (port, _, _, interface) = Sandbox(tmp_path, url=url).reactor.tcpServers[0]

    assert (port, interface) == place


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:8069", "http://192.0.2.1", "http://odoo.example.com:8069"]
)
def test_other_places_are_refused(tmp_path, url):
    """
    What is not plain http on loopback belongs to another server.
    """
    with pytest.raises(ConfigError, match="host: the sandbox needs an http URL on loopback"):
        Sandbox(tmp_path, url=url)


def test_list_is_served(sandbox):
    """
    The points are below the root, with the token of the configuration.
    """
    assert b"info@example.com info@example.com" in sandbox.get(b"/mail_delivery/aliases")
    assert sandbox.get(b"/mail_delivery/aliases", b"").startswith(b"HTTP/1.1 401")


def test_path_of_the_url_is_honoured(tmp_path):
    """
    The points are below the path of the URL, where it has one.
    """
    sandbox = Sandbox(tmp_path, url="http://127.0.0.1:8069/odoo")

    assert sandbox.get(b"/odoo/mail_delivery/aliases").startswith(b"HTTP/1.1 200")
    assert sandbox.get(b"/mail_delivery/aliases").startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("path", [b"/", b"/mail_delivery", b"/web", b"/odoo/mail_delivery"])
def test_nothing_else_is_there(sandbox, path):
    """
    Other paths are not found, with or without a token.
    """
    assert sandbox.get(path).startswith(b"HTTP/1.1 404")
    assert sandbox.get(path, b"").startswith(b"HTTP/1.1 404")


def test_thousand_recipients_fit(sandbox):
    """
    A header as long as Odoo itself takes is taken.
    """
    header = b"X-Mail-Recipients: %b\r\n" % b",".join(
        b"someone%d@example.com" % n for n in range(2000)
    )

    assert sandbox.get(b"/mail_delivery/pipe", header).startswith(b"HTTP/1.1 405")


def test_example_is_written(sandbox):
    """
    Where there is no alias file, the example is written, folders included.
    """
    assert sandbox.aliases.read_text(encoding="utf-8") == EXAMPLE


def test_existing_file_is_left(tmp_path):
    """
    An alias file that is there is used as it is.
    """
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "aliases.yaml").write_text("aliases: {a@b.c: }")
    sandbox = Sandbox(tmp_path)

    assert b"a@b.c a@b.c" in sandbox.get(b"/mail_delivery/aliases")
    assert sandbox.aliases.read_text() == "aliases: {a@b.c: }"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"aliases: {nobody: }", "aliases.yaml: 'nobody' is not an address"),
        (b"aliases:\n  a: [\n", "aliases.yaml:3: "),
        (b"aliases: \xff", "aliases.yaml: .*utf-8"),
    ],
)
def test_faulty_file_at_start(tmp_path, content, reason):
    """
    Without a good list there is nothing to serve, and the fault is named.
    """
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "aliases.yaml").write_bytes(content)

    with pytest.raises(ConfigError, match=reason):
        Sandbox(tmp_path)


def test_place_that_cannot_be_had(tmp_path):
    """
    A path that cannot be used is a fault of the configuration.
    """
    (tmp_path / "some").write_text("a file")
    with pytest.raises(ConfigError, match=r"aliases.yaml: .*(exists|directory)"):
        Sandbox(tmp_path)
    (tmp_path / "some").unlink()
    (tmp_path / "mail").write_text("a file")
    with pytest.raises(ConfigError, match=r"mail: .*directory"):
        Sandbox(tmp_path)


def test_ledger_that_cannot_be_used(tmp_path):
    """
    A ledger that is none is a fault of the configuration.
    """
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "ledger.sqlite3").write_text("not a database at all")

    with pytest.raises(ConfigError, match="not a database"):
        Sandbox(tmp_path)


def etag(sandbox):
    """
    Return the validator of the JSON page.
    """
    answer = sandbox.get(
        b"/mail_delivery/aliases", b"X-Mail-Token: secret\r\nAccept: application/json\r\n"
    )
    (line,) = [line for line in answer.split(b"\r\n") if line.lower().startswith(b"etag: ")]
    return line[6:]


def test_good_edit_counts(sandbox):
    """
    A saved change is served, and the daemon is told what has changed, with the token.
    """
    before = etag(sandbox)
    sandbox.edit(EXAMPLE.replace("sales@example.com:\n", "new@example.com:\n"))

    assert b"new@example.com" in sandbox.get(b"/mail_delivery/aliases")
    (client,) = sandbox.reactor.tcpClients
    assert client[:2] == ("127.0.0.1", 8000)
    request, _, body = sandbox.daemon()[0].value().partition(b"\r\n\r\n")
    assert request.startswith(b"POST /aliases HTTP/1.1\r\n")
    fields = request.split(b"\r\n")
    assert b"X-Mail-Token: secret" in fields
    assert b"Content-Type: application/merge-patch+json" in fields
    assert b"Delta-Base: " + before in fields
    assert b"ETag: " + etag(sandbox) in map(title, fields)
    patch = json.loads(body)
    assert patch["aliases"] == {"new@example.com": ["new@example.com"], "sales@example.com": None}
    assert patch["count"] == 6


def title(field):
    """
    Return a header field as it is written by hand; Twisted has its own way with ETag.
    """
    return field.replace(b"Etag:", b"ETag:")


@pytest.mark.parametrize("code", [b"415", b"422", b"404", b"500"])
def test_daemon_that_takes_no_patch(sandbox, code):
    """
    A daemon that does not take what has changed is told without a body to fetch the list.
    """
    sandbox.edit("aliases: {new@example.com: }")
    sandbox.daemon()[1].dataReceived(b"HTTP/1.1 %b X\r\nContent-Length: 0\r\n\r\n" % code)
    assert len(sandbox.reactor.tcpClients) == 2
    request, _, body = sandbox.daemon()[0].value().partition(b"\r\n\r\n")

    assert b"\r\nX-Mail-Token: secret" in request
    assert b"\r\nContent-Length: 0" in request
    assert b"Delta-Base" not in request
    assert body == b""


@pytest.mark.parametrize("code", [b"200", b"202"])
def test_daemon_that_takes_the_patch(sandbox, code):
    """
    A daemon that has the new list, or fetches it, is told nothing more.
    """
    sandbox.edit("aliases: {new@example.com: }")
    sandbox.daemon()[1].dataReceived(b"HTTP/1.1 %b X\r\nContent-Length: 0\r\n\r\n" % code)

    assert len(sandbox.reactor.tcpClients) == 1


def test_same_list_in_another_file(sandbox):
    """
    An edit that leaves the list as it is, is a call without a body.
    """
    sandbox.edit(EXAMPLE + "# A word more.\n")
    request, _, body = sandbox.daemon()[0].value().partition(b"\r\n\r\n")

    assert b"\r\nContent-Length: 0" in request
    assert body == b""


def test_same_file_is_read_once(sandbox, logged):
    """
    Nothing happens while the file stays as it is.
    """
    sandbox.reactor.pump([WATCH] * 20)

    assert sandbox.reactor.tcpClients == []
    assert logged == []


@pytest.mark.parametrize("text", ["", "aliases: [", "aliases: {nobody: }", "\udcff"])
def test_faulty_edit_changes_nothing(sandbox, logged, text):
    """
    A fault is logged once, the last good list stays, and a later good edit counts.
    """
    before = sandbox.aliases.stat().st_mtime_ns
    sandbox.aliases.write_bytes(text.encode("utf-8", "surrogateescape"))
    os.utime(sandbox.aliases, ns=(before + 1, before + 1))
    sandbox.reactor.pump([WATCH] * 5)

    (line,) = logged
    assert "the last good list stays" in line
    assert b"info@example.com" in sandbox.get(b"/mail_delivery/aliases")
    assert sandbox.reactor.tcpClients == []
    sandbox.edit("aliases: {new@example.com: }")
    assert b"new@example.com" in sandbox.get(b"/mail_delivery/aliases")


def test_missing_file_changes_nothing(sandbox, logged):
    """
    Editors that move the file away and back are no fault for long.
    """
    moved = sandbox.aliases.with_suffix(".moved")
    sandbox.aliases.rename(moved)
    sandbox.reactor.pump([WATCH] * 5)
    assert b"info@example.com" in sandbox.get(b"/mail_delivery/aliases")
    assert len(logged) == 1

    moved.rename(sandbox.aliases)
    sandbox.edit("aliases: {new@example.com: }")
    assert b"new@example.com" in sandbox.get(b"/mail_delivery/aliases")


def test_watch_survives_a_bug(tmp_path, logged):
    """
    Whatever fails while the file is looked at is logged.
    """

    def fail(_patch):
        raise ZeroDivisionError

    path = tmp_path / "aliases.yaml"
    file = AliasFile(path, fail)
    file.load()
    path.write_text("aliases: {new@example.com: }")
    file.poll()

    assert any("could not be looked at" in line for line in logged)
    assert file.lists.current.knows("new@example.com")


def test_answer_of_the_daemon_is_logged(sandbox, logged):
    """
    Whether the daemon took the word is in the log.
    """
    sandbox.edit("aliases: {new@example.com: }")
    _, protocol = sandbox.daemon()
    protocol.dataReceived(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")

    assert "the daemon at 127.0.0.1:8000 was told, and answered 202" in logged


def test_daemon_that_is_down_is_logged(sandbox, logged):
    """
    A refused connection is not fatal.
    """
    sandbox.edit("aliases: {new@example.com: }")
    sandbox.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(Refused()))

    assert any("was not told: Connection was refused" in line for line in logged)


def test_daemon_that_is_silent_is_logged(sandbox, logged):
    """
    The sandbox does not wait for long.
    """
    sandbox.edit("aliases: {new@example.com: }")
    sandbox.daemon()
    sandbox.reactor.advance(TIMEOUT)

    assert any("was not told" in line for line in logged)


def test_daemon_on_a_unix_socket(tmp_path):
    """
    The webhook may be a UNIX socket.
    """
    sandbox = Sandbox(tmp_path, http=Listen(path="/run/odoo-mailer/http"))
    sandbox.edit("aliases: {new@example.com: }")
    (client,) = sandbox.reactor.unixClients

    assert client[0] == "/run/odoo-mailer/http"


def test_daemon_without_an_address(tmp_path, logged):
    """
    An endpoint that cannot be connected to is said to be one.
    """
    sandbox = Sandbox(tmp_path, http=Listen(endpoint="systemd:domain=INET:index=0"))
    sandbox.edit("aliases: {new@example.com: }")

    assert any("names no address to connect to" in line for line in logged)


def test_stop_ends_everything(tmp_path):
    """
    A stopped sandbox neither watches nor keeps its ledger open.
    """
    sandbox = Sandbox(tmp_path)
    stopped = []
    sandbox.service.stopService().addCallback(stopped.append)

    assert len(stopped) == 1
    assert [call for call in sandbox.reactor.getDelayedCalls() if call.active()] == []
