"""
What is found in the end: the mailboxes, and the logs.
"""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from checker import Bounce, Copy
from journal import Sent
from mail_host import LOCAL
from messages import Message, content_of, mailboxes_of, trace_of
from postfix import LOCAL_USER, Postfix

_ADDED = re.compile(
    rb"(?:X-Original-To|Return-Path|Delivered-To|Message-ID|Received):.*(?:\r?\n[ \t].*)*\r?\n",
    re.IGNORECASE,
)
_STATUS = re.compile(
    r"(?P<queue_id>\w+): to=<(?P<recipient>[^>]*)>.*? relay=(?P<relay>[^,]*),.*?"
    r" dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<text>.*)\)$"
)
_FROM = re.compile(r"(?P<queue_id>\w+): from=<t-(?P<trace>[\w-]+)@client\.test>, size=")
_VERDICTS = re.compile(
    r"message '.*', queue id '(?P<queue_id>\w*)', .* octets: (?P<replies>\{.*\})$"
)
_TROUBLE = re.compile(r"Traceback|internal error|Unhandled|unhandled", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class OdooLog:
    """
    What the stand-in for Odoo wrote down.

    Args:
        refused: Queue id and recipient of every final refusal.
        repeated: How many times mail came that it had already.
    """

    refused: frozenset[tuple[str, str]]
    repeated: int


def copies_in(folder: Path, sent: Mapping[str, Sent], seed: str) -> Iterator[Copy]:
    """
    Yield what Odoo's stand-in has kept, judged by its content.
    """
    for path in folder.glob("new/*"):
        content = path.read_bytes()
        line, _, rest = content.partition(b"\n")
        recipient = line.decode().rstrip("\r").removeprefix("X-Original-To: ")
        trace = trace_of(rest)
        known = sent.get(trace or "")
        fault = content_fault(known.message, recipient, rest, seed) if known else ""
        yield Copy(trace, recipient, fault)


def local_copies(postfix: Postfix, sent: Mapping[str, Sent], seed: str) -> Iterator[Copy]:
    """
    Yield what is in the ordinary mailbox, judged by its content.
    """
    for content in postfix.local_mails(LOCAL_USER):
        trace = trace_of(content)
        known = sent.get(trace or "")
        wanted = content_of(seed, known.message).replace(b"\r\n", b"\n") if known else b""
        fault = "" if content.endswith(wanted) else f"{trace} in a mailbox is not what was sent"
        yield Copy(trace, LOCAL, fault)


def content_fault(message: Message, recipient: str, stored: bytes, seed: str) -> str:
    """
    Say how a stored message differs from what was sent and what is rightly added; empty if not.

    Postfix adds Received; the daemon Return-Path, Delivered-To, and a Message-ID that is missing.
    """
    what = f"{message.trace} for {recipient}"
    sent = content_of(seed, message)
    if not stored.endswith(sent):
        return f"{what}: {_digest(stored)} does not end with what was sent, {_digest(sent)}"
    added = stored[: len(stored) - len(sent)]
    fields = [match[0].split(b":", 1) for match in _ADDED.finditer(added)]
    if _ADDED.sub(b"", added):
        return f"{what}: {_ADDED.sub(b'', added)!r} was added"
    values: dict[bytes, list[str]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value.strip().decode())
    wanted = {box for name in message.recipients for box in mailboxes_of(name)}
    delivered_to = values.get(b"delivered-to", [])
    right = (
        values.get(b"return-path") == [f"<{message.sender}>"]
        and recipient in delivered_to
        and wanted.issuperset(delivered_to)
        and len(set(delivered_to)) == len(delivered_to)
        and len(values.get(b"received", [])) == 1
        and len(values.get(b"message-id", [])) == (0 if message.has_message_id else 1)
    )
    return "" if right else f"{what}: {values} were added"


def bounces_in(
    log: Iterable[str], sent: Mapping[str, Sent], odoo: OdooLog
) -> tuple[list[Bounce], Counter[str]]:
    """
    Return the bounces that Postfix logged, and how often it logged each status by service.
    """
    traces = {fate.queue_id: trace for trace, one in sent.items() for fate in one.fates.values()}
    bounces: list[Bounce] = []
    statuses: Counter[str] = Counter()
    for line in log:
        if match := _FROM.search(line):
            traces.setdefault(match["queue_id"], match["trace"])
        elif match := _STATUS.search(line):
            trace = traces.get(match["queue_id"], "")
            statuses[match["status"]] += bool(trace)
            if match["status"] == "bounced" and trace:
                (mailbox,) = mailboxes_of(match["recipient"])[:1]
                by_odoo = (match["queue_id"], mailbox) in odoo.refused
                text = match["text"]
                bounces.append(Bounce(trace, mailbox, match["dsn"], text, by_odoo))
    return bounces, statuses


def read_odoo_log(path: Path) -> OdooLog:
    """
    Read the log of the stand-in.
    """
    refused: set[tuple[str, str]] = set()
    repeated = 0
    for line in path.read_text(errors="replace").splitlines():
        match = _VERDICTS.search(line)
        for recipient, reply in ast.literal_eval(match["replies"]).items() if match else ():
            assert match is not None
            if reply.startswith("5"):
                refused.add((match["queue_id"], recipient))
            repeated += "Stored before" in reply
    return OdooLog(frozenset(refused), repeated)


def trouble_in(name: str, text: str, secret: str) -> list[str]:
    """
    Return the lines of a log that must not be there.
    """
    lines = text.splitlines()
    found = [
        f"{name}:{number}: {' / '.join(lines[max(0, number - 2) : number + 12])}"
        for number, line in enumerate(lines, 1)
        if _TROUBLE.search(line)
    ]
    return found + [f"{name} tells the token" for _ in range(secret in text)]


def _digest(content: bytes) -> str:
    return f"{len(content)} octets {hashlib.sha256(content).hexdigest()[:12]}"
