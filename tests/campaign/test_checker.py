"""
The judgement, with cases that never ought to occur.
"""

import dataclasses

import pytest
from checker import STALE, Bounce, Copy, Evidence, check
from evidence import OdooLog, bounces_in, content_fault, copies_in, read_odoo_log, trouble_in
from journal import Fate, ListHistory, Sent
from messages import CHANGING, STEADY, TEAM, Message, content_of

SEED = "a seed"
ONE, TWO = STEADY[10], CHANGING[0]
MESSAGE = Message("0-1", "t-0-1@client.test", (ONE, TWO), 400, "0-1")
ACCEPTED = Fate("accepted", "250 2.0.0 Ok: queued as 4abc", "4abc", 10.0)
UNKNOWN = Fate(
    "refused", "550 5.1.1 <changing-00@example.test>: Recipient address rejected", "", 10.0
)
REMOVED = Bounce("0-1", TWO, "5.1.1", "said: 550 5.1.1 No such address in Odoo", by_odoo=True)
GOOD = (Copy("0-1", ONE), Copy("0-1", TWO))


def judged(fates=(ACCEPTED, ACCEPTED), copies=GOOD, bounces=(), declared=True, changes=()):
    """
    Return the kinds of breaches found, for a message to an address that stays and one that changes.
    """
    history = ListHistory({TWO: declared})
    for state, at in changes:
        history.note(TWO, state, at)
    known = {box: fate for box, fate in zip((ONE, TWO), fates, strict=True) if fate is not None}
    sent = {"0-1": Sent(MESSAGE, known)}
    evidence = Evidence(sent, copies, bounces, history, STEADY.__contains__, 100.0)
    return [violation.kind for violation in check(evidence)]


def test_nothing_wrong():
    """
    What was accepted is there once, and nothing else.
    """
    assert judged() == []


def test_lost():
    """
    An accepted message is neither stored nor bounced.
    """
    assert judged(copies=GOOD[:1]) == ["lost"]


def test_still_queued():
    """
    What waits in the queue is not lost, but is not where it ought to be either.
    """
    sent = {"0-1": Sent(MESSAGE, {ONE: ACCEPTED, TWO: ACCEPTED})}
    history = ListHistory({TWO: True})
    evidence = Evidence(sent, GOOD[:1], (), history, STEADY.__contains__, 100.0, {"4abc"})
    assert [violation.kind for violation in check(evidence)] == ["still queued"]


def test_lost_for_one_of_a_teams_mailboxes():
    """
    Each mailbox that an alias stands for counts.
    """
    message = Message("0-1", "", (TEAM,), 400, "0-1")
    sent = {"0-1": Sent(message, dict.fromkeys(STEADY[:2], ACCEPTED))}
    copies = [Copy("0-1", STEADY[1])]
    evidence = Evidence(sent, copies, (), ListHistory({}), STEADY.__contains__, 100.0)
    assert [violation.kind for violation in check(evidence)] == ["lost"]


def test_twice():
    """
    A message is in a mailbox twice.
    """
    assert judged(copies=(*GOOD, GOOD[0])) == ["twice"]


def test_in_doubt():
    """
    Without a reply after the dot a message may be there or not, but not twice.
    """
    fates = (Fate("in doubt"), Fate("in doubt"))
    assert judged(fates, copies=GOOD[:1]) == []
    assert judged(fates, copies=(*GOOD, GOOD[0])) == ["twice"]


@pytest.mark.parametrize("fate", [None, UNKNOWN])
def test_not_accepted_but_stored(fate):
    """
    A message is stored that nobody accepted.
    """
    found = judged((ACCEPTED, fate), declared=False, changes=[(True, 50.0)])
    assert "not accepted, but stored" in found


@pytest.mark.parametrize("copy", [Copy(None, ONE), Copy("9-9", ONE), Copy("0-1", STEADY[3])])
def test_strangers(copy):
    """
    So it is with one that nobody sent, or sent to another address.
    """
    assert judged(copies=(*GOOD, copy)) == ["not accepted, but stored"]


def test_undecided():
    """
    A message was begun, and never accepted or refused.
    """
    assert judged((ACCEPTED, None), copies=GOOD[:1]) == ["undecided"]


def test_wrong_content():
    """
    A copy differs from what was sent.
    """
    assert judged(copies=(GOOD[0], Copy("0-1", TWO, "cut off"))) == ["wrong content"]


def test_bounced_by_odoo():
    """
    Odoo itself refuses an address that it has removed.
    """
    assert judged(copies=GOOD[:1], bounces=[REMOVED], changes=[(False, 20.0)]) == []


@pytest.mark.parametrize(
    ("bounce", "changes"),
    [
        (REMOVED, []),
        (REMOVED, [(False, 5.0), (True, 8.0)]),
        (Bounce("0-1", TWO, "5.1.1", "said the daemon", by_odoo=False), [(False, 20.0)]),
        (Bounce("0-1", TWO, "5.4.6", "loop", by_odoo=True), [(False, 20.0)]),
    ],
)
def test_false_bounce(bounce, changes):
    """
    An address was not removed while the mail was queued, or it was not Odoo that said so.
    """
    assert judged(copies=GOOD[:1], bounces=[bounce], changes=changes) == ["bounced without reason"]


def test_false_bounce_of_a_steady_address():
    """
    An address that was never removed bounces.
    """
    bounce = Bounce("0-1", ONE, "5.1.1", "said: 550 5.1.1 No such address", by_odoo=True)
    assert judged(copies=GOOD[1:], bounces=[bounce]) == ["bounced without reason"]


def test_bounced_though_stored():
    """
    The sender is told that a message was not delivered, which was.
    """
    assert judged(bounces=[REMOVED], changes=[(False, 20.0)]) == ["bounced without reason"]


def test_refused():
    """
    An address is refused that was unknown not long before; the list in force may be old.
    """
    assert judged((ACCEPTED, UNKNOWN), copies=GOOD[:1], declared=False) == []
    changes = [(False, 5.0), (True, 6.0)]
    assert judged((ACCEPTED, UNKNOWN), copies=GOOD[:1], changes=changes) == []


@pytest.mark.parametrize(
    ("fate", "changes"),
    [
        (UNKNOWN, []),
        (UNKNOWN, [(False, 11.0)]),
        (dataclasses.replace(UNKNOWN, at=7.0 + STALE), [(False, 5.0), (True, 6.0)]),
        (Fate("refused", "554 5.7.1 Relay access denied", "", 10.0), [(False, 5.0)]),
    ],
)
def test_false_refusal(fate, changes):
    """
    An address was known all the time, or the reason is another one.
    """
    found = judged((ACCEPTED, fate), copies=GOOD[:1], changes=changes)
    assert found == ["refused without reason"]


def test_false_refusal_of_a_steady_address():
    """
    An address is refused that was never removed.
    """
    assert judged((UNKNOWN, ACCEPTED), copies=GOOD[1:]) == ["refused without reason"]


def test_accepted_though_unknown():
    """
    An address was never declared before it was accepted.
    """
    assert judged(declared=False, changes=[(True, 11.0)]) == ["accepted, but unknown"]


ADDED = (
    b"Return-Path: <t-0-1@client.test>\r\nDelivered-To: steady-10@example.test\r\n"
    b"Received: from client.test (localhost [127.0.0.1])\r\n\tby mx (Postfix) id 4abc;\r\n\tnow\r\n"
)


def test_content():
    """
    The envelope and a trace of Postfix may stand before what was sent.
    """
    assert content_fault(MESSAGE, ONE, ADDED + content_of(SEED, MESSAGE), SEED) == ""


@pytest.mark.parametrize(
    "stored",
    [
        ADDED + content_of(SEED, MESSAGE)[:-3],
        ADDED + content_of(SEED, MESSAGE).replace(b"Subject", b"Object"),
        ADDED + content_of("another", MESSAGE),
        ADDED + b"X-Other: 1\r\n" + content_of(SEED, MESSAGE),
        ADDED + b"Message-ID: <1@x>\r\n" + content_of(SEED, MESSAGE),
        ADDED.replace(b"t-0-1@", b"t-0-2@") + content_of(SEED, MESSAGE),
        ADDED.replace(b"steady-10", b"steady-11") + content_of(SEED, MESSAGE),
        ADDED + ADDED + content_of(SEED, MESSAGE),
        content_of(SEED, MESSAGE),
    ],
)
def test_other_content(stored):
    """
    Anything else that was added, left out or changed is a fault.
    """
    assert content_fault(MESSAGE, ONE, stored, SEED)


def test_copies_are_read(tmp_path):
    """
    A file of the Maildir becomes a copy, with its fault.
    """
    (tmp_path / "new").mkdir()
    stored = b"X-Original-To: steady-10@example.test\r\n" + ADDED + content_of(SEED, MESSAGE)
    (tmp_path / "new" / "1").write_bytes(stored)
    (tmp_path / "new" / "2").write_bytes(stored + b"more\r\n")
    sent = {"0-1": Sent(MESSAGE)}
    copies = sorted(copies_in(tmp_path, sent, SEED), key=lambda copy: copy.fault)
    assert [(copy.trace, copy.mailbox, bool(copy.fault)) for copy in copies] == [
        ("0-1", ONE, False),
        ("0-1", ONE, True),
    ]


LINE = (
    "Nov 22 05:16:48 mx postfix/lmtp[7]: 4abc: to=<changing-00@example.test>, relay=mx[private/x],"
    " delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (host mx[x] said: 550 5.1.1 No such)"
)


@pytest.mark.parametrize("by_odoo", [True, False])
def test_bounces_are_read(by_odoo):
    """
    A line of Postfix's log becomes a bounce; Odoo's own log says whether the verdict was Odoo's.
    """
    sent = {"0-1": Sent(MESSAGE, {TWO: ACCEPTED})}
    odoo = OdooLog(frozenset({("4abc", TWO)} if by_odoo else ()), 0)
    bounces, statuses = bounces_in([LINE, LINE.replace("4abc", "4xyz")], sent, odoo)
    text = "host mx[x] said: 550 5.1.1 No such"
    assert bounces == [Bounce("0-1", TWO, "5.1.1", text, by_odoo)]
    assert statuses["bounced"] == 1


def test_bounce_in_doubt_is_read():
    """
    Where no reply told the queue id, the sender tells which message it was.
    """
    lines = ["mx postfix/qmgr[1]: 4abc: from=<t-0-1@client.test>, size=1, nrcpt=1 (active)", LINE]
    sent = {"0-1": Sent(MESSAGE, {TWO: Fate("in doubt")})}
    bounces, _ = bounces_in(lines, sent, OdooLog(frozenset(), 0))
    assert [bounce.trace for bounce in bounces] == ["0-1"]


def test_odoo_log_is_read(tmp_path):
    """
    Refusals and repeated deliveries are found in the log of the stand-in.
    """
    path = tmp_path / "sandbox.log"
    path.write_text(
        "2026 info message 'sha-256=1' from 'x@y', queue id '4abc', 300 octets:"
        " {'changing-00@example.test': '550 5.1.1 No such address in Odoo',"
        " 'steady-10@example.test': '250 2.0.0 Stored before as 7'}\n"
    )
    assert read_odoo_log(path) == OdooLog(frozenset({("4abc", TWO)}), 1)


@pytest.mark.parametrize(
    "line", ["Traceback (most recent call last):", "Unhandled error in Deferred", "token is s3cret"]
)
def test_trouble(line):
    """
    A traceback in a log is found, and a token.
    """
    assert trouble_in("daemon", "all is well\n", "s3cret") == []
    assert len(trouble_in("daemon", f"all is well\n{line}\n", "s3cret")) == 1
