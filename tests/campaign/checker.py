"""
The judgement: what the clients were told against what is in the mailboxes.

Pure: no files and no network, so that it can be tested with cases that never ought to occur.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from journal import Fate, ListHistory, Sent

UNKNOWN = re.compile(r"550 5\.1\.1 ")  # the only permanent refusal that is ever right here
STALE = 120.0  # seconds for which no list may get through the faults, at the most


@dataclass(frozen=True, slots=True)
class Copy:
    """
    A message found in a mailbox.

    Args:
        trace: Of the message; None if it is none of ours.
        fault: What is wrong with its content; empty if nothing is.
    """

    trace: str | None
    mailbox: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Bounce:
    """
    What Postfix logged of a recipient to whom it will not deliver.

    Args:
        by_odoo: Odoo itself gave this verdict.
    """

    trace: str
    mailbox: str
    dsn: str
    text: str
    by_odoo: bool


@dataclass(frozen=True, slots=True)
class Violation:
    """
    A breach of the promise.

    Args:
        kind: ``lost``, ``twice`` …
        what: Trace, mailbox, and what is known.
    """

    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    All that was found in the end.

    Args:
        always: Whether an address is never refused by right.
        ended: When the last delivery was made; seconds, Unix time.
        queued: Queue ids of the mail that still waits.
    """

    sent: Mapping[str, Sent]
    copies: Iterable[Copy]
    bounces: Iterable[Bounce]
    history: ListHistory
    always: Callable[[str], bool]
    ended: float
    queued: Container[str] = ()


def check(evidence: Evidence) -> list[Violation]:
    """
    Return every breach.
    """
    copies: dict[tuple[str | None, str], list[Copy]] = defaultdict(list)
    for copy in evidence.copies:
        copies[copy.trace, copy.mailbox].append(copy)
    bounces: dict[tuple[str, str], list[Bounce]] = defaultdict(list)
    for bounce in evidence.bounces:
        bounces[bounce.trace, bounce.mailbox].append(bounce)
    found = list(_strangers(evidence.sent, copies))
    for trace, sent in evidence.sent.items():
        for mailbox in sent.mailboxes:
            pair = (trace, mailbox)
            fate = sent.fates.get(mailbox)
            judged = _judge(evidence, mailbox, fate, copies.get(pair, []), bounces.get(pair, []))
            found += [Violation(kind, f"{trace} for {mailbox}: {what}") for kind, what in judged]
    return found


def _strangers(
    sent: Mapping[str, Sent], copies: Mapping[tuple[str | None, str], list[Copy]]
) -> Iterable[Violation]:
    for trace, mailbox in copies:
        if trace is None or trace not in sent or mailbox not in sent[trace].mailboxes:
            yield Violation("not accepted, but stored", f"{trace} for {mailbox}")


def _judge(
    evidence: Evidence,
    mailbox: str,
    fate: Fate | None,
    copies: list[Copy],
    bounces: list[Bounce],
) -> Iterable[tuple[str, str]]:
    """
    Yield the breaches for one message and mailbox: kind, and what is known.
    """
    known = f"{fate}, {len(copies)} copies, {bounces}"
    if fate is None:
        yield "undecided", known
    if len(copies) > 1:
        yield "twice", known
    for copy in copies:
        if copy.fault:
            yield "wrong content", copy.fault
    if (fate is None or fate.state == "refused") and copies:
        yield "not accepted, but stored", known
    if fate is not None and fate.state == "accepted":
        if not copies and not bounces:
            yield "still queued" if fate.queue_id in evidence.queued else "lost", known
        if not evidence.always(mailbox) and not evidence.history.was(True, mailbox, 0, fate.at):
            yield "accepted, but unknown", known
    if (
        fate is not None
        and fate.state == "refused"
        and not _refused_by_right(evidence, mailbox, fate)
    ):
        yield "refused without reason", known
    for bounce in bounces:
        if copies or not _bounced_by_right(evidence, fate, bounce):
            yield "bounced without reason", known


def _refused_by_right(evidence: Evidence, mailbox: str, fate: Fate) -> bool:
    """
    Say whether the address was unknown not long before: a list in force may be an old one.
    """
    if not UNKNOWN.match(fate.reply) or evidence.always(mailbox):
        return False
    return evidence.history.was(False, mailbox, fate.at - STALE, fate.at)


def _bounced_by_right(evidence: Evidence, fate: Fate | None, bounce: Bounce) -> bool:
    """
    Say whether Odoo itself refused an address that it had removed.
    """
    if fate is None or not bounce.by_odoo or bounce.dsn != "5.1.1":
        return False
    if evidence.always(bounce.mailbox):
        return False
    return evidence.history.was(False, bounce.mailbox, fate.at, evidence.ended)
