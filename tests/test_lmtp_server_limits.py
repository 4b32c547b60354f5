"""
Tests for mailer.lmtp_server: clients that are slow, or do not read.
"""

import pytest
from twisted.internet.testing import StringTransportWithDisconnection

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.lmtp_server import (
    COMMAND_TIMEOUT,
    DATA_TIMEOUT,
    MESSAGE_TIMEOUT,
    SESSION_TIMEOUT,
    LmtpFactory,
)
from mailer.reply import OK_250, TIMEOUT_421

LIST = AliasList(transport={"a@example.com": ""})
START = b"LHLO mx\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nDATA\r\n"


class Office:
    """
    A factory with one connection, whose delivery waits for the test.
    """

    def __init__(self, fakes, folder):
        self.clock = fakes.Reactor()
        metrics, self.value = fakes.make_metrics()
        self.factory = LmtpFactory(
            fakes.make_directory(ServerList("odoo", LIST)),
            self,
            metrics,
            self.clock,
            "mail.example.com",
            50_000_000,
            str(folder),
        )
        self.delivery = fakes.Deferred()
        self.connection = fakes.Connection(self.factory, StringTransportWithDisconnection())
        self.send = self.connection.send
        self.transport = self.connection.transport

    def refusal(self, server):
        """
        Stand for ``Deliverer.refusal``.
        """

    async def deliver(self, envelope, spool):
        """
        Stand for ``Deliverer.deliver``.
        """
        await self.delivery
        return [OK_250] * len(envelope.recipients)

    @property
    def reading(self):
        """Whether the client is read from."""
        return self.transport.producerState == "producing"


@pytest.fixture
def office(fakes, tmp_path):
    """
    A factory with one connection.
    """
    return Office(fakes, tmp_path)


def test_a_command_in_dribbles_gains_no_time(office):
    """
    A client that sends an octet now and then is dropped like one that says nothing.
    """
    for _ in range(COMMAND_TIMEOUT // 10):
        assert office.transport.connected
        office.send(b"N")
        office.clock.advance(10)
    assert TIMEOUT_421.line() == office.send(b"")[-len(TIMEOUT_421.line()) :]
    assert not office.transport.connected


def test_whole_commands_gain_time_up_to_the_end_of_the_session(office):
    """
    Nobody holds a connection for ever by saying NOOP.
    """
    for _ in range(SESSION_TIMEOUT // 100):
        assert office.transport.connected
        office.send(b"NOOP\r\n")
        office.clock.advance(100)
    assert not office.transport.connected


def test_a_message_in_pieces_has_time(office):
    """
    A slow line is served as long as something comes.
    """
    office.send(START)
    for _ in range(5):
        office.clock.advance(DATA_TIMEOUT - 1)
        office.send(b"text\r\n")
    office.send(b".\r\n")
    office.delivery.callback(None)
    assert OK_250.line() == office.send(b"")


@pytest.mark.parametrize("begun", [b"", b"text\r\n"])
def test_a_message_that_stops_is_dropped(office, begun):
    """
    421 4.4.2 after three minutes without an octet.
    """
    office.send(START + begun)
    office.clock.advance(DATA_TIMEOUT - 1)
    assert office.transport.connected
    office.clock.advance(1)
    assert TIMEOUT_421.line() == office.send(b"")
    assert not office.transport.connected
    assert office.value("lmtp_messages_total", result="interrupted") == 1


def test_a_message_in_dribbles_has_an_end(office):
    """
    However small the pieces, half an hour is enough.
    """
    office.send(START)
    for _ in range(MESSAGE_TIMEOUT // 60):
        assert office.transport.connected
        office.send(b"x")
        office.clock.advance(60)
    assert not office.transport.connected


def test_the_time_of_a_delivery_is_nobody_s_fault(office):
    """
    After a long delivery the client has its time for the next command.
    """
    office.send(START + b"text\r\n.\r\n")
    office.clock.advance(MESSAGE_TIMEOUT)
    office.delivery.callback(None)
    office.clock.advance(0)
    assert OK_250.line() == office.send(b"")
    office.clock.advance(COMMAND_TIMEOUT - 1)
    assert office.transport.connected
    office.clock.advance(1)
    assert not office.transport.connected


def test_a_client_that_does_not_read_is_not_read_from(office):
    """
    Its commands wait with it, and cost no memory here.
    """
    office.transport.producer.pauseProducing()
    assert not office.reading
    office.transport.producer.resumeProducing()
    assert office.reading


def test_room_for_replies_is_no_end_of_a_delivery(office):
    """
    While Odoo is asked nothing is read, whatever becomes of the replies before it.
    """
    office.send(START + b"text\r\n.\r\n")
    office.transport.producer.pauseProducing()
    office.transport.producer.resumeProducing()
    assert not office.reading
    office.delivery.callback(None)
    office.clock.advance(0)
    assert office.reading


def test_the_end_of_a_delivery_is_no_room_for_replies(office):
    """
    A client that did not read before is not read from after, until it reads.
    """
    office.send(START + b"text\r\n.\r\n")
    office.transport.producer.pauseProducing()
    office.delivery.callback(None)
    office.clock.advance(0)
    assert not office.reading
    office.transport.producer.resumeProducing()
    assert office.reading


def test_the_last_reply_closes(office):
    """
    Nothing holds the connection once everything is written.
    """
    office.send(b"QUIT\r\n")
    assert office.transport.producer is None
    assert not office.transport.connected
