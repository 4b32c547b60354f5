"""
Tests for mailer.lmtp_server: how a session is closed whose client does not read.
"""

import pytest
from twisted.internet.testing import StringTransport

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.lmtp_server import CLOSE_TIMEOUT, COMMAND_TIMEOUT, LmtpFactory
from mailer.reply import OK_250

LIST = AliasList(transport={"a@example.com": ""})
MESSAGE = b"MAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nDATA\r\ntext\r\n.\r\n"


class Office:
    """
    A factory whose deliveries wait for the test.
    """

    def __init__(self, fakes, folder):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.metrics, self.value = fakes.make_metrics()
        self.delivery = fakes.Deferred()
        self.factory = LmtpFactory(
            fakes.make_directory(ServerList("odoo", LIST)),
            self,
            self.metrics,
            self.clock,
            "mail.example.com",
            1_000_000,
            str(folder),
        )
        # Such a transport never says that the connection is closed.
        self.connection = fakes.Connection(self.factory, StringTransport())
        self.transport = self.connection.transport
        self.connection.send(b"LHLO mx\r\n")

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

    def end(self, how):
        """
        End the session; return the code of the last reply.
        """
        if how == "quit":
            self.connection.protocol.dataReceived(b"QUIT\r\n")
        elif how == "quit after a message":
            self.connection.protocol.dataReceived(MESSAGE + b"QUIT\r\n")
            self.delivery.callback(None)
            self.clock.advance(0)
        elif how == "idle":
            self.clock.advance(COMMAND_TIMEOUT)
        elif how == "errors":
            self.connection.protocol.dataReceived(b"FOO\r\n" * 1000)
        elif how == "stop once answered":
            self.connection.protocol.dataReceived(MESSAGE)
            self.delivery.callback(None)
            self.factory.drain()
            self.clock.advance(0)
        elif how == "stop":
            self.factory.drain()
        else:
            self.connection.protocol.dataReceived(MESSAGE)
            self.factory.drain()
            self.delivery.callback(None)
        return int(self.connection.received().splitlines()[-1][:3])


@pytest.fixture
def office(fakes, tmp_path):
    """
    A factory with one connection.
    """
    office = Office(fakes, tmp_path)
    yield office
    office.connection.protocol.connectionLost()
    assert [] == office.clock.getDelayedCalls()


ENDS = pytest.mark.parametrize(
    ("how", "code"),
    [
        ("quit", 221),
        ("quit after a message", 221),
        ("idle", 421),
        ("errors", 421),
        ("stop", 421),
        ("stop once answered", 421),
        ("stop after a message", 421),
    ],
)


@ENDS
def test_a_client_that_never_reads_is_cut_off(office, how, code):
    """
    It has some seconds for the last reply, however the session ended.
    """
    assert code == office.end(how)
    assert office.transport.disconnecting
    office.clock.advance(CLOSE_TIMEOUT - 0.1)
    assert not office.transport.disconnected
    office.clock.advance(0.1)
    assert office.transport.disconnected


@ENDS
def test_what_comes_after_the_end_is_ignored(office, how, code):
    """
    It is not answered, and puts nothing off.
    """
    office.end(how)
    for _ in range(CLOSE_TIMEOUT):
        assert b"" == office.connection.send(b"NOOP\r\n" + MESSAGE)
        office.clock.advance(1)
    assert office.transport.disconnected
    assert office.value("lmtp_messages_total", result="deferred") == 0


def test_a_client_that_reads_is_not_cut_off(office):
    """
    With the connection the time limit goes.
    """
    office.end("quit")
    office.connection.protocol.connectionLost()
    office.clock.advance(CLOSE_TIMEOUT)
    assert not office.transport.disconnected
    office.connection.protocol.makeConnection(office.transport)
