"""
The daemon is restarted, or ends, with lookups under way; and it is upgraded while it runs.
"""

import http.client
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from held_sockets import held_sockets
from installation import TOKEN, Installation
from mail_host import compose
from postfix import DOMAIN
from programs import ENVIRON, Program
from socketmap_client import SocketmapClient
from waiting import eventually

pytestmark = pytest.mark.postfix

INFO = "info@example.test"


@pytest.fixture
def clients(site: Installation) -> Iterator[list[SocketmapClient]]:
    """
    Three clients of the daemon, not yet connected.
    """
    with ExitStack() as stack:
        made = [SocketmapClient(site.socketmap, INFO) for _ in range(3)]
        yield [stack.enter_context(closing(client)) for client in made]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_lookups_under_way(
    site: Installation, clients: list[SocketmapClient], number: signal.Signals
) -> None:
    """
    With held sockets every lookup is answered, by the process before or by the next one.

    A connection that waits to be accepted stays; others may be cut, which Postfix bears once.
    """
    accepted, halved, waiting = clients
    with held_sockets(site) as daemon:
        daemon.start(notify=True)
        assert [accepted.lookup(), halved.lookup()] == [("ok", 0)] * 2
        freeze(daemon)
        waiting.connect()
        for client in (accepted, waiting):
            client.send(client.request)
        halved.send(halved.request[:9])
        daemon.signal(number)
        daemon.signal(signal.SIGCONT)
        daemon.wait()
        halved.send(halved.request[9:])
        daemon.start(notify=True)
        answers = [client.receive() for client in clients]
        for client in clients:
            client.close()
        assert [client.lookup() for client in clients] == [("ok", 0)] * 3
    assert set(answers) <= {accepted.answer, b""}
    if number == signal.SIGKILL:
        assert answers == [b"", b"", waiting.answer]


def freeze(daemon: Program) -> None:
    """
    Stop a process in its tracks; returns when it stands.
    """
    daemon.signal(signal.SIGSTOP)
    status = Path(f"/proc/{daemon.pid}/stat")
    eventually(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "it to stand")


def test_upgraded_while_it_runs(site: Installation) -> None:
    """
    Whatever the daemon does later, it has the modules for it in memory, except Python's own.
    """
    site.daemon.stop()
    log = site.folder / "imports.log"
    daemon = Program(site.daemon.argv, log, {**ENVIRON, "PYTHONPROFILEIMPORTTIME": "1"})
    daemon.start(notify=True)
    try:
        eventually(lambda: site.knows(INFO), "the list")
        before = len(imported(daemon))
        exercise(site, daemon)
    finally:
        daemon.stop()
    found = imported(daemon)
    assert {"mailer", "twisted", "treq"} <= set(found[:before])
    assert set(found[before:]) <= sys.stdlib_module_names


def imported(daemon: Program) -> list[str]:
    """
    Return what was imported so far, the first part of each name.
    """
    return re.findall(r"^import time:.*\| +(\w+)[\w.]*$", daemon.output(), re.MULTILINE)


def exercise(site: Installation, daemon: Program) -> None:
    """
    Have the daemon do whatever it can.
    """
    site.postfix.final(site.send(compose(body=b"large\r\n" * 300_000), [INFO]))
    for path in ("metrics", "readyz", "nothing"):
        ask_web(site, path)
    mapping = b"account@example.test: [info, sales]"
    assert ask_web(site, "aliases", b"{", "application/yaml") == 422
    assert ask_web(site, "aliases", mapping, "application/yaml") == 200
    assert ask_web(site, "aliases", b"", "") == 202
    daemon.signal(signal.SIGHUP)
    eventually(lambda: "configuration reloaded" in daemon.output(), "the configuration")
    eventually(lambda: site.knows(f"support@{DOMAIN}"), "the list of Odoo again")
    site.sandbox.stop()
    site.postfix.deferred(site.send(compose(), [INFO]))


def ask_web(site: Installation, path: str, body: bytes | None = None, kind: str = "") -> int:
    """
    Return the status of an answer of the daemon's to Odoo, or to Prometheus.
    """
    connection = http.client.HTTPConnection("127.0.0.1", site.http_port, timeout=30)
    headers = {"X-Mail-Token": TOKEN, "Content-Type": kind}
    with closing(connection):
        connection.request("GET" if body is None else "POST", f"/{path}", body, headers)
        return connection.getresponse().status
