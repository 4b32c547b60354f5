"""
A client of the socketmap server in a process of its own, which takes the time of each answer.
"""

import multiprocessing.context
import multiprocessing.synchronize
import os
import random
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stand_in import DOMAIN, SPAWN

TIMEOUT = 30.0  # seconds; a longer stall is a failure
UNKNOWN = f"stranger@{DOMAIN}"
NETSTRING_ANSWER = b"9:NOTFOUND ,"  # of the echo

Lookup = tuple[str, str, bytes]  # map, key, and how the answer begins


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a client does.

    Args:
        path: The socket.
        lookups: One of these at a time.
        rate: Lookups a second; 0 for one directly after the other.
        count: How many in all; 0 for as many as there are until the stop.
        connections: That take turns; each has one lookup under way at most.
        lifetime: Seconds after which a connection is replaced by a new one.
        idle: Seconds of rest after which it is, too.
        reconnects: A connection that was lost is replaced; else it ends there.
    """

    path: Path
    lookups: Sequence[Lookup]
    rate: float = 500.0
    count: int = 0
    connections: int = 10
    lifetime: float = 1e9
    idle: float = 1e9
    reconnects: bool = True


@dataclass(slots=True)
class Taken:
    """
    What a client saw.

    Args:
        ends: When each answer was there, seconds of ``time.monotonic``.
        seconds: How long each took. What was due while its connection waited for another answer
            counts from when it was due: a stall holds up more than one lookup.
        failures: By kind.
    """

    ends: "array[float]" = field(default_factory=lambda: array("d"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    failures: Counter[str] = field(default_factory=Counter)

    def between(
        self, start: float, end: float, apart: Sequence[tuple[float, float]] = ()
    ) -> list[float]:
        """
        Return the seconds of the lookups that ended in a time.

        Args:
            apart: Begin and end of what lookups must not have met.
        """
        pairs = zip(self.ends, self.seconds, strict=True)
        return [
            seconds
            for moment, seconds in pairs
            if start <= moment <= end
            and not any(since < moment and moment - seconds < until for since, until in apart)
        ]

    def stalls(self, least: float) -> list[tuple[float, float]]:
        """
        Return begin and end of the lookups that took so many seconds or more.
        """
        pairs = zip(self.ends, self.seconds, strict=True)
        return [(moment - seconds, moment) for moment, seconds in pairs if seconds >= least]

    def failed(self) -> str:
        """
        Return the failures as text.
        """
        return ", ".join(f"{kind} {count:,}" for kind, count in self.failures.items()) or "0"


class _Started:
    """
    A process that was started here.
    """

    _process: "multiprocessing.context.SpawnProcess"

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid


class LookupClient(_Started):
    """
    The parent's hold on it.

    Attributes:
        done: How many lookups were answered so far.
    """

    def __init__(self, plan: Plan) -> None:
        self.done = SPAWN.Value("q", 0, lock=False)
        self._stop = SPAWN.Event()
        self._pipe, child = SPAWN.Pipe()
        arguments = (plan, self._stop, self.done, child)
        self._process = SPAWN.Process(target=_run, args=arguments, daemon=True)

    def start(self) -> "LookupClient":
        """
        Begin.
        """
        self._process.start()
        assert self._pipe.recv() == "ready"
        return self

    @property
    def running(self) -> bool:
        """Whether there is more to do."""
        return not self._pipe.poll()

    def stop(self) -> Taken:
        """
        End it, and return what it saw.
        """
        self._stop.set()
        taken = self._pipe.recv()
        self._process.join()
        assert isinstance(taken, Taken)
        return taken


class _Line:
    """
    One connection and its place in the schedule.

    Args:
        due: When its next lookup is to be asked, seconds of ``time.monotonic``.
    """

    def __init__(self, plan: Plan, due: float) -> None:
        self.due = due
        self.asked: float | None = None  # since when an answer is waited for
        self.ended = False
        self.connection: socket.socket | None = None
        self._plan = plan
        self._made = self._used = 0.0
        self._free = due
        self._answer = b""
        self._begins = b""

    def ask(self, lookup: Lookup, gap: float) -> None:
        """
        Send a lookup.

        Raises:
            OSError: It could not be sent.
        """
        now = time.monotonic()
        asked = self.due if gap and self._free > self.due else now
        self.due = self.due + gap if gap else now
        request = f"{lookup[0]} {lookup[1]}".encode()
        self._connected(now).sendall(b"%d:%b," % (len(request), request))
        self.asked, self._begins = asked, lookup[2]

    def receive(self) -> str | None:
        """
        Take octets of the answer; return what is wrong with it, empty if it is well, None if
        it is not whole.

        Raises:
            OSError: The connection is lost.
        """
        assert self.connection is not None
        data = self.connection.recv(4096)
        if not data:
            raise ConnectionResetError
        self._answer += data
        if not self._answer.endswith(b","):
            return None
        payload, self._answer = self._answer.partition(b":")[2], b""
        self._free = time.monotonic()
        return "" if payload.startswith(self._begins) else payload[:16].decode("latin-1")

    def _connected(self, now: float) -> socket.socket:
        plan = self._plan
        worn = now - self._made > plan.lifetime or now - self._used > plan.idle
        if self.connection is not None and worn:
            self.close()
        if self.connection is None:
            self.connection = socket.socket(socket.AF_UNIX)
            self.connection.settimeout(TIMEOUT)  # the connect itself does not wait
            self._made = now
            self.connection.connect(str(plan.path))
        self._used = now
        return self.connection

    def fail(self) -> None:
        """
        Close the connection; the next lookup is on another one.
        """
        self.close()
        self._free = time.monotonic()

    def close(self) -> None:
        """
        Close the connection; what was waited for does not come.
        """
        self.asked, self._answer = None, b""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class _Client:
    def __init__(self, plan: Plan, done: Any) -> None:
        self.plan = plan
        self.taken = Taken()
        self._done = done
        self._asked = 0
        self._gap = plan.connections / plan.rate if plan.rate else 0.0
        start = time.monotonic()
        shift = self._gap / plan.connections
        self._lines = [_Line(plan, start + number * shift) for number in range(plan.connections)]

    def run(self, stop: multiprocessing.synchronize.Event) -> None:
        """
        Ask until told to stop, or all is asked; then wait for the answers that are still owed.
        """
        stopped = False
        while True:
            stopped = stopped or stop.is_set() or self._is_all_asked()
            waiting = self._ask(stopped)
            idle = [line for line in self._lines if line.asked is None and not line.ended]
            if not waiting and (stopped or not idle):
                return
            dues = [] if stopped else [line.due for line in idle]
            pause = min(dues, default=time.monotonic() + 0.1) - time.monotonic()
            self._wait(waiting, min(max(pause, 0.0), 0.1))

    def _is_all_asked(self) -> bool:
        return bool(self.plan.count) and self._asked >= self.plan.count

    def _ask(self, stopped: bool) -> list[_Line]:
        """
        Ask whatever is due; return the lines on which answers are waited for.
        """
        now = time.monotonic()
        for line in self._lines:
            if line.asked is not None and now - line.asked > TIMEOUT:
                self._fail(line, "timeout")
            if line.ended or line.asked is not None or line.due > now:
                continue
            if stopped or self._is_all_asked():
                continue
            self._asked += 1
            try:
                line.ask(random.choice(self.plan.lookups), self._gap)
            except OSError as error:
                self._fail(line, type(error).__name__)
        return [line for line in self._lines if line.asked is not None]

    def _wait(self, waiting: list[_Line], seconds: float) -> None:
        sockets = {line.connection: line for line in waiting}
        readable, _, _ = select.select(sockets, (), (), seconds)
        for connection in readable:
            line = sockets[connection]
            try:
                wrong = line.receive()
            except OSError as error:
                self._fail(line, type(error).__name__)
                continue
            if wrong:
                self._fail(line, wrong)
            elif wrong == "":
                self._note(line)

    def _note(self, line: _Line) -> None:
        end = time.monotonic()
        assert line.asked is not None
        self.taken.ends.append(end)
        self.taken.seconds.append(end - line.asked)
        line.asked = None
        self._done.value += 1

    def _fail(self, line: _Line, kind: str) -> None:
        # What Odoo declares is not told apart, or every address would be a kind of its own.
        self.taken.failures[kind.partition(" ")[0]] += 1
        line.fail()
        line.ended = not self.plan.reconnects
        line.due = max(line.due, time.monotonic() + 0.001)


def _run(plan: Plan, stop: multiprocessing.synchronize.Event, done: Any, pipe: Connection) -> None:
    client = _Client(plan, done)
    pipe.send("ready")
    client.run(stop)
    pipe.send(client.taken)


class Echo(_Started):
    """
    A process that answers every lookup with NOTFOUND: what it takes is what the machine takes.

    Args:
        folder: For its socket.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "echo"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.path))
        listening.listen()
        self._process = SPAWN.Process(target=_echo, args=(listening,), daemon=True)
        self._process.start()
        listening.close()

    def close(self) -> None:
        """
        End it.
        """
        self._process.kill()
        self._process.join()
        os.unlink(self.path)


def _echo(listening: socket.socket) -> None:
    connections = [listening]
    while True:
        for one in select.select(connections, (), ())[0]:
            if one is listening:
                connections.append(one.accept()[0])
            elif one.recv(4096):
                one.sendall(NETSTRING_ANSWER)
            else:
                one.close()
                connections.remove(one)


def usual_lookups(addresses: Sequence[str], nexthop: str) -> list[Lookup]:
    """
    Return lookups of both maps, and a third of them of strangers, as a whole MTA asks.
    """
    lookups: list[Lookup] = []
    for address in addresses:
        lookups.append(("aliases", address, f"OK {address},".encode()))
        lookups.append(("transport", address, f"OK {nexthop},".encode()))
        lookups.append(("transport", f"x-{address}", b"NOTFOUND ,"))
    return lookups
