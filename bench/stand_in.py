"""
A stand-in for Odoo that is as quick, slow or broken as a bench wants it.

It runs in a process of its own, keeps nothing of what it takes, and marks its
answers as mail_delivery does.
"""

import asyncio
import json
import multiprocessing
import socket
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

from declared import Declared, address

DOMAIN = "example.com"
SPAWN = multiprocessing.get_context("spawn")  # nothing of the parent's threads comes along

_LISTENING = ("answering", "hanging")
_STATES = (*_LISTENING, "refusing", "full")
_MERGE_PATCH = "Content-Type: application/merge-patch+json\r\n"
_SLICE = 0.05  # seconds between two reads of one that reads slowly


@dataclass(frozen=True, slots=True)
class Manner:
    """
    How a stand-in behaves.

    Args:
        state: ``answering``; ``hanging`` takes requests and never answers; ``refusing`` listens
            no longer; ``full`` has a backlog that takes no connection.
        delay: Seconds before a delivery is answered.
        read_rate: Octets of a message read a second, by each connection; 0 for all at once.
        keeps: Connections stay open; Odoo's workers close each after its answer.
    """

    state: str = "answering"
    delay: float = 0.0
    read_rate: int = 0
    keeps: bool = True


@dataclass(slots=True)
class Counts:
    """
    What it took so far, and what it answered.

    Args:
        octets: Of the messages.
        fetches: Of pages, whole or as a patch.
        requests: For the list, unchanged ones too.
        sent: Octets of the answers to these, heads included.
    """

    messages: int = 0
    recipients: int = 0
    octets: int = 0
    fetches: int = 0
    requests: int = 0
    sent: int = 0


class StandIn:
    """
    The parent's hold on it.

    Args:
        name: Begins every address that it declares.
        addresses: How many it declares.
        others: Which part of these has a target that is another address.
    """

    def __init__(self, name: str, port: int, addresses: int, others: float = 0.0) -> None:
        self.name = name
        self.port = port
        self.token = f"a-token-of-{name}"
        self.manner = Manner()
        self._addresses = addresses
        self._others = others
        self._renewed = 0
        self._revision = 0
        self._pipe, child = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(name, port, self.token, others, child))
        self._process.daemon = True

    def __enter__(self) -> "StandIn":
        self._process.start()
        self.revise()
        return self

    def __exit__(self, *error: object) -> None:
        self._pipe.send(("end", None))
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def address(self, number: int) -> str:
        """
        Return one of the addresses that it always declares, and that are their own targets.
        """
        always = self._addresses - round(self._addresses * self._others) - self._renewed
        return address(self.name, number % always, DOMAIN)

    def revise(self, addresses: int = 0, renewed: int = 0) -> str:
        """
        Declare another list, and return the address by which it can be told.

        Args:
            addresses: How many from now on, if not as many as before.
            renewed: How many of these are new.
        """
        self._addresses = addresses or self._addresses
        self._renewed = renewed
        self._revision += 1
        mark = f"{self.name}-revision-{self._revision}@{DOMAIN}"
        self._call("declare", (self._addresses, renewed, mark))
        return mark

    def change(self) -> str:
        """
        Declare one address more, and return it.
        """
        self._revision += 1
        mark = f"{self.name}-revision-{self._revision}@{DOMAIN}"
        self._call("change", mark)
        return mark

    def latest_change(self) -> tuple[str, str, bytes]:
        """
        Return the ETag before, the one now, and the merge patch between them.
        """
        found: Any = self._call("latest change", None)
        before, now, patch = found
        return before, now, patch

    def behave(self, **changes: Any) -> None:
        """
        Behave otherwise, see ``Manner``; returns when it does.
        """
        self.manner = replace(self.manner, **changes)
        if self.manner.state not in _STATES:
            raise ValueError(self.manner.state)
        self._call("behave", self.manner)

    def counts(self) -> Counts:
        """
        Return what it took so far.
        """
        counts = self._call("count", None)
        assert isinstance(counts, Counts)
        return counts

    def _call(self, verb: str, argument: object) -> object:
        self._pipe.send((verb, argument))
        if not self._pipe.poll(120):
            raise AssertionError(f"the stand-in {self.name} does not react to {verb}")
        return self._pipe.recv()


def _serve(name: str, port: int, token: str, others: float, pipe: Connection) -> None:
    asyncio.run(_Server(name, port, token, others, pipe).run())


@dataclass(slots=True)
class _Server:
    name: str
    port: int
    token: str
    others: float
    pipe: Connection
    manner: Manner = field(default_factory=Manner)
    counts: Counts = field(default_factory=Counts)
    declared: Declared = field(init=False)
    connections: set["_Http"] = field(default_factory=set)
    held: list[socket.socket] = field(default_factory=list)
    listener: asyncio.Server | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.declared = Declared(self.name, DOMAIN, self.others)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        await self._listen()
        loop.add_reader(self.pipe.fileno(), lambda: loop.create_task(self._obey()))
        await self.ended.wait()

    async def _obey(self) -> None:
        if not self.pipe.poll():
            return
        verb, argument = self.pipe.recv()
        if verb == "end":
            self.ended.set()
        elif verb == "count":
            self.pipe.send(self.counts)
        elif verb == "declare":
            self.declared.declare(*argument)
            self.pipe.send(None)
        elif verb == "change":
            self.declared.change(argument)
            self.pipe.send(None)
        elif verb == "latest change":
            self.pipe.send(self.declared.latest_change())
        else:
            await self._behave(argument)
            self.pipe.send(None)

    async def _behave(self, manner: Manner) -> None:
        before, self.manner = self.manner.state, manner
        if (before in _LISTENING and manner.state in _LISTENING) or manner.state == before:
            return  # nobody is to notice before the next request
        await self._close()
        if manner.state in _LISTENING:
            await self._listen()
        elif manner.state == "full":
            self._fill_backlog()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self.listener = await loop.create_server(
            lambda: _Http(self), "127.0.0.1", self.port, backlog=1024
        )

    async def _close(self) -> None:
        if self.listener is not None:
            self.listener.close()
        for connection in tuple(self.connections):
            connection.abort()
        for one in self.held:
            one.close()
        self.listener = None
        self.held.clear()
        await asyncio.sleep(0.01)  # the transports close their sockets in the next turn

    def _fill_backlog(self) -> None:
        """
        Listen, accept nothing, and take the few places of the backlog ourselves.
        """
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen(0)
        self.held.append(listening)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.held.append(filler)


class _Http(asyncio.Protocol):
    """
    One connection, of which requests come one after the other.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._transport: Any = None
        self._head = b""
        self._left = -1  # octets of the body to come; -1 while the head comes
        self._request = ""
        self._fields: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)

    def abort(self) -> None:
        """
        Cut the connection.
        """
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            data = self._take_head(data)
            if self._left < 0:
                return
        self._left -= len(data)
        self._server.counts.octets += len(data)
        if self._left <= 0:
            self._end()
        elif self._server.manner.read_rate:
            self._transport.pause_reading()
            pause = max(_SLICE, len(data) / self._server.manner.read_rate)
            asyncio.get_running_loop().call_later(pause, self._transport.resume_reading)

    def _take_head(self, data: bytes) -> bytes:
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head = head
            return b""
        self._head = b""
        lines = head.decode("latin-1").split("\r\n")
        self._request = lines[0]
        pairs = (line.partition(":") for line in lines[1:])
        self._fields = {name.lower(): value.strip() for name, _, value in pairs}
        self._left = int(self._fields.get("content-length", 0))
        return rest

    def _end(self) -> None:
        self._left = -1
        manner = self._server.manner
        if manner.state == "hanging":
            return
        if self._request.startswith("POST") and manner.delay:
            asyncio.get_running_loop().call_later(manner.delay, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if self._fields.get("x-mail-token") != self._server.token:
            self._write("401 Unauthorized", b"", "")
        elif self._request.startswith("HEAD"):
            self._write("405 Method Not Allowed", b"", "")
        elif self._request.startswith("POST"):
            self._write("200 OK", self._verdict(), "Content-Type: application/json\r\n")
        else:
            self._give_page()

    def _give_page(self) -> None:
        declared, counts = self._server.declared, self._server.counts
        known = self._fields.get("if-none-match", "")
        etag = f"ETag: {declared.etag}\r\n"
        counts.requests += 1
        if known == declared.etag:
            counts.sent += self._write("304 Not Modified", b"", etag)
            return
        counts.fetches += 1
        name = self._request.split()[1].rpartition("/")[2]
        patch = declared.patch_from(known) if "a-im" in self._fields else None
        if name == "aliases" and patch is not None:
            fields = f"{etag}IM: merge-patch\r\nDelta-Base: {known}\r\n{_MERGE_PATCH}"
            counts.sent += self._write("226 IM Used", patch, fields)
            return
        if name == "aliases" and "application/json" not in self._fields.get("accept", ""):
            name = "aliases, text"
        counts.sent += self._write("200 OK", declared.page(name), etag)

    def _verdict(self) -> bytes:
        recipients = self._fields["x-mail-recipients"].split(",")
        self._server.counts.messages += 1
        self._server.counts.recipients += len(recipients)
        reply = {"code": 250, "status": "2.0.0", "text": "stored"}
        return json.dumps({"recipients": dict.fromkeys(recipients, reply)}).encode()

    def _write(self, status: str, body: bytes, fields: str) -> int:
        keeps = self._server.manner.keeps
        head = f"HTTP/1.{keeps:d} {status}\r\nX-Mail-Delivery: 1\r\nContent-Length: {len(body)}"
        answer = f"{head}\r\n{fields}\r\n".encode() + body
        self._transport.write(answer)
        if not keeps:
            self._transport.close()
        return len(answer)
