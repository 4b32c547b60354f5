"""
Tests for mailer.socketmap_server.
"""

import pytest
from twisted.internet.testing import StringTransportWithDisconnection

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.socketmap import netstring
from mailer.socketmap_server import IDLE_TIMEOUT, SocketmapFactory

LIST = AliasList({"info@example.com": ("odoo@example.com",)}, transport={"odoo@example.com": ""})
INFO = netstring(b"aliases info@example.com")
FOUND = netstring(b"OK odoo@example.com")


@pytest.fixture
def server(fakes):
    """
    The factory, its metrics and its clock.
    """

    class Server:
        def __init__(self):
            self.clock = fakes.Reactor()
            self.metrics, self.value = fakes.make_metrics()
            self.directory = fakes.make_directory(ServerList("odoo", LIST))
            self.factory = SocketmapFactory(self.directory, self.metrics, self.clock)

        def connect(self):
            return fakes.Connection(self.factory, StringTransportWithDisconnection())

        def count(self, map_name, result):
            return self.value("socketmap_lookups_total", map=map_name, result=result)

    return Server()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"aliases info@example.com", b"OK odoo@example.com"),
        (b"aliases Info+x@Example.com", b"OK odoo@example.com"),
        (b"aliases Odoo+x@Example.com", b"OK Odoo+x@Example.com"),
        (b"transport info@example.com", b"OK lmtp:unix:private/odoo-lmtp"),
        (b"aliases other@example.com", b"NOTFOUND "),
        (b"transport *", b"NOTFOUND "),
        (b"aliases ", b"NOTFOUND "),
        (b"aliases \xff@example.com", b"NOTFOUND "),
        (b"canonical info@example.com", b"PERM no such map, there are: aliases, transport"),
    ],
)
def test_answers(server, request_, answer):
    """
    A lookup is answered as a netstring, at once.
    """
    assert netstring(answer) == server.connect().send(netstring(request_))


def test_without_a_list_everything_is_temporary(server, fakes):
    """
    As long as no list was loaded the answer is TEMP for any address.
    """
    server.factory.directory = fakes.make_directory(ServerList("odoo", None))
    answer = server.connect().send(INFO)
    assert netstring(b"TEMP the alias list is not loaded yet") == answer
    assert server.count("aliases", "temp") == 1


def test_pipelined_requests_are_answered_in_order(server):
    """
    Many requests in one chunk have their answers in the same order, in one write.
    """
    requests = [b"aliases info@example.com", b"aliases x@example.com", b"transport x@example.com"]
    answers = [FOUND, netstring(b"NOTFOUND "), netstring(b"NOTFOUND ")]
    received = server.connect().send(b"".join(map(netstring, requests)) * 1000)
    assert b"".join(answers) * 1000 == received


def test_requests_may_come_in_pieces(server):
    """
    Octet by octet is as good as at once.
    """
    connection = server.connect()
    received = [connection.send(bytes([octet])) for octet in INFO + INFO]
    assert FOUND + FOUND == b"".join(received)
    assert FOUND == received[len(INFO) - 1]


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"3:abcd", b"99999:", b"-1:,", b"\x00\x01"]
)
def test_garbage_ends_the_connection_after_the_good_answers(server, garbage):
    """
    What was asked properly is answered, then the connection is closed and that is counted.
    """
    connection = server.connect()
    assert FOUND == connection.send(INFO + garbage)
    assert not connection.transport.connected
    assert server.value("protocol_errors_total", protocol="socketmap") == 1
    assert server.value("socketmap_connections") == 0


def test_the_longest_key_is_answered(server):
    """
    A key of 10,000 octets is no error.
    """
    key = b"x" * 9988 + b"@example.com"
    assert netstring(b"NOTFOUND ") == server.connect().send(netstring(b"transport " + key))


def test_a_longer_request_ends_the_connection_before_it_is_kept(server):
    """
    The length alone is enough to refuse it.
    """
    connection = server.connect()
    assert connection.send(b"10011:") == b""
    assert not connection.transport.connected


def test_every_lookup_is_counted_by_map_and_result(server):
    """
    Unknown map names count as other.
    """
    connection = server.connect()
    for request_ in (
        b"aliases info@example.com",
        b"aliases info@example.com",
        b"aliases x@example.com",
        b"transport info@example.com",
        b"transport *",
        b"secret@example.com x",
    ):
        connection.send(netstring(request_))
    assert [2, 1, 1, 1, 1] == [
        server.count("aliases", "ok"),
        server.count("aliases", "notfound"),
        server.count("transport", "ok"),
        server.count("transport", "notfound"),
        server.count("other", "perm"),
    ]
    assert server.value("socketmap_lookup_seconds_count") == 6


def test_lookups_are_logged_where_that_is_asked_for(server, logged):
    """
    What was asked and what was said, in either way of asking; nothing else is different.
    """
    server.factory.log_lookups = True
    connection = server.connect()
    assert FOUND == connection.send(INFO)
    assert FOUND + FOUND == connection.send(INFO + INFO)
    said = [(event["request"], event["reply"]) for event in logged]
    assert [(b"aliases info@example.com", FOUND)] * 3 == said
    assert server.count("aliases", "ok") == 3


def test_an_idle_connection_is_closed(server):
    """
    A client that says nothing is dropped; one that asks is not.
    """
    connection = server.connect()
    server.clock.advance(IDLE_TIMEOUT - 1)
    connection.send(INFO)
    server.clock.advance(IDLE_TIMEOUT - 1)
    assert connection.transport.connected
    server.clock.advance(1)
    assert not connection.transport.connected
    assert server.clock.getDelayedCalls() == []


def test_half_requests_gain_no_time(server):
    """
    A client that sends an octet now and then is dropped like one that says nothing.
    """
    connection = server.connect()
    for octet in b"60:aliases " + b"x" * 9:
        connection.protocol.dataReceived(bytes([octet]))
        server.clock.advance(IDLE_TIMEOUT / 20)
    assert not connection.transport.connected


def test_who_does_not_read_is_not_read_from(server):
    """
    Answers that nobody takes do not pile up.
    """
    connection = server.connect()
    connection.transport.producer.pauseProducing()
    assert connection.transport.producerState == "paused"
    connection.transport.producer.resumeProducing()
    assert connection.transport.producerState == "producing"


def test_connections_are_counted(server):
    """
    The gauge is the number of open ones, and nothing is left of closed ones.
    """
    connections = [server.connect() for _ in range(3)]
    assert server.value("socketmap_connections") == 3
    for connection in connections:
        connection.transport.loseConnection()
    assert server.value("socketmap_connections") == 0
    assert server.clock.getDelayedCalls() == []


def test_a_new_list_answers_on_open_connections(server, fakes):
    """
    The table is looked up anew for each request, a rebound directory too.
    """
    connection = server.connect()
    assert FOUND == connection.send(INFO)
    successor = ServerList("odoo", AliasList())
    server.directory.publish(successor, server.directory.merged_with(successor))
    assert netstring(b"NOTFOUND ") == connection.send(INFO)
    server.factory.directory = fakes.make_directory(ServerList("odoo", LIST))
    assert FOUND == connection.send(INFO)
