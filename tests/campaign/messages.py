"""
What the clients send: every message follows from the seed and its trace number.

The content is made anew whenever it is wanted, so that nothing large has to be kept.
"""

import base64
import itertools
import math
import random
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from mail_host import LOCAL
from postfix import DOMAIN

STEADY = tuple(f"steady-{number:02}@{DOMAIN}" for number in range(40))
CHANGING = tuple(f"changing-{number:02}@{DOMAIN}" for number in range(20))
TEAM, TEAM_TARGETS = f"team@{DOMAIN}", STEADY[:2]
JOBS = f"jobs@{DOMAIN}"  # a local part without a domain, in the alias file

SMALLEST, USUAL, LARGEST = 200, 30_000, 5_000_000  # octets of one message
SPOOLED = 1_048_576  # octets above which the daemon spools to a file
LARGE_SHARE = 0.02  # of the messages that are larger than the usual

_TRACE = re.compile(rb"^X-Campaign-Trace: (\S+)\r?$", re.MULTILINE)
_WORDS = ("quotation", "invoice", "delivery", "Grüße", "question", "order", "à bientôt", "déjà vu")


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message as planned.

    Args:
        trace: Its number, which the content carries; no two messages share one.
        sender: Reverse path, empty for the null one.
        recipients: As they are named at RCPT; no two of them lead to the same mailbox.
        size: About so many octets.
        repeated: Trace of the message whose body and Message-ID it repeats; else its own.
        hang_up: Where the client goes away at the first try: in the ``data``, or ``after`` its end.
        pause: Seconds that the client waits before it.
    """

    trace: str
    sender: str
    recipients: tuple[str, ...]
    size: int
    repeated: str
    has_message_id: bool = True
    is_8bit: bool = False
    has_dots: bool = False
    hang_up: str = ""
    pause: float = 0.0


def messages_of(seed: str, client: int, rate: float) -> Iterator[Message]:
    """
    Yield the messages of one client, without end.

    Args:
        rate: About so many a second.
    """
    rng = random.Random(f"{seed}/clients/{client}")
    before: deque[Message] = deque(maxlen=10)
    for number in itertools.count():
        repeated = rng.choice(before) if before and rng.random() < 0.08 else None
        message = _message(rng, f"{client}-{number}", repeated, rate)
        before.append(message)
        yield message


def _message(rng: random.Random, trace: str, repeated: Message | None, rate: float) -> Message:
    if repeated is None:
        size, features = _size(rng), (rng.random() < 0.75, rng.random() < 0.3, rng.random() < 0.3)
    else:
        size = repeated.size
        features = (repeated.has_message_id, repeated.is_8bit, repeated.has_dots)
    return Message(
        trace,
        "" if rng.random() < 0.08 else f"t-{trace}@client.test",
        _recipients(rng),
        size,
        repeated.repeated if repeated else trace,
        *features,
        rng.choices(("", "data", "after"), (96, 2, 2))[0],
        rng.uniform(0, 2 / rate),
    )


def plan_large(seed: str, client: int, number: int) -> Message:
    """
    Return a message that the daemon has to spool.
    """
    rng = random.Random(f"{seed}/clients/{client}/{number}")
    trace = f"{client}-{number}"
    size = rng.randint(SPOOLED + 100_000, 2 * SPOOLED)
    return Message(trace, f"t-{trace}@client.test", (rng.choice(STEADY),), size, trace)


def content_of(seed: str, message: Message) -> bytes:
    """
    Return the octets of a message, line ends as in SMTP.
    """
    rng = random.Random(f"{seed}/content/{message.repeated}")
    head = [f"From: Customer <{message.sender or 'postmaster@client.test'}>"]
    head += [f"To: {rng.choice(STEADY)}", "Date: Mon, 1 Jun 2026 12:00:00 +0000"]
    if message.has_message_id:
        head.append(f"Message-ID: <{seed}.{message.repeated}@client.test>")
    head += [f"Subject: {rng.randrange(10**6)}", f"X-Campaign-Trace: {message.trace}"]
    if message.is_8bit:
        head += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=iso-8859-1"]
        head += ["Content-Transfer-Encoding: 8bit"]
    beginning = "\r\n".join([*head, "", ""]).encode("ascii")
    return beginning + _body(rng, message, message.size - len(beginning))


def trace_of(content: bytes) -> str | None:
    """
    Return the trace number that a stored message carries; None if it is none of ours.
    """
    match = _TRACE.search(content[:8192])
    return match[1].decode("ascii") if match else None


def mailboxes_of(recipient: str) -> tuple[str, ...]:
    """
    Return where the mail for an address ends up.
    """
    folded = recipient.lower()
    local, _, domain = folded.partition("@")
    bare = f"{local.partition('+')[0]}@{domain}"
    return TEAM_TARGETS if bare == TEAM else (bare,)


def _recipients(rng: random.Random) -> tuple[str, ...]:
    chosen: dict[str, tuple[str, ...]] = {}
    for _ in range(rng.choices((1, 2, 3, 4, 5), (50, 20, 14, 10, 6))[0]):
        recipient = _recipient(rng)
        mailboxes = mailboxes_of(recipient)
        if not any(mailbox in known for known in chosen.values() for mailbox in mailboxes):
            chosen[recipient] = mailboxes
    return tuple(chosen)


def _recipient(rng: random.Random) -> str:
    kinds = ("steady", "spelled", "team", "jobs", "changing", "unknown", "local")
    match rng.choices(kinds, (45, 10, 4, 4, 22, 8, 7))[0]:
        case "steady":
            return rng.choice(STEADY)
        case "spelled":
            return rng.choice(STEADY).replace("@", "+Case@").replace("steady", "Steady")
        case "team":
            return TEAM
        case "jobs":
            return JOBS
        case "changing":
            return rng.choice(CHANGING)
        case "unknown":
            return f"nobody-{rng.randrange(1000)}@{DOMAIN}"
    return LOCAL


def _size(rng: random.Random) -> int:
    low, high = (USUAL, LARGEST) if rng.random() < LARGE_SHARE else (SMALLEST, USUAL)
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _body(rng: random.Random, message: Message, size: int) -> bytes:
    lines = [f"A {rng.choice(_WORDS)}, and one more {rng.choice(_WORDS)}.".encode("latin-1")]
    if not message.is_8bit:
        lines = [line.decode("latin-1").encode("ascii", "replace") for line in lines]
    if message.has_dots:
        lines += [b".", b"..", b".dot", b"", b"...three", b"end."]
    beginning = b"".join(line + b"\r\n" for line in lines)
    missing = max(0, size - len(beginning))
    if message.is_8bit:
        filler = rng.randbytes(min(missing, 4096)).translate(_LATIN1)
        filler *= missing // max(1, len(filler)) + 1
        parts = (filler[place : place + 76] for place in range(0, missing, 78))
        return beginning + b"".join(part + b"\r\n" for part in parts)
    filler = base64.encodebytes(rng.randbytes(missing * 3 // 4))
    return beginning + filler.replace(b"\n", b"\r\n")


# Any octet to one that stands for itself in a line of text.
_LATIN1 = bytes(0xA1 + octet % 0x5E if octet >= 128 else 0x41 + octet % 26 for octet in range(256))
