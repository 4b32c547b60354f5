"""
Tests for mailer.lmtp against the model in ``lmtp_model.py``, beside this file.
"""

import re
import runpy
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mailer.lmtp import LmtpSession
from mailer.lmtp_events import (
    MessageData,
    MessageDiscarded,
    MessageEnded,
    MessageRefused,
    MessageStarted,
    SessionClosed,
)

model = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("lmtp_model.py"))))


class Server:
    """
    The session itself, and what is seen of it, as in ``Model``.

    Attributes:
        waiting: A message has ended, its replies are yet to be given.
    """

    def __init__(self):
        self._session = LmtpSession("mx.example", model.MAX_SIZE, model.route)
        self.replies = []
        self.messages = []
        self.owed = []
        self.closed = self.waiting = False
        self._envelope = self._content = None
        self._read_replies()

    def receive(self, octets):
        """
        Hand over octets.
        """
        events = self._session.receive_data(octets)
        assert [] == events or not (self.waiting or self.closed)
        for event in events:
            self._note(event)
        self._read_replies()
        if MessageEnded() in events:
            self.waiting = True
            self.owed.append(len(self.replies))

    def answer(self):
        """
        Give the replies that are owed.
        """
        recipients = self.messages[-1][0].recipients
        self._session.send_replies([model.verdict(one.address) for one in recipients])
        self.waiting = False
        self.receive(b"")

    def _note(self, event):
        match event:
            case MessageStarted(envelope):
                self._envelope, self._content = envelope, b""
            case MessageData(data):
                self._content += data
            case MessageDiscarded():
                self._content = None
            case MessageEnded():
                self.messages.append((self._envelope, self._content))
            case MessageRefused():
                assert self._content is None
                self.messages.append((self._envelope, None))
            case SessionClosed():
                self.closed = True

    def _read_replies(self):
        lines = self._session.data_to_send().split(b"\r\n")
        assert lines.pop() == b""
        for line in lines:
            assert re.fullmatch(rb"[ -~]{4,512}", line)
            if line[3:4] != b"-":
                found = re.match(rb"(\d{3})( \d\.\d+\.\d+)?", line)
                self.replies.append(found[0].decode())


def seen(one):
    """
    Return what is compared.
    """
    return one.replies, one.messages, one.owed, one.closed


LINES = st.sampled_from(sorted(model.MEANINGS.keys() - {b"QUIT", b"quit"}))
RCPTS = st.sampled_from(
    [line for line, meaning in model.MEANINGS.items() if meaning.verb == "RCPT"]
)
MAILS = st.sampled_from(
    [line for line, meaning in model.MEANINGS.items() if meaning.verb == "MAIL"]
)
# No letters, so that no garbage becomes a command with what stands behind it.
GARBAGE = st.text("\r\n.. <>@\0\x0b\xff", max_size=8).map(lambda text: text.encode("latin-1"))
TEXTS = st.lists(
    st.sampled_from(
        [b"", b"text", b"..", b"...", b".text", b". ", b"\r", b"\n.\n", b"\r.", b"\x00"]
    )
    | st.sampled_from(
        [b"NOOP", b"QUIT", b"MAIL FROM:<a@x>", b"x" * 60, b"x" * (model.MAX_LINE + 9)]
    )
    | st.binary(max_size=9).map(lambda octets: octets.replace(b"\r\n", b"")),
    max_size=5,
)
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=8)


class Conversation(RuleBasedStateMachine):
    """
    A client says things, the server reads them when and in the pieces it pleases.
    """

    def __init__(self):
        super().__init__()
        self.model, self.server = model.Model(), Server()
        self.unread = b""

    def say(self, *lines):
        """
        Send whole lines.
        """
        self.send(b"".join(line + b"\r\n" for line in lines))

    def send(self, octets):
        """
        Send octets, which the model reads at once.
        """
        self.model.receive(octets)
        self.unread += octets

    @rule(line=LINES)
    def command(self, line):
        """
        Any command, at any time.
        """
        self.say(line)

    @rule(mail=MAILS, rcpts=st.lists(RCPTS, max_size=4))
    def envelope(self, mail, rcpts):
        """
        The beginning of a transaction, with faults or without.
        """
        self.say(b"LHLO c", mail, *rcpts)

    @rule(texts=TEXTS)
    def data(self, texts):
        """
        A message without its end; whether it is one depends on what went before.
        """
        self.say(b"DATA", *texts)

    @rule(texts=TEXTS)
    def end(self, texts):
        """
        More of it, and the end.
        """
        self.say(*texts, b".")

    @rule(rcpts=st.lists(RCPTS, min_size=1, max_size=4), texts=TEXTS)
    def transaction(self, rcpts, texts):
        """
        All of it, as a good client sends it.
        """
        good = (b"LHLO c", b"XFORWARD ident=Cd5", b"MAIL FROM:<a@x> SIZE=0", b"RCPT TO:<a@x>")
        self.say(*good, *rcpts, b"DATA", *texts, b".")

    @rule(garbage=GARBAGE)
    def garbage(self, garbage):
        """
        What is none of it, and begins the next line.
        """
        self.send(garbage)

    @rule(really=st.integers(0, 19), rcpts=st.lists(RCPTS, min_size=2))
    def many_recipients(self, really, rcpts):
        """
        Seldom, for it takes long: so many that there may be too many.
        """
        count = model.MAX_RECIPIENTS - 1 if really == 19 else 1
        self.say(b"LHLO c", b"MAIL FROM:<a@x>", *[b"RCPT TO:<b@x>"] * count, *rcpts)

    @rule(really=st.integers(0, 9))
    def leave(self, really):
        """
        Seldom, for nothing is read behind it.
        """
        self.say(b"QUIT" if really == 9 else b"NOOP")

    @rule(really=st.integers(0, 19), count=st.integers(model.MAX_FAULTS - 9, model.MAX_FAULTS + 1))
    def many_faults(self, really, count):
        """
        Seldom, for the same reason.
        """
        self.say(*[b"..."] * (count if really == 19 else 1))

    @rule(sizes=SIZES)
    def read(self, sizes):
        """
        The server gets pieces; what is owed stays so.
        """
        for size in sizes:
            piece, self.unread = self.unread[:size], self.unread[size:]
            self.server.receive(piece)

    @rule()
    def read_all(self):
        """
        The server gets all at once.
        """
        piece, self.unread = self.unread, b""
        self.server.receive(piece)

    @precondition(lambda self: self.server.waiting)
    @rule()
    def answer(self):
        """
        The server answers the message that has ended.
        """
        self.server.answer()

    @invariant()
    def agree(self):
        """
        What the server has done is the beginning of what it is to do; when it has read all, all.
        """
        for ours, models in zip(seen(self.server)[:3], seen(self.model)[:3], strict=True):
            assert models[: len(ours)] == ours
        if self.server.waiting:
            assert self.server.owed[-1] == len(self.server.replies)
        elif not self.unread:
            assert seen(self.model) == seen(self.server)

    def teardown(self):
        """
        In the end everything is read and answered.
        """
        self.read_all()
        while self.server.waiting:
            self.server.answer()
        self.agree()


TestConversation = Conversation.TestCase


BEGIN = b"LHLO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\n"
STREAMS = st.lists(
    (LINES | MAILS | RCPTS).map(lambda line: line + b"\r\n")
    | GARBAGE
    | st.sampled_from(model.LONG).map(lambda line: line + b"\r\n")
    | st.sampled_from([BEGIN + b"DATA\r\n", b".\r\n"])
    | TEXTS.map(lambda texts: b"".join(text + b"\r\n" for text in texts)),
    max_size=12,
).map(b"".join)


def read(stream, places):
    """
    Return what is seen of a server that gets the stream cut at the places, and answers at once.
    """
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    server = Server()
    for start, end in pairwise(edges):
        server.receive(stream[start:end])
        while server.waiting:
            server.answer()
    return seen(server)


@given(STREAMS, st.lists(st.integers(0, 500), max_size=8))
@example(BEGIN + b"DATA\r\n.\r\n.\r\n", [50, 51, 52])
@example(BEGIN + b"DATA\r\n" + b"x" * (model.MAX_SIZE - 2) + b"\r\n.\r\n", [])
@example(BEGIN + b"DATA\r\n." + b"x" * (model.MAX_SIZE - 1) + b"\r\n.\r\n", [100])
@example(BEGIN + b"RCPT TO:<b@x>\r\n" * model.MAX_RECIPIENTS + b"DATA\r\n.\r\n", [])
@example(model.LONG[2] + b"\r\n", [model.MAX_LINE + 2])
@example(b"...\r\n" * (model.MAX_FAULTS + 1), [])
@example(b"LHLO c\r\nMAIL FROM:<a@x>\r\n" + b"DATA\r\n" * (model.MAX_FAULTS + 1), [])
def test_cutting_a_stream_changes_nothing(stream, places):
    """
    In any pieces a stream gives the replies and the messages of the model.
    """
    expected = model.Model()
    expected.receive(stream)
    assert seen(expected) == read(stream, [])
    assert seen(expected) == read(stream, places)
    assert seen(expected) == read(stream, range(len(stream)))


@given(st.lists(st.binary(max_size=9) | STREAMS, max_size=4), st.lists(st.integers(0, 500)))
def test_cutting_any_octets_changes_nothing(fakes, sites, streams, places):
    """
    The same of the server as a whole, for octets of which no model tells what they mean.
    """
    stream = b"".join(streams)
    told = []
    for pieces in ([stream], sites.cut(stream, places), sites.cut(stream, range(len(stream)))):
        site = sites.DeliverySite(fakes, odoo=["a@x", "b@x"])
        connection = site.connect()
        told.append((site.talk(connection, pieces), site.delivered))
        connection.protocol.connectionLost()
    assert told[0] == told[1] == told[2]
