"""
Tests for mailer.lmtp and mailer.lmtp_events: message data.
"""

from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailer.alias_table import Entry, Match
from mailer.lmtp import LmtpSession
from mailer.lmtp_events import (
    MessageData,
    MessageDiscarded,
    MessageEnded,
    MessageRefused,
    MessageStarted,
)
from mailer.reply import (
    MAIL_LOOP_554,
    MESSAGE_TOO_LARGE_552,
    OK_250,
    UNREACHABLE_451,
    Reply,
)

MAX_SIZE = 1000
BEGIN = b"LHLO c\r\nMAIL FROM:<s@y>\r\nRCPT TO:<a@x>\r\nDATA\r\n"
SIMPLE = b"MAIL FROM:<s@y>\r\nRCPT TO:<a@x>\r\nDATA\r\nhi\r\n.\r\n"
OCTETS = st.text(st.sampled_from("\r\n..\x00a\xe9"), max_size=40).map(lambda t: t.encode("latin-1"))
PLACES = st.lists(st.integers(0, 200), max_size=6)


def route(address):
    """
    Take every address.
    """
    return Match(address, Entry("odoo", None, "hop"))


def begin(octets=BEGIN, max_size=MAX_SIZE):
    """
    Return a session that was sent the octets, its replies so far dropped.
    """
    session = LmtpSession("mx.example", max_size, route)
    session.receive_data(octets)
    session.data_to_send()
    return session


def stuffed(message):
    """
    Return the message as a client sends it, with its end of data.

    RFC 5321 4.5.2: the end needs a CRLF before its dot, which belongs to the message.
    """
    lines = [b"." + line if line.startswith(b".") else line for line in message.split(b"\r\n")]
    return b"\r\n".join(lines) + (b"" if message.endswith(b"\r\n") else b"\r\n") + b".\r\n"


def cut(stream, places):
    """
    Return the stream in pieces, cut at the places.
    """
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(edges)]


def joined(events):
    """
    Return the events with consecutive data as one, and without data that was discarded.
    """
    result = []
    for event in events:
        if isinstance(event, MessageDiscarded) and result and isinstance(result[-1], MessageData):
            result.pop()
        if isinstance(event, MessageData) and result and isinstance(result[-1], MessageData):
            event = MessageData(result.pop().data + event.data)
        result.append(event)
    return result


def converse(session, pieces, reply=OK_250):
    """
    Feed the pieces, answer whatever is owed; return the octets sent and the joined events.
    """
    events = []
    for piece in pieces:
        new = session.receive_data(piece)
        events += new
        while new and isinstance(new[-1], MessageEnded):
            session.send_replies([reply] * len(session.recipients))
            new = session.receive_data(b"")
            events += new
    return session.data_to_send(), joined(events)


def message_of(*pieces):
    """
    Return the message that data gives, None if it did not end.
    """
    events = converse(begin(), pieces)[1]
    if not events or events[-1] != MessageEnded():
        return None
    return b"".join(event.data for event in events if isinstance(event, MessageData))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"hi\r\n.\r\n", b"hi\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n.\r\n", b"..\r\n"),
        (b".hi\r\n.\r\n", b"hi\r\n"),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
        (b"a.\r\nb..\r\n.\r\n", b"a.\r\nb..\r\n"),
        (b"..\r\n..\r\n.\r\n", b".\r\n.\r\n"),
        (b"\x00\xff\x80\r\n.\r\n", b"\x00\xff\x80\r\n"),
        (b"a\nb\rc\r\n.\r\n", b"a\nb\rc\r\n"),
        (b"\r\r\n.\r\n", b"\r\r\n"),
    ],
)
def test_dots_are_unstuffed(data, message):
    """
    One dot at the beginning of a line goes, every other octet stays.
    """
    assert message == message_of(data)
    assert message == message_of(*(data[i : i + 1] for i in range(len(data))))


@pytest.mark.parametrize(
    "smuggled",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r",
        b"\n.\r",
        b"\r.\n",
        b"\r\n.\r\r\n",
        b"\r\r\n.\n",
        b"\r\r\n.\r\r\n",
        b"\r\n\n.\r\n",
        b"\r\n\r.\r\n",
        b"\r\n.\x00\r\n",
        b"\r\n\x00.\r\n",
        b"\r\n. \r\n",
        b"\r\n.\n\r\n",
        b"\n\n.\r\n\n",
        b"\r\r.\r\r",
        b"\n\r.\n\r",
        b"\r\n..\r\n",
    ],
)
def test_only_crlf_dot_crlf_ends_a_message(smuggled):
    """
    No other line ends around a dot let a second message in (SMTP smuggling).
    """
    inner = b"MAIL FROM:<evil@y>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
    data = b"text" + smuggled + inner
    assert message_of(data) is None
    assert message_of(data + b"\r\n.\r\n").endswith(inner + b"\r\n")
    assert [b"250 2.0.0 Ok"] == converse(begin(), [data + b"\r\n.\r\n"])[0].splitlines()


def test_cr_cr_lf_is_a_line_end_behind_a_cr():
    """
    CR CR LF ends in a CRLF: the dot behind it ends the message, and the CR belongs to it.
    """
    assert b"text\r\r\n" == message_of(b"text\r\r\n.\r\n")


def test_lf_crlf_dot_crlf_ends_a_message():
    """
    The end of data counts whatever stands before it.
    """
    assert b"text\n\r\n" == message_of(b"text\n\r\n.\r\n")


@given(st.binary() | OCTETS, PLACES)
@example(b"\r\n.\r\n.\r", [3])
@example(b".\r\n..\r\n.", [1, 2, 3, 4])
def test_any_message_comes_back(message, places):
    """
    Octets sent with stuffed dots arrive exactly as they were, 8-bit, NUL and bare ends too.
    """
    whole = message if message.endswith(b"\r\n") else message + b"\r\n"
    assert whole == message_of(*cut(stuffed(message), places))


@given(OCTETS, OCTETS, PLACES)
@example(b"a\r\n.\r", b"", [6])
def test_cutting_the_data_changes_nothing(first, second, places):
    """
    Any pieces give the same replies, message octets and events.
    """
    stream = BEGIN + first + b"\r\n.\r\n" + SIMPLE + second + b"\r\n.\r\nQUIT\r\n"
    expected = converse(begin(b""), [stream])
    assert expected == converse(begin(b""), cut(stream, places))
    assert expected == converse(begin(b""), [stream[i : i + 1] for i in range(len(stream))])


@given(OCTETS, st.integers(0, 12), PLACES)
def test_cutting_a_message_of_any_size_changes_nothing(data, max_size, places):
    """
    The limit counts the same octets however they come.
    """
    stream = BEGIN + data + b"\r\n.\r\n" + SIMPLE
    expected = converse(begin(b"", max_size), [stream])
    assert expected == converse(begin(b"", max_size), cut(stream, places))


@given(st.lists(OCTETS, max_size=6))
def test_data_is_given_at_once(pieces):
    """
    No more than four octets and their dots wait for what follows, so memory is bounded.
    """
    assume(b"\r\n.\r\n" not in b"\r\n" + b"".join(pieces))
    session, waiting = begin(), 0
    for piece in pieces:
        waiting += len(piece.replace(b".", b""))
        for event in session.receive_data(piece):
            waiting -= len(event.data.replace(b".", b""))
        assert waiting <= 4


def test_data_behind_the_command_in_one_write():
    """
    A client that does not wait for 354 is understood.
    """
    events = converse(begin(b""), [BEGIN + b"hi\r\n.\r\n"])[1]
    assert isinstance(events[0], MessageStarted)
    assert [MessageData(b"hi\r\n"), MessageEnded()] == events[1:]


def test_owed_replies_pause_reading():
    """
    Until the message is answered nothing behind it is read; the replies keep their order.
    """
    session = begin()
    assert MessageEnded() == session.receive_data(b"hi\r\n.\r\nNOOP\r\nRSET\r\n")[-1]
    assert [] == session.receive_data(b"QUIT\r\n")
    assert b"" == session.data_to_send()
    session.send_replies([UNREACHABLE_451])
    assert UNREACHABLE_451.line() == session.data_to_send()
    assert 1 == len(session.receive_data(b""))
    assert [b"250", b"250", b"221"] == [r[:3] for r in session.data_to_send().splitlines()]


def test_each_recipient_gets_its_own_reply():
    """
    The replies go out one a line, in the order of the RCPTs.
    """
    session = begin(BEGIN.replace(b"DATA", b"RCPT TO:<b@x>\r\nRCPT TO:<a@x>\r\nDATA"))
    session.receive_data(b"hi\r\n.\r\n")
    replies = [OK_250, Reply(550, "5.1.1", "No"), UNREACHABLE_451]
    session.send_replies(replies)
    assert b"".join(reply.line() for reply in replies) == session.data_to_send()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_there_are_as_many_replies_as_recipients(number):
    """
    Too few or too many replies are the caller's fault, and none is sent.
    """
    session = begin(BEGIN.replace(b"DATA", b"RCPT TO:<b@x>\r\nDATA"))
    session.receive_data(b".\r\n")
    with pytest.raises(ValueError, match=f"{number} replies for 2 recipients"):
        session.send_replies([OK_250] * number)
    assert b"" == session.data_to_send()


@pytest.mark.parametrize("octets", [b"LHLO c\r\n", BEGIN, BEGIN + b"hi\r\n"])
def test_replies_that_are_not_owed(octets):
    """
    A message that has not ended is not answered.
    """
    with pytest.raises(ValueError, match="replies for"):
        begin(octets).send_replies([OK_250])


@pytest.mark.parametrize("recipients", [1, 3])
def test_a_message_too_large_is_refused_once_for_each_recipient(recipients):
    """
    The client gets one 552 per accepted RCPT after the end, and may go on.
    """
    stream = BEGIN.replace(b"DATA\r\n", b"RCPT TO:<b@x>\r\n" * (recipients - 1) + b"DATA\r\n")
    session = begin(stream)
    events = session.receive_data(b"x" * 600) + session.receive_data(b"x" * 600)
    assert [MessageData(b"x" * 600), MessageDiscarded()] == events
    assert b"" == session.data_to_send()
    refused = [MessageRefused((MESSAGE_TOO_LARGE_552,) * recipients)]
    assert refused == session.receive_data(b"x" * 600 + b"\r\n.\r\nNOOP\r\n")
    lines = session.data_to_send().splitlines()
    assert [b"552 5.3.4"] * recipients + [b"250 2.0.0"] == [line[:9] for line in lines]


def test_the_limit_counts_the_message_without_stuffing():
    """
    A message of exactly the limit is taken, one octet more is not.
    """
    exact = b".\r\n" * 332 + b"ab\r\n"
    assert MAX_SIZE == len(exact)
    assert exact == message_of(stuffed(exact))
    assert [b"552 5.3.4"] == [
        line[:9] for line in converse(begin(), [stuffed(b"x" + exact)])[0].splitlines()
    ]


def test_the_next_message_is_not_refused():
    """
    A refusal holds for one message.
    """
    large = BEGIN + b"x" * 2000 + b"\r\n.\r\n"
    output, events = converse(begin(b""), [large + SIMPLE])
    assert [b"552", b"250", b"250", b"354", b"250"] == [
        line[:3] for line in output.splitlines()[-5:]
    ]
    assert [MessageData(b"hi\r\n"), MessageEnded()] == events[-2:]


def test_the_server_may_refuse_a_message_that_comes_in():
    """
    A refused message is read to its end and answered for each recipient by the session.
    """
    session = begin(BEGIN.replace(b"DATA", b"RCPT TO:<b@x>\r\nDATA"))
    session.receive_data(b"hi")
    session.refuse_message(MAIL_LOOP_554)
    refused = [MessageRefused((MAIL_LOOP_554,) * 2)]
    assert refused == session.receive_data(b"x" * 2000 + b"\r\n.\r\n")
    assert MAIL_LOOP_554.line() * 2 == session.data_to_send()
    assert [] == list(session.recipients)
