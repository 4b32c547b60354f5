"""
Addresses, queue ids and replies of others stay what they are: no field, line or list of theirs.
"""

import email
import email.policy
import json
import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.address import encode, is_address, parse_path
from mailer.alias_list import parse_aliases, parse_mapping, parse_transport
from mailer.alias_table import Entry, Match, ServerList, merge
from mailer.delivery import make_delivery
from mailer.errors import ListError, ProtocolError, TemporaryError
from mailer.lmtp import LmtpSession
from mailer.lmtp_events import MessageStarted
from mailer.map_text import aliases_text, transport_text
from mailer.message import MAX_HEADER, new_beginning, parse_header
from mailer.reply import Reply
from mailer.spool import Spool
from mailer.verdict import Answer, replies_for

SPECIAL = st.sampled_from(
    [*'\r\n\0\t\x0b\x0c\x1c\x1e\x7f\x85\u2028,: "<>@\\#\udc85', "Delivered-To: v@x", "X-Evil: 1"]
)
TEXTS = st.lists(st.text(max_size=3) | SPECIAL, max_size=8).map("".join)
OCTETS = st.lists(st.binary(max_size=3) | SPECIAL.map(encode), max_size=8).map(b"".join)
PATHS = st.one_of(
    OCTETS.map(lambda octets: b'<"%b"@x>' % octets),
    OCTETS.map(lambda octets: b"<%b@x>" % octets),
    OCTETS.map(lambda octets: b"<a@%b>" % octets),
)
END = re.compile(rb"[\r\n]")


def sender_of(path):
    """
    Return the sender as the LMTP session would take it, None where it does not.
    """
    try:
        return parse_path(path)[0]
    except ProtocolError:
        return None


@given(PATHS, TEXTS.filter(lambda text: "," not in text))
@example(b'<"a\x0bDelivered-To: v@x"@y>', "a@x")
@example(b'<"a\x1eX-Evil: 1"@y>', "a@x")
def test_the_envelope_adds_its_own_fields_and_no_others(path, recipient):
    """
    To Python's parser, which Odoo uses, also after it has written the message out again.
    """
    sender = sender_of(path)
    message = b"Subject: x\r\nMessage-ID: <1@y>\r\n\r\nbody\r\n"
    header = parse_header(message[:MAX_HEADER])
    whole = new_beginning(header, sender, [recipient], "ab") + message[header.length :]
    expected = ["Return-Path"] * (sender is not None) + ["Delivered-To", "Subject", "Message-ID"]
    assert whole.count(b"\r\n") == len(expected) + 2
    for _ in range(2):
        parsed = email.message_from_bytes(whole, policy=email.policy.SMTP)
        assert expected == parsed.keys()
        try:
            whole = parsed.as_bytes()
        except UnicodeEncodeError:  # octets that were no UTF-8
            break


@given(PATHS, st.binary(max_size=30), st.text(max_size=10))
def test_what_is_told_of_a_message_has_no_control_characters(path, received, ident):
    """
    Queue ids are those of XFORWARD or of the message; neither can begin a field.
    """
    session = LmtpSession("host", 10_000, lambda address: Match("a@x", Entry("odoo", (), "n")))
    commands = [
        b"LHLO x",
        b"XFORWARD IDENT=%b" % encode(ident),
        b"MAIL FROM:" + path,
        b"RCPT TO:<a@x>",
        b"DATA",
    ]
    events = session.receive_data(b"".join(command + b"\r\n" for command in commands))
    envelopes = [event.envelope for event in events if isinstance(event, MessageStarted)]
    for envelope in envelopes:
        spool = Spool()
        spool.write(b"Received: by x (Postfix) id " + received + b"\r\n\r\nbody")
        delivery = make_delivery(envelope, ("a@x",), parse_header(spool.beginning()), spool)
        assert re.fullmatch(r"[0-9A-Za-z.-]*", delivery.queue_id)
        assert re.fullmatch(r"[0-9a-f]{64}", delivery.digest)
        spool.close()


def sent(connect, **fields):
    """
    Return the lines of the header that goes out with a delivery.
    """
    wire = connect()
    call = wire.deliver(**fields)
    wire.accept()
    head = wire.transport.value().partition(b"\r\n\r\n")[0]
    return call, head.split(b"\r\n")


@pytest.mark.parametrize("character", ["\0", "\t", "\x0b", "\x0c", "\x1c", "\x1e", "\x7f", "\x85"])
@pytest.mark.parametrize("octets", [b"\r\nX-Evil: 1", b"X-Evil: 1"])
def test_the_sender_stays_in_its_field(connect, character, octets):
    """
    And has nothing in it that a web server would refuse.
    """
    sender = f'"{character}{octets.decode()}"@y'
    _, lines = sent(connect, sender=sender)
    (line,) = [line for line in lines if line.startswith(b"X-Mail-Sender: ")]
    assert not [line for line in lines if line.startswith(b"X-Evil")]
    assert not re.search(rb"[\x00-\x1f\x7f]", line)
    assert line.endswith(b'"@y')


@pytest.mark.parametrize(
    "recipient", ['"a,b"@x', '"a@x,b"@y', "a@x\r\nX-Evil: 1", "a\0@x", '"\x0b"@x', "a@x,b@x", ","]
)
def test_a_recipient_that_would_be_two_is_not_sent(connect, recipient):
    """
    The mail waits; nothing goes out. No address that Odoo declares is like this.
    """
    assert not is_address(recipient)
    wire = connect()
    call = wire.deliver(recipients=("a@x", recipient))
    assert isinstance(call.error, TemporaryError)
    assert "\n" not in str(call.error)
    assert wire.connections == 0


@given(TEXTS)
def test_no_declared_address_is_two(word):
    """
    What may stand in a list may stand in X-Mail-Recipients and on a line of a map.
    """
    if is_address(word):
        assert not re.search(r"[\s,\x00-\x20\x7f]", word)


@given(
    st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=4), st.sampled_from([" ", "\n", ": ["])
)
def test_a_map_file_has_the_addresses_of_the_list_and_no_others(names, more, joint):
    """
    Whatever a page or a mapping says, a line of the map is an address and where it goes.
    """
    page = joint.join([*names, "a@x", *more]).encode("utf-8", "replace")
    try:
        declared = [parse_aliases(page)]
    except ListError:
        declared = []
    with suppress(ListError):
        declared.append(parse_mapping({"o@x": [name for name in names if "@" in name] or ["i"]}))
    for alias_list in declared:
        table = merge([ServerList("odoo", alias_list)], {}, "lmtp:unix:x")
        text = aliases_text(table) + transport_text(table, 0.0)
        for line in text.encode("utf-8").split(b"\n"):
            assert line == b"" or line.startswith(b"# Written") or len(line.split(b" ")) >= 2
            address, _, value = line.decode().partition(" ")
            if line and not line.startswith(b"#"):
                assert is_address(address)
                assert value == "lmtp:unix:x" or all(map(is_address, value.split(", ")))


@given(TEXTS)
@example("a@x lmtp:x\nb@x")
@example("a@x smtp:[y]\x0bz")
def test_a_next_hop_is_one_printable_word(text):
    """
    It goes to Postfix as it is.
    """
    try:
        hops = parse_transport(b"a@x " + text.encode("utf-8", "replace"))
    except ListError:
        return
    assert all(re.fullmatch(r"[!-~]*", hop) for hop in hops.values())


@given(TEXTS, TEXTS)
def test_a_reply_is_one_line(text, address):
    """
    Whatever Odoo says, to whomever.
    """
    verdict = {"code": 550, "status": "5.1.1", "text": text}
    try:
        body = json.dumps({"recipients": {address: verdict}}).encode()
    except UnicodeEncodeError:
        return
    for reply in replies_for(Answer(200, True, body), [address, "a@x"], True).values():
        line = reply.line()
        assert re.fullmatch(rb"[ -~]{1,512}\r\n", line)
        assert line[:4] in (b"550 ", b"451 ")


@given(TEXTS)
def test_a_status_is_three_numbers(status):
    """
    Nothing else stands between code and text.
    """
    try:
        reply = Reply(550, status, "x")
    except ValueError:
        return
    assert re.fullmatch(rb"550 (5\.\d{1,3}\.\d{1,3} )?x\r\n", reply.line())


@pytest.mark.parametrize(
    "etag", [b'"\xff"', b'"\x01"', b'"\xc3\xa9"', b'"\x7f"', b'"a\tb"', b'"a"', b'W/"b"']
)
def test_a_validator_that_cannot_be_sent_is_forgotten(connect, etag):
    """
    Otherwise each fetch from then on would be a bad request.
    """
    wire = connect()
    call = wire.fetch()
    for _ in range(2):
        wire.request()
        wire.send(b"HTTP/1.1 200 x\r\nETag: %b\r\nContent-Length: 0\r\n\r\n" % etag)
    expected = etag.decode() if etag in (b'"a"', b'W/"b"') else ""
    if expected:
        wire.answer(304)  # where there is one, aliases are asked for once more
    assert expected == call.value.etags.aliases


@pytest.mark.parametrize(
    "field", ["Retry-After", "X-Mail-Delivery", "Content-Encoding", "Location"]
)
def test_octets_beyond_ascii_in_a_field_do_not_hide_the_answer(connect, field):
    """
    A 200 is a 200.
    """
    wire = connect()
    call = wire.deliver()
    wire.request()
    value = b"identity" if field == "Content-Encoding" else b"\xff\xfe"
    wire.send(
        b"HTTP/1.1 200 x\r\n%b: %b\r\nX: \xff\r\nContent-Length: 0\r\n\r\n"
        % (field.encode(), value)
    )
    assert call.value.code == 200
