"""
Tests for how Odoo tells one message from another: the digest, and the Message-ID derived from it.

Driven from the octets on an LMTP connection to what the client of each server gets.
"""

import email
import hashlib
from dataclasses import dataclass
from email import policy

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailer.errors import NoAnswerError
from mailer.spool import MAX_MEMORY
from mailer.verdict import Answer

FIRST = ["a@example.com", "b@example.com", "c@example.com"]
SECOND = ["d@example.org", "e@example.org"]

FIELDS = st.sampled_from(
    [
        b"Subject: x",
        b"Subject: x\r\n folded",
        b"Subject: \xc3\xa9\xff\x00",
        b"Received: by mx (Postfix) with ESMTP id 4ABCDEF012; now",
        b"Delivered-To: elsewhere@example.com",
        b"Return-Path: <other@example.org>",
        b"Message-ID:",
        b"X: y\nZ: bare",
        b"X: y\rZ: bare",
        b".",
        b"..X: y",
    ]
)
MESSAGE_IDS = st.sampled_from(
    [b"Message-ID: <1@example.org>", b"message-id:<2@example.org>", b"MESSAGE-ID:\r\n <3@x>"]
)
BODIES = st.binary(max_size=30) | st.text(st.sampled_from("\r\n..a"), max_size=20).map(str.encode)


def lines(*parts):
    """
    Return the parts as lines, so that a client can send them.
    """
    return b"".join(part + b"\r\n" for part in parts)


UNNAMED = st.builds(lambda fields, body: lines(*fields, b"", body), st.lists(FIELDS), BODIES)
NAMED = st.builds(
    lambda name, fields, body: lines(name, *fields, b"", body),
    MESSAGE_IDS,
    st.lists(FIELDS),
    BODIES,
)


@dataclass(frozen=True)
class Try:
    """
    One attempt to deliver: what may differ between two of the same message.

    Args:
        groups: The recipients of each transaction.
        places: Where the octets are cut.
        answer: What the servers say.
        reconnect: Each transaction has a connection of its own.
    """

    groups: list
    sender: str = "s@example.org"
    queue_id: str = ""
    places: tuple = ()
    answer: object = Answer(200)
    reconnect: bool = False


GROUPS = st.lists(
    st.lists(st.sampled_from(FIRST + SECOND + ["A+ext@Example.COM"]), min_size=1, max_size=6),
    min_size=1,
    max_size=4,
)
TRIES = st.builds(
    Try,
    GROUPS,
    st.sampled_from(["", "s@example.org", "prvs=4711=s@example.org"]),
    st.sampled_from(["", "4ABCDEF012", "4Xyz1q0b2zN"]),
    st.lists(st.integers(0, 400), max_size=6).map(tuple),
    st.sampled_from([Answer(200), Answer(500), Answer(401), NoAnswerError("reset")]),
    st.booleans(),
)


@pytest.fixture(scope="session")
def deliver(fakes, sites):
    """
    Delivers a message in several tries; returns all that the servers got.
    """

    def run(message, *tries):
        site = sites.DeliverySite(fakes, odoo=FIRST, second=SECOND)
        connection = site.connect()
        for one in tries:
            site.answer = one.answer
            for group in one.groups:
                stream = sites.transaction(message, group, one.sender, one.queue_id)
                replies = site.talk(connection, sites.cut(stream, one.places))
                assert ["354"] + ["2" if one.answer == Answer(200) else "4"] * len(group) == (
                    [reply[:3] for reply in replies if reply[0] == "3"]
                    + [reply[0] for reply in replies[-len(group) :]]
                )
                connection = site.connect() if one.reconnect else connection
        return site.delivered

    return run


def message_id(message):
    """
    Return the Message-ID as Odoo's parser finds it, None where there is none.
    """
    found = email.message_from_bytes(message, policy=policy.SMTP)["Message-ID"]
    return str(found).strip() or None if found is not None else None


@given(UNNAMED | NAMED, st.lists(TRIES, min_size=1, max_size=3))
@example(lines(b"", b"."), [Try([FIRST, SECOND], places=tuple(range(400)))])
@example(lines(b""), [Try([[name] for name in FIRST]), Try([FIRST + SECOND])])
def test_the_digest_is_of_the_octets_received_on_every_try(deliver, message, tries):
    """
    Recipients, their grouping, servers, sender, queue id, cuts and tries do not matter.
    """
    delivered = deliver(message, *tries)
    assert {hashlib.sha256(message).hexdigest()} == {one.digest for one in delivered}


@given(UNNAMED, st.lists(TRIES, min_size=1, max_size=3))
@example(lines(b"Message-ID:", b"", b""), [Try([FIRST + SECOND])])
def test_a_derived_message_id_is_the_same_on_every_try(deliver, message, tries):
    """
    Each server gets it, in each transaction.
    """
    assume(message_id(message) is None)
    delivered = deliver(message, *tries)
    expected = f"<{hashlib.sha256(message).hexdigest()}@odoo-mailer.invalid>"
    assert {expected} == {message_id(one.message) for one in delivered}


@given(NAMED, TRIES)
def test_a_message_id_of_its_own_stays(deliver, message, one):
    """
    A message that has one keeps it, and gets no other.
    """
    own = message_id(message)
    assume(own is not None)
    delivered = deliver(message, one)
    assert {own} == {message_id(each.message) for each in delivered}
    assert not any(b"@odoo-mailer.invalid" in each.message for each in delivered)


def edited(message, place, octet):
    """
    Yield messages that hardly differ from this one.
    """
    place %= len(message)
    yield message[:place] + octet + message[place:]
    yield message[:place] + message[place + 1 :]
    yield message[:place] + octet + message[place + 1 :]
    yield message + b"\r\n"
    yield b"\r\n" + message
    yield message.replace(b"\r\n", b"\n")
    yield message.replace(b"a", b"A")
    yield lines(b"Delivered-To: elsewhere@example.com") + message
    yield lines(b"Return-Path: <elsewhere@example.com>") + message


OCTETS = st.sampled_from([b".", b"\r", b"\n", b"\x00", b" ", b"a", b"\xff"])


@given(UNNAMED, st.integers(0, 200), OCTETS, TRIES)
def test_another_message_has_another_digest_and_message_id(deliver, message, place, octet, one):
    """
    However little two messages differ, and however alike they are delivered.
    """
    others = {m if m.endswith(b"\r\n") else m + b"\r\n" for m in edited(message, place, octet)}
    messages = [message, *sorted(others - {message})]
    found = [deliver(each, one)[0] for each in messages]
    assert len(messages) == len({each.digest for each in found})
    derived = [
        message_id(each.message)
        for each, received in zip(found, messages, strict=True)
        if message_id(received) is None
    ]
    assert len(derived) == len(set(derived))


def test_a_message_in_a_file_is_the_same_message(deliver):
    """
    A large message has one digest too, however its octets come.
    """
    message = lines(b"Subject: large", b"", b"0123456789abcde" * (MAX_MEMORY // 15), b".")
    tries = [
        Try([FIRST], places=(1,)),
        Try(
            [["b@example.com"], SECOND], places=tuple(range(0, len(message), 65_536)), queue_id="4X"
        ),
    ]
    delivered = deliver(message, *tries)
    digest = hashlib.sha256(message).hexdigest()
    assert [digest] * 3 == [one.digest for one in delivered]
    assert {f"<{digest}@odoo-mailer.invalid>"} == {message_id(one.message) for one in delivered}


def test_a_recipient_who_is_a_loop_does_not_change_the_digest(fakes, sites):
    """
    The others get the message under the digest that it has for everyone.
    """
    site = sites.DeliverySite(fakes, odoo=FIRST, second=SECOND)
    message = lines(b"Delivered-To: a@example.com", b"Subject: x", b"", b"text")
    replies = site.talk(site.connect(), [sites.transaction(message, FIRST + SECOND)])
    assert ["554", "250", "250", "250", "250"] == [reply[:3] for reply in replies[-5:]]
    assert [hashlib.sha256(message).hexdigest()] * 2 == [one.digest for one in site.delivered]
