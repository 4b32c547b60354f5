"""
Tests for mailer.lmtp and mailer.lmtp_events: commands.
"""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.alias_table import Entry, Match
from mailer.lmtp import MAX_ERRORS, MAX_LINE, MAX_RECIPIENTS, LmtpSession
from mailer.lmtp_events import Envelope, MessageEnded, MessageStarted, SessionClosed
from mailer.reply import (
    NO_LIST_451,
    OK_250,
    SHUTTING_DOWN_421,
    TIMEOUT_421,
    UNKNOWN_RECIPIENT_550,
)

MAX_SIZE = 1000
LHLO = b"LHLO client\r\n"
MAIL = LHLO + b"MAIL FROM:<s@y>\r\n"
RCPT = MAIL + b"RCPT TO:<a@x>\r\n"
COMMANDS = st.sampled_from(
    [
        b"LHLO c",
        b"lhlo c",
        b"MAIL FROM:<s@y>",
        b"MAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8",
        b"MAIL FROM:<s@y> SIZE=2000",
        b"RCPT TO:<a@x>",
        b"RCPT TO:<A+e@X>",
        b"RCPT TO:<unknown@x>",
        b"DATA",
        b"XFORWARD IDENT=4Xyz",
        b"RSET",
        b"NOOP",
        b"VRFY a",
        b"QUIT",
        b"EHLO c",
        b".",
        b"",
        b"x" * MAX_LINE,
        b"x" * (MAX_LINE + 1),
    ]
)
STREAMS = st.lists(COMMANDS | st.binary(max_size=20), max_size=12).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


def match(address):
    """
    Return the route of an address.
    """
    return Match(address, Entry("odoo", None, "hop"))


def route(address):
    """
    Take whatever does not begin with unknown; fail for later.
    """
    if address.startswith("unknown"):
        return UNKNOWN_RECIPIENT_550
    return NO_LIST_451 if address.startswith("later") else match(address.lower())


def begin():
    """
    Return a session whose greeting has been sent.
    """
    session = LmtpSession("mx.example", MAX_SIZE, route)
    session.data_to_send()
    return session


def talk(*pieces):
    """
    Feed the pieces, answer each message with 250; return all replies as lines, and the events.
    """
    session = begin()
    output, events = b"", []
    for piece in pieces:
        new = session.receive_data(piece)
        events += new
        while new and isinstance(new[-1], MessageEnded):
            session.send_replies([OK_250] * len(session.recipients))
            new = session.receive_data(b"")
            events += new
        output += session.data_to_send()
    return output.decode("ascii").splitlines(), events


def last(octets):
    """
    Return code and status of the last reply.
    """
    return talk(octets)[0][-1].rpartition("-")[2][:9]


def test_greeting():
    """
    The server speaks first and names itself.
    """
    session = LmtpSession("mx.example", MAX_SIZE, route)
    assert b"220 mx.example LMTP odoo-mailer\r\n" == session.data_to_send()
    assert b"" == session.data_to_send()


def test_lhlo():
    """
    LHLO is answered with everything the server can do, the last line without a dash.
    """
    lines = talk(LHLO)[0]
    assert all(line.startswith("250-") for line in lines[:-1])
    assert lines[-1].startswith("250 ")
    assert "mx.example" == lines[0][4:]
    assert {
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "SIZE 1000",
        "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
    } == {line[4:] for line in lines[1:]}


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"HELO c\r\n", "500 5.5.1"),
        (b"EHLO c\r\n", "500 5.5.1"),
        (b"ehlo c\r\n", "500 5.5.1"),
        (b"LHLO\r\n", "501 5.5.4"),
        (b"LHLO  \r\n", "501 5.5.4"),
        (b"STARTTLS\r\n", "502 5.5.1"),
        (b"BDAT 3 LAST\r\n", "502 5.5.1"),
        (b"NONSENSE\r\n", "500 5.5.2"),
        (b"\r\n", "500 5.5.2"),
        (b"\xff\xfe\r\n", "500 5.5.2"),
        (b"NOOP\r\n", "250 2.0.0"),
        (b"noop ignored\r\n", "250 2.0.0"),
        (b"RSET\r\n", "250 2.0.0"),
        (b"VRFY a@x\r\n", "252 2.0.0"),
        (b"QUIT\r\n", "221 2.0.0"),
        (b"MAIL FROM:<s@y>\r\n", "503 5.5.1"),
        (b"RCPT TO:<a@x>\r\n", "503 5.5.1"),
        (b"DATA\r\n", "503 5.5.1"),
        (b"XFORWARD NAME=c\r\n", "503 5.5.1"),
        (LHLO + b"RCPT TO:<a@x>\r\n", "503 5.5.1"),
        (LHLO + b"DATA\r\n", "503 5.5.1"),
        (LHLO + b"XFORWARD NAME=c PORT=1\r\n", "250 2.0.0"),
        (MAIL, "250 2.1.0"),
        (LHLO + b"mail from:<s@y>\r\n", "250 2.1.0"),
        (LHLO + b"MAIL FROM: <s@y>\r\n", "250 2.1.0"),
        (LHLO + b"MAIL FROM:<>\r\n", "250 2.1.0"),
        (LHLO + b"MAIL FROM:<\xc3\xa9@y> SMTPUTF8\r\n", "250 2.1.0"),
        (LHLO + b"MAIL FROM:<s@y> SIZE=1000 BODY=8BITMIME\r\n", "250 2.1.0"),
        (LHLO + b"MAIL FROM:<s@y> size=0 body=7bit smtputf8\r\n", "250 2.1.0"),
        (LHLO + b"MAIL\r\n", "501 5.1.3"),
        (LHLO + b"MAIL <s@y>\r\n", "501 5.1.3"),
        (LHLO + b"MAIL TO:<s@y>\r\n", "501 5.1.3"),
        (LHLO + b"MAIL FROM:s@y\r\n", "501 5.1.3"),
        (LHLO + b"MAIL FROM:<s@y>SIZE=1\r\n", "501 5.1.3"),
        (LHLO + b"MAIL FROM:<s@y>\nRCPT TO:<a@x>\r\n", "501 5.1.3"),
        (LHLO + b"MAIL FROM:<s@y> SIZE=1001\r\n", "552 5.3.4"),
        (LHLO + b"MAIL FROM:<s@y> SIZE=\r\n", "501 5.5.4"),
        (LHLO + b"MAIL FROM:<s@y> SIZE=-1\r\n", "501 5.5.4"),
        (LHLO + b"MAIL FROM:<s@y> SIZE=" + b"9" * 1000 + b"\r\n", "501 5.5.4"),
        (LHLO + b"MAIL FROM:<s@y> BODY=BINARYMIME\r\n", "501 5.5.4"),
        (LHLO + b"MAIL FROM:<s@y> BODY\r\n", "501 5.5.4"),
        (LHLO + b"MAIL FROM:<s@y> RET=FULL\r\n", "555 5.5.4"),
        (LHLO + b"MAIL FROM:<s@y> AUTH=<>\r\n", "555 5.5.4"),
        (MAIL + b"MAIL FROM:<s@y>\r\n", "503 5.5.1"),
        (MAIL + b"XFORWARD NAME=c\r\n", "503 5.5.1"),
        (RCPT, "250 2.1.5"),
        (MAIL + b"rcpt to: <a@x>\r\n", "250 2.1.5"),
        (MAIL + b"RCPT TO:<unknown@x>\r\n", "550 5.1.1"),
        (MAIL + b"RCPT TO:<later@x>\r\n", "451 4.3.0"),
        (MAIL + b"RCPT TO:a@x\r\n", "501 5.1.3"),
        (MAIL + b"RCPT <a@x>\r\n", "501 5.1.3"),
        (MAIL + b"RCPT TO:<a@x> NOTIFY=NEVER\r\n", "555 5.5.4"),
        (MAIL + b"DATA\r\n", "503 5.5.1"),
        (MAIL + b"RCPT TO:<unknown@x>\r\nDATA\r\n", "503 5.5.1"),
        (RCPT + b"DATA now\r\n", "501 5.5.4"),
        (RCPT + b"RSET\r\nDATA\r\n", "503 5.5.1"),
        (RCPT + b"RSET\r\nMAIL FROM:<s@y>\r\nDATA\r\n", "503 5.5.1"),
        (RCPT + LHLO + b"DATA\r\n", "503 5.5.1"),
        (RCPT + b"DATA\r\n.\r\nDATA\r\n", "503 5.5.1"),
    ],
)
def test_replies(octets, reply):
    """
    Each command has the reply of its standard.
    """
    assert reply == last(octets)


def test_data_is_announced():
    """
    354 has no enhanced status code.
    """
    assert "354 End data with <CR><LF>.<CR><LF>" == talk(RCPT + b"DATA\r\n")[0][-1]


def test_commands_may_come_all_at_once():
    """
    Postfix sends MAIL, every RCPT and DATA in one write; the replies keep their order.
    """
    stream = MAIL + b"RCPT TO:<a@x>\r\nRCPT TO:<unknown@x>\r\nRCPT TO:<B@x>\r\nDATA\r\n"
    lines, events = talk(stream)
    assert ["250", "250", "550", "250", "354"] == [line[:3] for line in lines[-5:]]
    assert [MessageStarted(Envelope("s@y", (match("a@x"), match("b@x"))))] == events


def test_several_transactions_and_quit_in_one_write():
    """
    What is sent behind a message is read once the message is answered.
    """
    message = b"MAIL FROM:<s@y>\r\nRCPT TO:<a@x>\r\nDATA\r\nhi\r\n.\r\n"
    lines, events = talk(LHLO + message + message + b"QUIT\r\nNOOP\r\n")
    assert ["250", "250", "354", "250"] * 2 + ["221"] == [line[:3] for line in lines[-9:]]
    assert SessionClosed() == events[-1]


def test_one_recipient_may_be_named_twice():
    """
    Each accepted RCPT counts, for each is owed a reply.
    """
    session = begin()
    session.receive_data(RCPT + b"RCPT TO:<a@x>\r\n")
    assert [match("a@x"), match("a@x")] == list(session.recipients)


def test_a_thousand_recipients():
    """
    The thousandth recipient is taken, one more is for another transaction.
    """
    rcpts = [b"RCPT TO:<a%d@x>\r\n" % number for number in range(MAX_RECIPIENTS + 2)]
    session = begin()
    session.receive_data(MAIL + b"".join(rcpts))
    replies = session.data_to_send().splitlines()[-len(rcpts) :]
    assert {b"250 2.1.5 Recipient ok"} == set(replies[:-2])
    assert [b"452 4.5.3 Too many recipients"] * 2 == replies[-2:]
    assert 1000 == MAX_RECIPIENTS == len(session.recipients)


@pytest.mark.parametrize(
    ("xforward", "queue_id"),
    [
        (b"XFORWARD IDENT=4XyZ1q0b2zN\r\n", "4XyZ1q0b2zN"),
        (b"XFORWARD NAME=c ADDR=1.2.3.4 ident=AB12 SOURCE=REMOTE\r\n", "AB12"),
        (b"xforward NAME=c\r\nXFORWARD IDENT=AB12\r\n", "AB12"),
        (b"XFORWARD IDENT=AB12\r\nXFORWARD PROTO=ESMTP\r\n", "AB12"),
        (b"XFORWARD IDENT=[UNAVAILABLE]\r\n", ""),
        (b"XFORWARD IDENT=\r\n", ""),
        (b"XFORWARD IDENT\r\n", ""),
        (b"XFORWARD IDENT=" + b"A" * 65 + b"\r\n", ""),
        (b"XFORWARD IDENT=A\xc3\xa9\r\n", ""),
        (b"XFORWARD IDENT=AB12\r\nRSET\r\n", ""),
        (b"XFORWARD IDENT=AB12\r\nLHLO c\r\n", ""),
        (b"", ""),
    ],
)
def test_xforward_ident(xforward, queue_id):
    """
    The queue id of the transaction is Postfix's, where it tells a sound one.
    """
    stream = LHLO + xforward + b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n"
    assert [MessageStarted(Envelope("", (match("a@x"),), queue_id))] == talk(stream)[1]


def test_the_queue_id_is_of_one_transaction():
    """
    The next message of the connection does not inherit it.
    """
    message = b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n.\r\n"
    events = talk(LHLO + b"XFORWARD IDENT=AB12\r\n" + message + message)[1]
    started = [event for event in events if isinstance(event, MessageStarted)]
    assert ["AB12", ""] == [event.envelope.queue_id for event in started]


def test_the_longest_line_is_taken():
    """
    2,048 octets are a command, one more is too long, and the session goes on.
    """
    assert "250 2.0.0" == last(b"NOOP " + b"x" * (MAX_LINE - 5) + b"\r\n")
    lines = talk(b"NOOP " + b"x" * (MAX_LINE - 4) + b"\r\nNOOP\r\n")[0]
    assert ["500 5.5.2", "250 2.0.0"] == [line[:9] for line in lines]


def test_the_longest_line_may_come_in_pieces():
    """
    Its CR may come before its LF.
    """
    assert ["250 2.0.0 Ok"] == talk(b"NOOP " + b"x" * (MAX_LINE - 5) + b"\r", b"\n")[0]


def test_an_endless_line_takes_no_memory():
    """
    A line that is too long is dropped as it comes, and gets one reply.
    """
    pieces = [b"x" * MAX_LINE] * 50 + [b"x\r", b"x\r\r", b"\nNOOP\r\n"]
    assert ["500 5.5.2", "250 2.0.0"] == [line[:9] for line in talk(*pieces)[0]]


def test_too_many_errors_end_the_session():
    """
    After fifty faults the client is told to go, and nothing more is read.
    """
    lines, events = talk(b"FOO\r\n" * (MAX_ERRORS + 5) + b"NOOP\r\n")
    assert ["500"] * MAX_ERRORS + ["421"] == [line[:3] for line in lines]
    assert [SessionClosed()] == events


def test_a_message_forgives_errors():
    """
    A connection that delivers mail is not closed for faults long ago.
    """
    message = b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n.\r\n"
    assert [] == [
        event
        for event in talk(LHLO + (b"FOO\r\n" * MAX_ERRORS + message) * 3)[1]
        if isinstance(event, SessionClosed)
    ]


@pytest.mark.parametrize("reply", [TIMEOUT_421, SHUTTING_DOWN_421])
def test_a_closed_session_says_so_and_reads_no_more(reply):
    """
    The server can end the session with a last reply, at any time.
    """
    session = begin()
    session.receive_data(RCPT + b"DATA\r\nhalf a mess")
    session.data_to_send()
    session.close(reply)
    assert [] == session.receive_data(b"age\r\n.\r\nNOOP\r\n")
    assert reply.line() == session.data_to_send()


@given(STREAMS | st.binary(), st.lists(st.integers(0, 5000), max_size=5))
@example(b"x" * MAX_LINE + b"\r\n", [MAX_LINE + 1])
@example(b"x" * (MAX_LINE + 1) + b"\r\n", [MAX_LINE, MAX_LINE + 1, MAX_LINE + 2])
def test_cutting_the_commands_changes_nothing(stream, places):
    """
    Any octets have the same replies in any pieces, and nothing is raised.
    """
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    whole_lines, whole_events = talk(stream)
    cut_lines, cut_events = talk(*pieces)
    assert whole_lines == cut_lines
    assert [type(e) for e in whole_events if not hasattr(e, "data")] == [
        type(e) for e in cut_events if not hasattr(e, "data")
    ]
