"""
Tests against SMTP smuggling: what ends a message, a command and a header line, and what does not.

Driven from the octets on an LMTP connection to what Odoo gets.

Source: RFC 5321 2.3.8 and 4.1.1.4 (only CRLF ends a line, only CRLF.CRLF a message).
"""

import email
import hashlib
from email import policy
from itertools import product

import pytest

A, B = "a@example.com", "b@example.com"
HEADER = b"Message-ID: <1@example.org>\r\nSubject: x\r\n\r\n"
FRONT = b"Return-Path: <s@example.org>\r\nDelivered-To: a@example.com\r\n"
BEGIN = b"MAIL FROM:<s@example.org>\r\nRCPT TO:<a@example.com>\r\nDATA\r\n"
# What an attacker wants to be taken for a transaction of its own.
INNER = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\ninner\r\n"

# Every string of so many of the octets that some server somewhere takes for a line end.
ENDS = [bytes(octets) for count in range(4) for octets in product(b"\r\n\0", repeat=count)]
OTHERS = [b" ", b"\x0b", b"\x1c", b"\x85", "\u2028".encode()]
ODD = [*OTHERS, *(b"\r\n" + one for one in OTHERS), *(one + b"\r\n" for one in OTHERS)]


@pytest.fixture
def site(fakes, sites):
    """
    LMTP for two recipients, down to Odoo.
    """
    return sites.DeliverySite(fakes, odoo=[A, B])


def lines_of(data):
    """
    Return the message that the data is for RFC 5321 4.5.2, and what follows its end.
    """
    message, lines = b"", data.split(b"\r\n")
    for number, line in enumerate(lines):
        if line == b".":
            return message, b"\r\n".join(lines[number + 1 :])
        message += line.removeprefix(b".") + b"\r\n"
    raise AssertionError("the data does not end")


def digest(message):
    """
    Return the digest of a message as received.
    """
    return hashlib.sha256(message).hexdigest()


@pytest.mark.parametrize("before", [*ENDS, *ODD], ids=repr)
def test_only_crlf_dot_crlf_ends_a_message(site, before):
    """
    With a client that stuffs no dots: what the standard says ends the message does, nothing else.
    """
    starts = [(HEADER + b"text", [*ENDS, *ODD]), (b"", ENDS)]
    for data in (
        start + before + b"." + after + INNER + b".\r\n"
        for start, afters in starts
        for after in afters
    ):
        site.delivered.clear()
        message, rest = lines_of(data)
        replies = site.talk(site.connect(), [BEGIN + data + b"QUIT\r\n"])
        inner = [digest(b"inner\r\n")] if rest == INNER + b".\r\n" else []
        assert [digest(message), *inner] == [one.digest for one in site.delivered], data
        if not rest:
            assert ["250", "250", "354", "250", "221"] == [reply[:3] for reply in replies], data
            assert [(A,)] == [one.recipients for one in site.delivered], data


@pytest.mark.parametrize("before", ENDS, ids=repr)
def test_one_octet_at_a_time_the_same_ends_a_message(site, before):
    """
    However slowly the line ends come.
    """
    for after in ENDS:
        site.delivered.clear()
        ends = before + b"." + after
        message, _ = lines_of(b"text" + ends + INNER + b".\r\n")
        one_by_one = [bytes([octet]) for octet in ends]
        site.talk(site.connect(), [BEGIN + b"text", *one_by_one, INNER + b".\r\n"])
        assert digest(message) == site.delivered[0].digest, ends


@pytest.mark.parametrize("before", [*ENDS, *ODD], ids=repr)
def test_the_octets_of_an_honest_client_arrive_exactly(site, sites, before):
    """
    With a client that stuffs dots, as Postfix does: one message in, the same message out.
    """
    connection = site.connect()
    for after in (*ENDS, *ODD):
        site.delivered.clear()
        message = HEADER + b"text" + before + b"." + after + INNER
        replies = site.talk(connection, [sites.transaction(message, [A])])
        assert ["250", "250", "354", "250"] == [reply[:3] for reply in replies], message
        assert [FRONT + message] == [one.message for one in site.delivered]


def test_an_end_of_data_before_the_inner_transaction_lets_it_in(site):
    """
    The inner transaction would be taken if it were let in; else the tests above prove nothing.
    """
    site.talk(site.connect(), [BEGIN + HEADER + b"text\r\n.\r\n" + INNER + b".\r\n"])
    assert [(A,), (B,)] == [one.recipients for one in site.delivered]
    assert site.delivered[1].message.endswith(b"\r\ninner\r\n")


@pytest.mark.parametrize("end", [*ENDS, *ODD], ids=repr)
def test_only_crlf_ends_a_command(site, end):
    """
    What stands behind any other line end is no command.
    """
    replies = site.talk(site.connect(), [b"NOOP x" + end + b"QUIT\r\n"])
    lines = (b"NOOP x" + end + b"QUIT").split(b"\r\n")
    known = {b"NOOP": "250", b"QUIT": "221"}
    assert [known.get(line[:4], "500") for line in lines] == [reply[:3] for reply in replies]


@pytest.mark.parametrize("end", [end for end in [*ENDS, *ODD] if b"\r\n" not in end], ids=repr)
@pytest.mark.parametrize("command", [b"MAIL FROM:<s@example.org>", b"RCPT TO:<a@example.com>"])
def test_a_recipient_behind_another_line_end_is_none(site, command, end):
    """
    Nor does it come in as a part of the command before it.
    """
    start = BEGIN[: BEGIN.index(command)]
    smuggled = start + command + end + b"RCPT TO:<b@example.com>\r\nDATA\r\n"
    replies = [reply[:3] for reply in site.talk(site.connect(), [smuggled])]
    assert ["250"] * start.count(b"\r\n") == replies[:-2]
    assert replies[-2] in ("501", "555")
    assert replies[-1] == "503"


@pytest.mark.parametrize("end", [*ENDS[1:], *ODD], ids=repr)
@pytest.mark.parametrize("rules", [policy.SMTP, policy.compat32], ids=["SMTP", "compat32"])
def test_the_sender_brings_no_field_of_its_own(site, rules, end):
    """
    A quoted reverse path with line ends in it is refused, or is one line of the header.
    """
    path = b'<"x' + end + b"Delivered-To: b@example.com" + end + b'"@example.org>'
    site.talk(site.connect(), [BEGIN.replace(b"<s@example.org>", path) + HEADER + b".\r\n"])
    for one in site.delivered:
        parsed = email.message_from_bytes(one.message, policy=rules)
        assert ["Return-Path", "Delivered-To"] == parsed.keys()[:2]
        assert [A] == parsed.get_all("Delivered-To")
    assert [] == site.delivered or not set(end) & set(b"\r\n")


def view(message, rules):
    """
    Return the message as Odoo's parser sees it: its fields but for the envelope's, and its body.
    """
    parsed = email.message_from_bytes(message, policy=rules)
    ours = ("delivered-to", "return-path")
    return [(n, v) for n, v in parsed.raw_items() if n.lower() not in ours], parsed.get_payload()


def delivered_to(message):
    """
    Return the addresses of the ``Delivered-To`` fields that Odoo's parser sees.
    """
    items = email.message_from_bytes(message, policy=policy.compat32).raw_items()
    values = [v.encode("ascii", "surrogateescape") for n, v in items if n.lower() == "delivered-to"]
    return [b" ".join(value.split()).decode("latin-1") for value in values]


@pytest.mark.parametrize("before", [*ENDS, *ODD], ids=repr)
def test_a_field_behind_any_line_end_is_there_if_odoo_sees_it(site, sites, before):
    """
    ``Delivered-To`` is removed, and is a loop, exactly where Odoo's parser finds it.
    """
    connection = site.connect()
    for after in ENDS:
        site.delivered.clear()
        start = b"Message-ID: <1@example.org>\r\nX: y"
        field = before + b"Delivered-To: b@example.com" + after
        message = start + field + b"Z: z\r\n\r\nbody\r\n"
        looped = B in delivered_to(message)
        replies = site.talk(connection, [sites.transaction(message, [A, B])])
        assert ["250", "554" if looped else "250"] == [reply[:3] for reply in replies[-2:]], field
        (one,) = site.delivered
        assert [A] + [B] * (not looped) == list(one.recipients), field
        assert list(one.recipients) == delivered_to(one.message), field
        for rules in (policy.SMTP, policy.compat32):
            assert view(message, rules) == view(one.message, rules), field
