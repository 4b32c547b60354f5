"""
Connections that do nothing, or next to nothing, or never read: in a process of their own.
"""

import asyncio
import errno
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stand_in import DOMAIN, SPAWN

Place = Path | int  # a UNIX socket, or a port of 127.0.0.1

DRIBBLE = 1.0  # seconds between two octets


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What a member of the crowd does.

    Args:
        name: To tell it from others.
        at_once: Sent when the connection is there.
        dribbled: Sent after it, over and over, one octet a second; may be empty.
        reads: Whether answers are read.
    """

    name: str
    place: Place
    at_once: bytes = b""
    dribbled: bytes = b""
    reads: bool = True


class Crowd:
    """
    The parent's hold on it.
    """

    def __init__(self) -> None:
        self._pipe, child = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_run, args=(child,), daemon=True)

    def __enter__(self) -> "Crowd":
        self._process.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.join()

    def open(self, kind: Kind, count: int) -> int:
        """
        Open connections; return how many could be.

        The system takes some before the daemon does: look at its descriptors, too.
        """
        return int(self._call("open", kind, count))

    def refused(self) -> Counter[str]:
        """
        Return how many could not be opened so far, by the name of the error.
        """
        counts = self._call("refused")
        assert isinstance(counts, Counter)
        return counts

    def left(self) -> Counter[str]:
        """
        Return how many connections of each kind the daemon has not closed.
        """
        counts = self._call("left")
        assert isinstance(counts, Counter)
        return counts

    def dropped_after(self) -> dict[str, list[float]]:
        """
        Return, by kind, the seconds after which connections were closed by the daemon.
        """
        seconds = self._call("dropped")
        assert isinstance(seconds, dict)
        return seconds

    def close(self) -> None:
        """
        Close all.
        """
        self._call("close")

    def _call(self, verb: str, *arguments: object) -> Any:
        self._pipe.send((verb, arguments))
        return self._pipe.recv()


def _run(pipe: Connection) -> None:
    asyncio.run(_Members(pipe).run())


@dataclass(slots=True)
class _Member:
    kind: Kind
    connection: socket.socket
    since: float
    sent: int = 0


@dataclass(slots=True)
class _Members:
    pipe: Connection
    members: list[_Member] = field(default_factory=list)
    dropped: dict[str, list[float]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self.pipe.fileno(), self._obey)
        while True:
            await asyncio.sleep(DRIBBLE)
            self._sweep()
            for member in self.members:
                self._dribble(member)

    def _obey(self) -> None:
        verb, arguments = self.pipe.recv()
        answer = {
            "open": self._open,
            "left": self._left,
            "dropped": self._dropped,
            "refused": lambda: self.refused,
            "close": self._close,
        }[verb](*arguments)
        self.pipe.send(answer)

    def _open(self, kind: Kind, count: int) -> int:
        opened = 0
        for _ in range(count):
            try:
                connection = connected(kind.place)
                connection.setblocking(False)
                connection.send(kind.at_once)
            except OSError as error:
                self.refused[errno.errorcode.get(error.errno or 0, type(error).__name__)] += 1
                continue
            self.members.append(_Member(kind, connection, time.monotonic()))
            opened += 1
        return opened

    def _left(self) -> Counter[str]:
        self._sweep()
        return Counter(member.kind.name for member in self.members)

    def _dropped(self) -> dict[str, list[float]]:
        self._sweep()
        return self.dropped

    def _close(self) -> None:
        for member in self.members:
            member.connection.close()
        self.members.clear()

    def _dribble(self, member: _Member) -> None:
        text = member.kind.dribbled
        if not text:
            return
        try:
            member.connection.send(text[member.sent % len(text) :][:1])
            member.sent += 1
        except OSError:
            pass  # the sweep finds it

    def _sweep(self) -> None:
        """
        Read what is to be read, and let go of those that the daemon has closed.
        """
        poll = select.poll()
        by_descriptor = {member.connection.fileno(): member for member in self.members}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLRDHUP | select.POLLIN)
        now = time.monotonic()
        for descriptor, events in poll.poll(0):
            member = by_descriptor[descriptor]
            if events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR):
                self.dropped.setdefault(member.kind.name, []).append(now - member.since)
                member.connection.close()
            elif member.kind.reads:
                member.connection.recv(65_536)
        self.members = [member for member in self.members if member.connection.fileno() >= 0]


def connected(place: Place, timeout: float = 10.0) -> socket.socket:
    """
    Return a connection.

    Raises:
        OSError: There was none.
    """
    if isinstance(place, int):
        return socket.create_connection(("127.0.0.1", place), timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(str(place))
    except OSError:
        connection.close()
        raise
    return connection


def slow_kinds(socketmap: Place, lmtp: Place, http: Place, unread: int) -> Sequence[Kind]:
    """
    Return the kinds of slow clients.

    Args:
        unread: How many lookups one asks at once that never reads the answers.
    """
    lookup = f"aliases odoo-1@{DOMAIN}".encode()
    netstring = b"%d:%b," % (len(lookup), lookup)
    commands = f"RSET\r\nMAIL FROM:<a@{DOMAIN}>\r\nRCPT TO:<odoo-1@{DOMAIN}>\r\n".encode()
    transaction = b"LHLO client.test\r\n" + commands + b"DATA\r\n"
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    return (
        Kind("half netstrings", socketmap, b"", netstring),
        Kind("answers never read", socketmap, netstring * unread, reads=False),
        Kind("LMTP commands", lmtp, b"LHLO client.test\r\n", commands),
        Kind("message data", lmtp, transaction, b"Subject: slow\r\n"),
        Kind("HTTP fields", http, request, b"a"),
    )
