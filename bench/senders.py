"""
Clients of the LMTP server, as Postfix's are, in a process of their own.
"""

import multiprocessing.synchronize
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stand_in import DOMAIN, SPAWN

TIMEOUT = 300.0  # seconds for one reply
SENDER = f"sender@{DOMAIN}"

# Weight, and the least and the most octets of a message.
USUAL_SIZES = ((2, 2_000, 20_000),)
MIXED_SIZES = (
    (9_000, 2_000, 20_000),
    (800, 100_000, 100_000),
    (180, 1_000_000, 1_000_000),
    (20, 5_000_000, 5_000_000),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What the clients do.

    Args:
        path: The socket.
        addresses: The recipients: of one list in each transaction, chosen at random.
        clients: At once.
        sizes: See ``USUAL_SIZES``.
        most_recipients: From one to so many a message.
        rate: Messages a second, all together; 0 for one directly after the other.
        count: Messages in all; 0 for as many as there are until the stop.
        per_session: At most so many messages, then the connection is closed.
        broken: The part of the messages, 0 to 1, before which one is broken off.
        pause: Seconds to wait after a message that was not taken.
    """

    path: Path
    addresses: Sequence[Sequence[str]]
    clients: int = 4
    sizes: Sequence[tuple[int, int, int]] = USUAL_SIZES
    most_recipients: int = 1
    rate: float = 0.0
    count: int = 0
    per_session: int = 100
    broken: float = 0.0
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """
    One message.

    Args:
        end: When the last reply was there, seconds of ``time.monotonic``.
        seconds: How long the transaction took.
        codes: Of the replies after the dot, or of the first that refused; 0 for a connection
            that was lost.
        which: The list that its recipients are of.
    """

    end: float
    seconds: float
    codes: tuple[int, ...]
    which: int

    @property
    def taken(self) -> bool:
        """Whether all recipients have it."""
        return set(self.codes) == {250}


@dataclass(slots=True)
class Session:
    """
    One connection.
    """

    path: Path
    timeout: float = TIMEOUT
    connection: socket.socket = field(init=False)
    stream: Any = field(init=False)
    used: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(self.timeout)
        try:
            self.connection.connect(str(self.path))
            self.stream = self.connection.makefile("rb")
            if self.reply() == 220:
                self.connection.sendall(b"LHLO client.test\r\n")
                self.reply()
        except OSError:
            self.connection.close()
            raise

    def reply(self) -> int:
        """
        Return the code of the next reply.
        """
        while True:
            line = self.stream.readline()
            if not line.endswith(b"\n"):
                raise ConnectionResetError
            if line[3:4] != b"-":
                return int(line[:3])

    def deliver(self, recipients: Sequence[str], content: bytes) -> tuple[int, ...]:
        """
        Send a message, as Postfix does; return the replies.
        """
        self.used += 1
        if self.begin(recipients) != 354:
            return (451,)
        self.connection.sendall(content + b"\r\n.\r\n")
        return tuple(self.reply() for _ in recipients)

    def begin(self, recipients: Sequence[str]) -> int:
        """
        Send everything up to DATA in one write; return the reply to DATA.
        """
        commands = ["RSET", f"MAIL FROM:<{SENDER}>", *(f"RCPT TO:<{r}>" for r in recipients)]
        self.connection.sendall("\r\n".join([*commands, "DATA", ""]).encode())
        return [self.reply() for _ in range(len(commands) + 1)][-1]

    def close(self, quit: bool = True) -> None:
        """
        Close it.
        """
        try:
            if quit:
                self.connection.sendall(b"QUIT\r\n")
                self.reply()
        except OSError:
            pass
        finally:
            self.stream.close()
            self.connection.close()


class Senders:
    """
    The parent's hold on them.

    Attributes:
        done: How many messages were answered so far.
    """

    def __init__(self, plan: Plan) -> None:
        self.done = SPAWN.Value("q", 0)
        self._stop = SPAWN.Event()
        self._pipe, child = SPAWN.Pipe()
        arguments = (plan, self._stop, self.done, child)
        self._process = SPAWN.Process(target=_run, args=arguments, daemon=True)

    def start(self) -> "Senders":
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

    def stop(self) -> list[Sent]:
        """
        Let the messages under way end; return what became of all.
        """
        self._stop.set()
        sent = self._pipe.recv()
        self._process.join()
        assert isinstance(sent, list)
        return sent


class _Work:
    def __init__(self, plan: Plan, stop: multiprocessing.synchronize.Event, done: Any) -> None:
        self.plan = plan
        self.sent: list[Sent] = []
        self._stop = stop
        self._done = done
        self._text = _text(max(most for _, _, most in plan.sizes))
        self._lock = threading.Lock()
        self._next = 0
        self._start = time.monotonic()

    def client(self) -> None:
        """
        Be one client until there is nothing more to do.
        """
        session: Session | None = None
        while (number := self._take()) is not None:
            session = self._one(session, number)
        if session is not None:
            session.close()

    def _take(self) -> int | None:
        with self._lock:
            number, self._next = self._next, self._next + 1
        if self._stop.is_set() or (self.plan.count and number >= self.plan.count):
            return None
        if self.plan.rate:
            wait = self._start + number / self.plan.rate - time.monotonic()
            if wait > 0 and self._stop.wait(wait):
                return None
        return number

    def _one(self, session: Session | None, number: int) -> Session | None:
        plan = self.plan
        which = random.randrange(len(plan.addresses))
        recipients = random.sample(
            list(plan.addresses[which]), random.randint(1, plan.most_recipients)
        )
        start = time.monotonic()
        try:
            if session is None:
                session = Session(plan.path)
            if random.random() < plan.broken:
                self._break_off(session, recipients)
                session = Session(plan.path)
            codes = session.deliver(recipients, self._content(number))
        except OSError:
            codes = (0,)
        end = time.monotonic()
        self.sent.append(Sent(end, end - start, codes, which))
        with self._done.get_lock():
            self._done.value += 1
        if codes == (0,) or (session is not None and session.used >= plan.per_session):
            if session is not None:
                session.close(quit=codes != (0,))
            session = None
        if set(codes) != {250} and plan.pause:
            self._stop.wait(plan.pause)
        return session

    def _break_off(self, session: Session, recipients: Sequence[str]) -> None:
        if session.begin(recipients) == 354:
            session.connection.sendall(self._content(-1))
        session.close(quit=False)

    def _content(self, number: int) -> bytes:
        weights = [weight for weight, _, _ in self.plan.sizes]
        _, least, most = random.choices(self.plan.sizes, weights)[0]
        size = random.randint(least, most)
        head = (
            f"From: Sender <{SENDER}>\r\nTo: someone@{DOMAIN}\r\nSubject: Number {number}\r\n"
            "Date: Mon, 1 Jun 2026 12:00:00 +0000\r\n"
            f"Message-ID: <{number}.{random.getrandbits(64):x}@{DOMAIN}>\r\n\r\n"
        ).encode()
        return head + self._text[: max(0, size - len(head))]


def _text(size: int) -> bytes:
    """
    Return lines like those of an attachment.
    """
    line = random.Random(1).randbytes(38).hex().encode() + b"\r\n"
    return line * (size // len(line) + 1)


def _run(plan: Plan, stop: multiprocessing.synchronize.Event, done: Any, pipe: Connection) -> None:
    work = _Work(plan, stop, done)
    threads = [threading.Thread(target=work.client) for _ in range(plan.clients)]
    pipe.send("ready")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(work.sent)


def outcome(sent: Sequence[Sent]) -> str:
    """
    Return how many messages got which replies.
    """
    counts = Counter(" ".join(map(str, sorted(set(one.codes)))) for one in sent)
    return ", ".join(f"{codes}: {count:,}" for codes, count in sorted(counts.items())) or "none"
