"""
Tests for mailer.lmtp_server: disconnects, full disks, idle clients, the end.
"""

import os
import stat

import pytest
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.lmtp_server import COMMAND_TIMEOUT, DATA_TIMEOUT, LmtpFactory
from mailer.reply import LOCAL_ERROR_451, OK_250, SHUTTING_DOWN_421, TIMEOUT_421
from mailer.spool import MAX_MEMORY

LIST = AliasList(transport={"a@example.com": "", "b@example.com": ""})
START = b"LHLO mx\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
BIG = (b"x" * 70 + b"\r\n") * (MAX_MEMORY // 60)


class Office:
    """
    A factory whose deliveries wait for the test.
    """

    def __init__(self, fakes, folder, keep_interrupted=False):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.metrics, self.value = fakes.make_metrics()
        self.waiting = []
        self.spools = []
        self.connections = []
        self.factory = LmtpFactory(
            fakes.make_directory(ServerList("odoo", LIST)),
            self,
            self.metrics,
            self.clock,
            "mail.example.com",
            50_000_000,
            str(folder),
            keep_interrupted,
        )

    def refusal(self, server):
        """
        Stand for ``Deliverer.refusal``.
        """

    async def deliver(self, envelope, spool):
        """
        Stand for ``Deliverer.deliver``.
        """
        self.spools.append(spool)
        waiting = self.fakes.Deferred()
        self.waiting.append(waiting)
        await waiting
        spool.read(0, 10)  # the spool has to be there to the end
        return [OK_250] * len(envelope.recipients)

    def finish(self):
        """
        End the oldest delivery.
        """
        self.waiting.pop(0).callback(None)

    def connect(self, *data):
        """
        Connect and send; what is received is left out.
        """
        connection = self.fakes.Connection(self.factory, StringTransportWithDisconnection())
        self.connections.append(connection)
        for piece in data:
            connection.send(piece)
        return connection

    def close(self):
        """
        End what the test has left.
        """
        while self.waiting:
            self.finish()
        for connection in self.connections:
            if connection.transport.connected:
                connection.transport.loseConnection()


@pytest.fixture
def make_office(fakes, tmp_path):
    """
    Makes factories whose deliveries wait for the test.
    """
    offices = []

    def make(folder=tmp_path, **options):
        offices.append(Office(fakes, folder, **options))
        return offices[-1]

    yield make
    for office in offices:
        office.close()


@pytest.fixture
def office(make_office):
    """
    A factory with the test's own folder.
    """
    return make_office()


def spool_descriptors(folder):
    """
    Return the descriptors of the unlinked files of a folder.
    """
    links = {int(name): os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")}
    return [
        number
        for number, link in links.items()
        if os.path.islink(link) and os.readlink(link).startswith(f"{folder}/")
    ]


def codes(received):
    """
    Return the codes of the reply lines.
    """
    return [int(line[:3]) for line in received.splitlines()]


def failures(logged):
    """
    Return what was logged as our own failure.
    """
    return [event["log_failure"] for event in logged if event.get("log_failure")]


def test_a_client_that_leaves_during_the_delivery_changes_nothing(office, logged):
    """
    The delivery ends as if it were there, nothing is written and nothing raised.
    """
    connection = office.connect(START + b"text\r\n.\r\n")
    connection.transport.loseConnection()
    assert office.value("lmtp_connections") == 0
    office.finish()
    office.clock.advance(1)
    assert connection.received() == b""
    assert [] == failures(logged)
    assert office.clock.getDelayedCalls() == []


def test_a_client_that_leaves_right_after_the_reply_changes_nothing(office, logged):
    """
    What was put off to the next turn finds the connection gone.
    """
    connection = office.connect(START + b"text\r\n.\r\n")
    office.finish()
    connection.transport.loseConnection()
    office.clock.advance(1)
    assert [] == failures(logged)
    assert office.clock.getDelayedCalls() == []


def test_an_interrupted_message_is_dropped(office, tmp_path):
    """
    A disconnect in the middle of DATA delivers nothing and leaves no file.
    """
    connection = office.connect(START, BIG)
    connection.transport.loseConnection()
    assert [] == office.spools
    assert [] == os.listdir(tmp_path)
    assert office.value("lmtp_messages_total", result="interrupted") == 1


@pytest.mark.parametrize("body", [b"Subject: x\r\n\r\n..half\r\n", BIG])
def test_an_interrupted_message_is_kept_on_demand(make_office, tmp_path, body):
    """
    With keep_interrupted what had come is in the folder, readable by its owner alone.
    """
    office = make_office(keep_interrupted=True)
    connection = office.connect(START, body)
    connection.transport.loseConnection()
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("interrupted-")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    # The last line end may begin the end of data.
    assert body.replace(b"\r\n..", b"\r\n.").startswith(kept.read_bytes())
    assert kept.stat().st_size >= len(body) - 5


def test_an_interrupted_message_that_cannot_be_kept_is_only_logged(make_office, tmp_path, logged):
    """
    A folder that is gone raises nothing.
    """
    office = make_office(tmp_path / "gone", keep_interrupted=True)
    office.connect(START, b"half\r\n").transport.loseConnection()
    assert any("cannot be kept" in event["log_format"] for event in logged)
    assert [] == failures(logged)


def test_a_big_message_goes_to_a_file(office, tmp_path):
    """
    Beyond a megabyte the message is in an unlinked temporary file of the folder.
    """
    connection = office.connect(START, BIG, b".\r\n")
    assert len(spool_descriptors(tmp_path)) == 1
    assert [] == os.listdir(tmp_path)
    office.finish()
    assert [250, 250] == codes(connection.received())


def test_the_spool_is_closed_after_the_delivery(office, tmp_path):
    """
    No descriptor is left behind.
    """
    office.connect(START, BIG, b".\r\n")
    office.finish()
    assert [] == spool_descriptors(tmp_path)


def test_a_message_that_cannot_be_spooled_is_temporary_for_everyone(make_office, tmp_path, logged):
    """
    A folder that cannot be used gives 451 twice for two recipients; the session goes on.
    """
    office = make_office(tmp_path / "gone")
    connection = office.connect(START, BIG)
    assert LOCAL_ERROR_451.line() * 2 == connection.send(b".\r\n")
    assert [] == office.spools
    assert any("cannot be spooled" in event["log_format"] for event in logged)
    assert [250] == codes(connection.send(b"NOOP\r\n"))
    assert office.value("lmtp_messages_total", result="deferred") == 1


@pytest.mark.parametrize("pieces", [1, 2])
def test_what_follows_a_message_that_cannot_be_spooled_is_read(make_office, tmp_path, pieces):
    """
    Commands pipelined behind it are answered without waiting for more octets.
    """
    office = make_office(tmp_path / "gone")
    connection = office.connect(START)
    stream = BIG + b".\r\nNOOP\r\nQUIT\r\n"
    cut = len(stream) - 20 if pieces == 2 else 0
    received = connection.send(stream[:cut]) + connection.send(stream[cut:])
    office.clock.advance(0)
    received += connection.received()
    assert [451, 451, 250, 221] == codes(received)


def test_a_write_that_fails_is_temporary_for_each_recipient(office, tmp_path):
    """
    A full disk gives 451 for each recipient, and nothing is delivered.
    """
    connection = office.connect(START, BIG)
    (descriptor,) = spool_descriptors(tmp_path)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, descriptor)
    os.close(full)
    received = connection.send(BIG) + connection.send(b".\r\n")
    assert LOCAL_ERROR_451.line() * 2 == received
    assert [] == office.spools


def test_an_idle_client_is_told_and_dropped(office):
    """
    421 4.4.2 after five minutes without a word.
    """
    connection = office.connect(b"LHLO mx\r\n")
    office.clock.advance(COMMAND_TIMEOUT - 1)
    connection.send(b"NOOP\r\n")
    office.clock.advance(COMMAND_TIMEOUT - 1)
    assert connection.received() == b""
    office.clock.advance(1)
    assert TIMEOUT_421.line() == connection.received()
    assert not connection.transport.connected
    assert office.value("protocol_errors_total", protocol="lmtp") == 1
    assert office.clock.getDelayedCalls() == []


def test_a_client_that_stalls_in_the_message_is_dropped(office):
    """
    Its spool is dropped with it.
    """
    connection = office.connect(START, b"half\r\n")
    office.clock.advance(DATA_TIMEOUT)
    assert TIMEOUT_421.line() == connection.received()
    assert office.value("lmtp_messages_total", result="interrupted") == 1
    assert office.value("lmtp_connections") == 0


def test_a_client_that_does_not_read_is_dropped_too(office, fakes):
    """
    Where the last reply cannot be written, the connection is cut before long.
    """
    aborted = []
    transport = StringTransport()  # never says that it is closed
    transport.abortConnection = lambda: aborted.append(True)
    connection = fakes.Connection(office.factory, transport)
    connection.send(START + b"half\r\n")
    office.clock.advance(COMMAND_TIMEOUT)
    office.clock.advance(COMMAND_TIMEOUT)
    connection.protocol.connectionLost()
    assert [True] == aborted


def test_a_delivery_is_no_idleness(office):
    """
    While Odoo is asked the client has nothing to say.
    """
    connection = office.connect(START + b"text\r\n.\r\n")
    office.clock.advance(COMMAND_TIMEOUT * 2)
    office.finish()
    office.clock.advance(0)
    assert [250, 250] == codes(connection.received())
    office.clock.advance(COMMAND_TIMEOUT)
    assert TIMEOUT_421.line() == connection.received()


def test_garbage_does_no_harm(office, logged):
    """
    TLS, HTTP and binary get errors and in the end a closed connection.
    """
    connection = office.connect(b"\x16\x03\x01\x00\xff\r\n" * 200)
    assert not connection.transport.connected
    assert [] == failures(logged)
    assert office.clock.getDelayedCalls() == []


def test_drain_without_connections_is_over_at_once(office, fakes):
    """
    Nothing to wait for.
    """
    assert fakes.result_of(office.factory.drain()) is None


def test_drain_sends_idle_clients_away(office, fakes):
    """
    Whoever has no delivery under way gets 421 4.3.2.
    """
    connection = office.connect(b"LHLO mx\r\n")
    drained = office.factory.drain()
    assert SHUTTING_DOWN_421.line() == connection.received()
    assert fakes.result_of(drained) is None


def test_drain_waits_for_deliveries_and_their_replies(office, fakes):
    """
    It fires when the last reply is on its way and its connection closed.
    """
    connection = fakes.Connection(office.factory)
    connection.send(START + b"text\r\n.\r\n")
    drained = office.factory.drain()
    assert connection.received() == b""
    office.finish()
    assert OK_250.line() * 2 + SHUTTING_DOWN_421.line() == connection.received()
    assert not fakes.has_fired(drained)
    assert connection.transport.disconnecting
    connection.protocol.connectionLost()
    assert fakes.result_of(drained) is None


def test_drain_waits_for_a_delivery_whose_client_has_gone(office, fakes):
    """
    Its mail has to reach Odoo once, not twice.
    """
    connection = office.connect(START + b"text\r\n.\r\n")
    connection.transport.loseConnection()
    drained = office.factory.drain()
    assert not fakes.has_fired(drained)
    office.finish()
    assert fakes.result_of(drained) is None


def test_drain_takes_no_further_message(office, fakes):
    """
    What was pipelined behind the delivery under way is not begun.
    """
    connection = office.connect(START + b"text\r\n.\r\n" + START + b"text\r\n.\r\n")
    drained = office.factory.drain()
    office.finish()
    office.clock.advance(0)
    assert [250, 250, 421] == codes(connection.received())
    assert len(office.spools) == 1
    assert fakes.result_of(drained) is None
