"""
Tests for mailer.lmtp_server: from the greeting to the replies.
"""

import pytest

from mailer.alias_list import AliasList
from mailer.alias_table import Removed, ServerList
from mailer.lmtp_server import COMMAND_TIMEOUT, LmtpFactory
from mailer.reply import OK_250, UNKNOWN_RECIPIENT_550, UNREACHABLE_451, Reply

LIST = AliasList(transport={f"{name}@example.com": "" for name in ("a", "b", "c")})
LHLO = b"LHLO mx.example.com\r\n"
MAIL = b"MAIL FROM:<s@example.org>\r\n"
BODY = b"Subject: x\r\n\r\ntext\r\n"


def rcpts(*names):
    """
    Return the RCPT commands for these local parts.
    """
    return b"".join(b"RCPT TO:<%b@example.com>\r\n" % name.encode() for name in names)


def message(*names, body=BODY):
    """
    Return one whole transaction.
    """
    return MAIL + rcpts(*names) + b"DATA\r\n" + body + b".\r\n"


def codes(received):
    """
    Return the codes of the reply lines.
    """
    return [int(line[:3]) for line in received.splitlines()]


class FakeDeliverer:
    """
    Stands for ``Deliverer``: notes what it gets, answers when it is told.
    """

    def __init__(self, deferred_class):
        self._deferred_class = deferred_class
        self.envelopes = []
        self.messages = []
        self.waiting = []
        self.at_once = True
        self.refusals = {}

    def refusal(self, server):
        return self.refusals.get(server)

    async def deliver(self, envelope, spool):
        self.envelopes.append(envelope)
        self.messages.append(spool.read(0, spool.size))
        if not self.at_once:
            waiting = self._deferred_class()
            self.waiting.append(waiting)
            await waiting
        return [OK_250] * len(envelope.recipients)

    def finish(self):
        """
        End the oldest delivery.
        """
        self.waiting.pop(0).callback(None)


class Office:
    """
    A factory and what it works with.
    """

    def __init__(self, fakes, folder):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.metrics, self.value = fakes.make_metrics()
        self.deliverer = FakeDeliverer(fakes.Deferred)
        self.directory = fakes.make_directory(
            ServerList("odoo", LIST, {"old@example.com": Removed(fakes.NOW - 10, "")}), grace=100.0
        )
        self.factory = LmtpFactory(
            self.directory,
            self.deliverer,
            self.metrics,
            self.clock,
            "mail.example.com",
            10_000_000,
            str(folder),
        )

    def connect(self):
        """
        Connect and say LHLO.
        """
        connection = self.fakes.Connection(self.factory)
        connection.send(LHLO)
        return connection

    def settle(self):
        """
        Let what was put off to the next turn of the reactor happen.
        """
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)


@pytest.fixture
def office(fakes, tmp_path):
    """
    A factory with three addresses, whose deliveries succeed.
    """
    return Office(fakes, tmp_path)


def test_greeting_and_extensions(office, fakes):
    """
    The greeting comes unasked, LHLO announces what is supported.
    """
    connection = fakes.Connection(office.factory)
    assert connection.received() == b"220 mail.example.com LMTP odoo-mailer\r\n"
    lines = connection.send(LHLO).decode().splitlines()
    announced = {line[4:].split()[0] for line in lines[1:]}
    assert {
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "SIZE",
        "XFORWARD",
    } == announced
    assert "250 SIZE 10000000" in lines


def test_as_many_replies_as_recipients(office):
    """
    After the dot each accepted RCPT has its own reply, repeated ones too.
    """
    connection = office.connect()
    received = connection.send(message("a", "b", "a"))
    assert [250, 250, 250, 250, 354, 250, 250, 250] == codes(received)
    (envelope,) = office.deliverer.envelopes
    addresses = [match.address for match in envelope.recipients]
    assert ["a@example.com", "b@example.com", "a@example.com"] == addresses
    assert [BODY] == office.deliverer.messages


def test_replies_come_only_after_the_delivery(office):
    """
    Nothing is answered before Odoo has.
    """
    office.deliverer.at_once = False
    connection = office.connect()
    assert [250, 250, 354] == codes(connection.send(message("a")))
    office.clock.advance(COMMAND_TIMEOUT + 1)
    assert connection.received() == b""
    office.deliverer.finish()
    assert OK_250.line() == connection.received()


def test_an_unknown_recipient_is_refused_at_rcpt(office):
    """
    An address that Odoo does not know gets 550, and has no reply after the dot.
    """
    received = office.connect().send(message("a", "nobody"))
    assert [250, 250, 550, 354, 250] == codes(received)
    assert UNKNOWN_RECIPIENT_550.line() in received
    assert office.value("lmtp_recipients_total", code="550") == 1


def test_without_a_list_a_recipient_is_temporary(office, fakes):
    """
    As long as no list was loaded RCPT gets 451 4.3.0.
    """
    office.factory.directory = fakes.make_directory(ServerList("odoo", None))
    received = office.connect().send(MAIL + rcpts("a"))
    assert received.splitlines()[1].startswith(b"451 4.3.0 ")


def test_a_removed_address_is_taken_during_its_grace_time(office):
    """
    Mail for it may still be in Postfix's queue.
    """
    connection = office.connect()
    assert [250, 250] == codes(connection.send(MAIL + rcpts("old")))
    office.clock.advance(90)
    assert [550] == codes(connection.send(rcpts("old")))


def test_extension_and_case_are_gone_behind_rcpt(office):
    """
    Odoo sees the address as the list has it.
    """
    office.connect().send(message("A+sales"))
    (envelope,) = office.deliverer.envelopes
    assert [match.address for match in envelope.recipients] == ["a@example.com"]


def test_several_hundred_messages_in_one_chunk(office):
    """
    However much is pipelined, the replies are in order and nothing recurses.
    """
    connection = office.connect()
    bodies = [b"Subject: %d\r\n\r\n" % n for n in range(2000)]
    received = connection.send(b"".join(message("a", body=body) for body in bodies) + b"QUIT\r\n")
    office.settle()
    received += connection.received()
    assert [250, 250, 354, 250] * 2000 + [221] == codes(received)
    assert bodies == office.deliverer.messages
    assert connection.transport.disconnecting


def test_what_is_pipelined_during_a_delivery_waits(office):
    """
    Commands that come during a delivery are answered after it.
    """
    office.deliverer.at_once = False
    connection = office.connect()
    connection.send(message("a"))
    assert connection.transport.producerState == "paused"
    assert connection.send(b"NOOP\r\nQUIT\r\n") == b""
    office.deliverer.finish()
    office.settle()
    assert connection.transport.producerState == "producing"
    assert [250, 250, 221] == codes(connection.received())


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_octets_may_come_in_pieces(office, size):
    """
    However the stream is cut, the message is the same.
    """
    connection = office.connect()
    stream = message("a", body=b"Subject: x\r\n\r\n..dot\r\n\xff\x00\r\n")
    received = b"".join(connection.send(stream[i : i + size]) for i in range(0, len(stream), size))
    assert [250, 250, 354, 250] == codes(received)
    assert [b"Subject: x\r\n\r\n.dot\r\n\xff\x00\r\n"] == office.deliverer.messages


def test_a_message_that_is_too_large_is_refused_for_each_recipient(office):
    """
    552 for everyone, nothing delivered, and the next message is taken.
    """
    office.factory.max_message_size = 1000
    connection = office.connect()
    received = connection.send(message("a", "b", body=b"x" * 2000 + b"\r\n") + message("c"))
    assert [250, 250, 250, 354, 552, 552, 250, 250, 354, 250] == codes(received)
    assert [BODY] == office.deliverer.messages


def test_a_new_limit_holds_for_new_connections(office):
    """
    The limit may be rebound by a reload.
    """
    office.factory.max_message_size = 1234
    connection = office.fakes.Connection(office.factory)
    assert b"SIZE 1234\r\n" in connection.send(LHLO)


def test_xforward_names_the_queue_id(office):
    """
    Postfix's queue id is in the envelope.
    """
    office.connect().send(b"XFORWARD IDENT=4QUEUE\r\n" + message("a"))
    assert [envelope.queue_id for envelope in office.deliverer.envelopes] == ["4QUEUE"]


def test_messages_and_recipients_are_counted(office):
    """
    Result, codes and size are in the metrics.
    """
    office.connect().send(message("a", "b", "nobody"))
    assert office.value("lmtp_messages_total", result="delivered") == 1
    assert office.value("lmtp_recipients_total", code="250") == 2
    assert office.value("message_size_bytes_sum") == len(BODY)


def test_a_message_that_is_too_large_is_counted(office):
    """
    As refused, with its code for each recipient.
    """
    office.factory.max_message_size = 1000
    office.connect().send(message("a", "b", body=b"x" * 2000 + b"\r\n"))
    assert office.value("lmtp_messages_total", result="refused") == 1
    assert office.value("lmtp_recipients_total", code="552") == 2


def test_each_recipient_has_the_reply_of_the_deliverer(office):
    """
    The replies are written as they are given, in order.
    """

    async def deliver(envelope, spool):
        return [Reply(250, "2.0.0", "one"), Reply(550, "5.1.1", "two")]

    office.deliverer.deliver = deliver
    received = office.connect().send(message("a", "b"))
    assert received.endswith(b"250 2.0.0 one\r\n550 5.1.1 two\r\n")
    assert office.value("lmtp_messages_total", result="mixed") == 1


def test_lookups_are_answered_between_deliveries_that_end_together(office, monkeypatch):
    """
    What is to be read first is read before each reply.
    """
    sent = []
    office.deliverer.at_once = False
    connections = [office.connect() for _ in range(2)]
    for connection in connections:
        connection.send(message("a"))
    monkeypatch.setattr(
        office.factory.quick_reader,
        "give_way",
        lambda: sent.append([codes(connection.received()) for connection in connections]),
    )
    office.deliverer.finish()
    office.deliverer.finish()
    assert [[[], []], [[250], []]] == sent


def test_a_server_that_is_down_is_told_before_the_message(office):
    """
    The recipient is put off at RCPT, and nobody sends a large message in vain.
    """
    office.deliverer.refusals["odoo"] = UNREACHABLE_451
    connection = office.connect()
    received = connection.send(message("a"))
    assert UNREACHABLE_451.line() in received
    assert [] == office.deliverer.envelopes
    assert office.value("lmtp_recipients_total", code="451") == 1
    office.deliverer.refusals.clear()
    connection = office.connect()
    assert codes(connection.send(message("a")))[-1] == 250


def test_the_deliverer_may_be_rebound(office):
    """
    After a reload open connections deliver with the new one.
    """
    connection = office.connect()
    office.factory.deliverer = FakeDeliverer(office.fakes.Deferred)
    connection.send(message("a"))
    assert [] == office.deliverer.messages
    assert [BODY] == office.factory.deliverer.messages
