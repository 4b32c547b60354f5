"""
Tests for mailer.message.
"""

import email
import re
import tracemalloc
from email import policy

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailer.message import MAX_HEADER, MAX_RECEIVED, new_beginning, parse_header

LINES = st.sampled_from(
    [
        b"Delivered-To: old@x",
        b"DELIVERED-TO:Other@X",
        b"delivered-to:",
        b"Delivered-To : no field@x",
        b"Delivered-To",
        b"X-Delivered-To: not@x",
        b"Return-Path: <s@y>",
        b"return-PATH:",
        b"Message-ID: <1@y>",
        b"Message-ID:",
        b"Subject: \xc3\xa9 \x00",
        b"From s@y Mon Jan  1 00:00:00 2024",
        b"From: s@y",
        b" Delivered-To: folded@x",
        b"\tfolded",
        b" ",
        b": nameless",
        b"S\xc3\xa9: no field",
        b"garbage",
        b"",
    ]
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b""])
MESSAGES = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=8).map(b"".join)
ADDRESSES = st.from_regex(r"[a-z]{1,4}@[xy]", fullmatch=True)


def edited(message, recipients=("a@x",), sender="s@y"):
    """
    Return the message as it goes to Odoo.
    """
    header = parse_header(message[:MAX_HEADER])
    return new_beginning(header, sender, recipients, "abc") + message[header.length :]


def test_the_envelope_stands_in_front():
    """
    Return-Path, one Delivered-To each, then the message as it was.
    """
    message = b"Message-ID: <1@y>\r\nTo: a@x\r\n\r\nbody\r\n"
    front = b"Return-Path: <s@y>\r\nDelivered-To: a@x\r\nDelivered-To: b@x\r\n"
    assert front + message == edited(message, ["a@x", "b@x"])


@pytest.mark.parametrize(
    ("sender", "front"),
    [
        ("", b"Return-Path: <>\r\n"),
        (None, b""),
        ("\u00e9@y", b"Return-Path: <\xc3\xa9@y>\r\n"),
        ("\udce9@y", b"Return-Path: <\xe9@y>\r\n"),
    ],
)
def test_return_path(sender, front):
    """
    The null sender has a Return-Path too, an unknown one has none; octets stay as sent.
    """
    message = b"Message-ID: <1@y>\r\n\r\n"
    assert front + b"Delivered-To: a@x\r\n" + message == edited(message, sender=sender)


@pytest.mark.parametrize(
    "field",
    [
        b"Delivered-To: old@x\r\n",
        b"Delivered-To:old@x\r\n",
        b"delivered-to: old@x\r\n",
        b"DELIVERED-TO: old@x\r\n",
        b"Delivered-To:\r\n old@x\r\n",
        b"Delivered-To: old@x\r\n\t,more@x\r\n  ,most@x\r\n",
        b"Delivered-To:\r\n",
        b"Delivered-To: old@x\n",
        b"Delivered-To: old@x\r",
        b"Return-Path: <old@y>\r\n",
        b"return-path: <old@y>\n folded\n",
        b"Delivered-To: old@x\r\nReturn-Path: <>\r\nDelivered-To: older@x\r\n",
    ],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Message-ID: <1@y>\r\n", b"To: a@x\r\n\r\nbody"),
        (b"Message-ID: <1@y>\r\nX: y\r\n folded\r\n", b"\r\n\r\n\r\nbody"),
        (b"Message-ID: <1@y>\r\n", b""),
        (b"Message-ID: <1@y>\r\n", b"no field: body\r\n"),
        (b"Message-ID: <1@y>\r\n", b"\r\nDelivered-To: body@x\r\n"),
    ],
)
def test_fields_of_earlier_deliveries_are_removed(before, field, after):
    """
    Both fields go in any case, folded, and with any line end; all else stays.
    """
    front = b"Return-Path: <s@y>\r\nDelivered-To: a@x\r\n"
    assert front + before + after == edited(before + field + after)


@pytest.mark.parametrize(
    "message",
    [
        b"X-Delivered-To: b@x\r\n\r\n",
        b"Delivered-To-X: b@x\r\n\r\n",
        b"Subject: x\r\n Delivered-To: b@x\r\n\r\n",
        b"Subject: x\r\n\r\nDelivered-To: b@x\r\nReturn-Path: <>\r\n",
        b"Subject: x\r\ngarbage\r\nDelivered-To: b@x\r\n",
        b"Subject: x\r\nDelivered-To : b@x\r\n",
        b"Subject: x\n\nDelivered-To: b@x\n",
        b"Subject: x\r\rDelivered-To: b@x\r",
        b"Subject: \x00\xff\r\nX: " + b"y" * 3000 + b"\r\n\r\n",
    ],
)
def test_nothing_else_is_removed(message):
    """
    Other fields, folded lines and the body keep every octet.
    """
    message = b"Message-ID: <1@y>\r\n" + message
    assert edited(message).endswith(b"Delivered-To: a@x\r\n" + message)


def test_the_line_end_is_the_message_s_own():
    """
    A message with bare LF gets no CRLF from us.
    """
    message = b"Message-ID: <1@y>\nDelivered-To: b@x\n\nbody\n"
    expected = b"Return-Path: <s@y>\nDelivered-To: a@x\nMessage-ID: <1@y>\n\nbody\n"
    assert expected == edited(message)


@pytest.mark.parametrize(
    ("message", "message_id"),
    [
        (b"Message-ID: <1@y>\r\n\r\n", b"<1@y>"),
        (b"message-id:<1@y>\r\n\r\n", b"<1@y>"),
        (b"Message-ID:\r\n <1@y>\r\n\r\n", b"<1@y>"),
        (b"Message-ID: <1@y>\r\nMessage-ID: <2@y>\r\n\r\n", b"<1@y>"),
        (b"Message-ID:\r\nSubject: x\r\n\r\n", b""),
        (b"Subject: x\r\n\r\nMessage-ID: <1@y>\r\n", b""),
        (b"", b""),
    ],
)
def test_message_id(message, message_id):
    """
    The first Message-ID of the header counts; an empty one is none.
    """
    assert message_id == parse_header(message).message_id


@pytest.mark.parametrize(
    "message", [b"", b"\r\nbody", b"body\r\n", b"Subject: x\r\n\r\n", b"Message-ID: \r\n\r\n"]
)
def test_a_missing_message_id_is_derived(message):
    """
    It comes of the digest alone, so it is the same on every try.
    """
    parsed = email.message_from_bytes(edited(message), policy=policy.SMTP)
    assert "<abc@odoo-mailer.invalid>" == parsed["Message-ID"]
    assert edited(message) == edited(message)


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        (b"", set()),
        (b"Delivered-To: A@X\r\n", {"a@x"}),
        (b"Delivered-To:\r\n\t<a@x>\r\nDELIVERED-TO: b@x\r\n", {"a@x", "b@x"}),
        (b"Delivered-To: \xc3\x89@x\r\n", {"\u00e9@x"}),
        (b"Subject: x\r\n\r\nDelivered-To: a@x\r\n", set()),
    ],
)
def test_earlier_recipients_are_known(fields, values):
    """
    The removed Delivered-To values are given folded, to find loops by.
    """
    assert values == parse_header(fields).delivered_to


@pytest.mark.parametrize(
    ("received", "queue_id"),
    [
        (
            b"from h (h [::1]) by mx (Postfix) with ESMTP id 4XyZ1q0b2zN\r\n\tfor <a@x>;",
            "4XyZ1q0b2zN",
        ),
        (b"from h by mx (Postfix, from userid 0)\r\n\tid ABCDEF0123; Mon", "ABCDEF0123"),
        (b"by mx (Postfix/Debian) with SMTP id ABCDEF0123", "ABCDEF0123"),
        (b"from h by mx (Exim 4) with esmtp id ABCDEF0123", ""),
        (b"by mx (Postfix) with SMTP", ""),
    ],
)
def test_queue_id(received, queue_id):
    """
    Postfix's queue id is taken of the top Received field, and of no other.
    """
    other = b"Received: by mx (Postfix) with SMTP id 0000000000\r\n"
    message = b"Received: " + received + b"\r\n" + other + b"\r\n"
    assert queue_id == parse_header(message).queue_id


@pytest.mark.parametrize(
    ("before", "queue_id"), [(b"", "ABCDEF0123"), (b"(Postfix" * (MAX_RECEIVED // 8), "")]
)
def test_a_queue_id_is_not_searched_for_without_end(before, queue_id):
    """
    Each of many beginnings of one would be followed to the end of the field, for seconds.
    """
    message = b"Received: " + before + b"(Postfix) id ABCDEF0123\r\n\r\n"
    assert queue_id == parse_header(message).queue_id


@pytest.mark.parametrize("first", [b" , b@x\r\n", b"\tb@x\r\n", b" \r\n"])
def test_a_message_that_begins_with_a_folded_line(first):
    """
    What continues no field does not continue ours either.
    """
    message = first + b"Message-ID: <1@y>\r\n\r\n"
    parsed = email.message_from_bytes(edited(message), policy=policy.SMTP)
    assert ["a@x"] == parsed.get_all("Delivered-To")
    assert "<1@y>" == parsed["Message-ID"]


@pytest.mark.parametrize("beyond", [0, 1, 6, 15, 17, 18])
def test_a_field_across_the_limit_is_whole(beyond):
    """
    A field that the limit of the header cuts is removed or kept as a whole.
    """
    start = b"Message-ID: <1@y>\r\nX: "
    field = b"Delivered-To: b@x\r\n"
    filler = b"y" * (MAX_HEADER - len(start) - 2 - len(field) + beyond) + b"\r\n"
    front = b"Return-Path: <s@y>\r\nDelivered-To: a@x\r\n"
    kept = front + start + filler
    rest = b"To: a@x\r\n\r\nbody"
    assert edited(start + filler + field + rest) in (kept + rest, kept + field + rest)


@given(MESSAGES | st.binary(), st.lists(ADDRESSES, min_size=1, max_size=3))
@example(b" , b@x\r\nMessage-ID: <1@y>\r\n\r\n", ["a@x"])
@example(b"From s@y\r\n\r\n", ["a@x"])
@example(b"Message-ID:\r\nFrom s@y\r\nDelivered-To: old@x\r\n", ["a@x"])
@example(b"Message-ID:\r\nFrom s@y\r\n folded\r\nSubject: x\r\n", ["a@x"])
@example(b"X: y\rDelivered-To: b@x\r\n\nDelivered-To: body@x\r\n", ["a@x"])
@pytest.mark.parametrize("rules", [policy.SMTP, policy.compat32], ids=["SMTP", "compat32"])
def test_python_sees_exactly_our_recipients(rules, message, recipients):
    """
    Whatever the message is, Odoo's parser finds the recipients of this transaction alone.
    """
    parsed = email.message_from_bytes(edited(message, recipients), policy=rules)
    assert recipients == [str(value) for value in parsed.get_all("Delivered-To")]
    assert ["<s@y>"] == [str(value) for value in parsed.get_all("Return-Path")]
    assert parsed["Message-ID"]


@given(MESSAGES)
@example(b"From s@y\r\n\r\nbody")
@example(b"From s@y\r\nMessage-ID: <1@y>\r\n\r\nbody")
def test_python_sees_nothing_else_changed(message):
    """
    The other fields and the body are to Odoo's parser what they were.

    But for a line of mbox in the middle of a header, which the parser skips or not by its place.
    """
    assume(not re.search(rb"[\r\n]From ", message))
    ours = ("delivered-to", "return-path", "message-id")
    before, after = (
        email.message_from_bytes(octets, policy=policy.compat32)
        for octets in (message, edited(message))
    )
    fields_before, fields_after = (
        [(name, value) for name, value in parsed.raw_items() if name.lower() not in ours]
        for parsed in (before, after)
    )
    assert fields_before == fields_after
    assert before.get_payload() == after.get_payload()


@pytest.mark.parametrize("rules", [policy.SMTP, policy.compat32], ids=["SMTP", "compat32"])
def test_line_ends_on_either_side_of_a_removed_field_stay_two(rules):
    """
    A CR before it and a LF behind it do not become one line end, which would open the body.
    """
    message = b"X: y\rDelivered-To: b@x\r\n\nDelivered-To: body@x\r\n"
    parsed = email.message_from_bytes(edited(message), policy=rules)
    assert ["a@x"] == parsed.get_all("Delivered-To")


@given(MESSAGES | st.binary())
def test_any_octets_have_a_header(message):
    """
    Nothing is raised; the kept fields are octets of the header, the rest is not touched.
    """
    header = parse_header(message)
    assert len(header.kept) <= header.length <= len(message)
    assert edited(message).endswith(message[header.length :])
    assert header == parse_header(message[: header.length])


@given(MESSAGES)
def test_an_edited_message_is_one_of_its_recipients(message):
    """
    Of an edited message the daemon itself sees what Odoo sees.
    """
    assert frozenset({"b@x"}) == parse_header(edited(message, ["b@x"])).delivered_to


@pytest.mark.parametrize("line", [b"a:\r\n", b" \r\n", b"a:\r", b"From \n"])
def test_a_header_of_tiny_fields_costs_no_more_than_another(line):
    """
    Of the lines that matter to nobody no objects are made, one by one.
    """
    beginning = b"Subject: x\r\n" + line * 50_000 + b"Message-ID: <m@x>\r\n\r\n"
    tracemalloc.start()
    try:
        header = parse_header(beginning)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert b"<m@x>" == header.message_id
    assert peak < 12 * len(beginning)
