"""
Tests for mailer.connection_limit.
"""

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransportWithDisconnection

from mailer.connection_limit import ConnectionLimit


class Echo(Protocol):
    """
    Sends back what comes.
    """

    def dataReceived(self, data):
        self.transport.write(data)


@pytest.fixture
def listener(fakes):
    """
    Makes a listener of a protocol that takes two connections.
    """

    class Listener:
        def __init__(self, name):
            metrics, self.value = fakes.make_metrics()
            share = {"socketmap": 2, "lmtp": 8, "http": 16}[name]
            self.factory = ConnectionLimit(Factory.forProtocol(Echo), name, 2 * share, metrics)

        def connect(self):
            return fakes.Connection(self.factory, StringTransportWithDisconnection())

    return Listener


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("socketmap", b"25:TEMP too many connections,"),
        ("lmtp", b"421 4.3.2 Too many connections, try again later\r\n"),
        ("http", b"HTTP/1.1 503 Service Unavailable\r\n"),
    ],
)
def test_who_comes_on_top_is_told_and_cut(listener, name, refusal):
    """
    In the words of the protocol, all of them temporary; the others go on.
    """
    site = listener(name)
    connections = [site.connect(), site.connect()]
    late = site.connect()
    assert late.received().startswith(refusal)
    assert not late.transport.connected
    assert [b"x", b"x"] == [connection.send(b"x") for connection in connections]
    assert site.value("connections_refused_total", protocol=name) == 1


def test_a_place_that_becomes_free_is_given_again(listener):
    """
    And one that was refused takes none.
    """
    site = listener("lmtp")
    first, _ = site.connect(), site.connect()
    for _ in range(3):
        site.connect()
    first.transport.loseConnection()
    assert b"x" == site.connect().send(b"x")
    assert not site.connect().transport.connected


def test_http_says_when_to_come_again(listener):
    """
    A whole answer, whose length is right.
    """
    site = listener("http")
    site.connect(), site.connect()
    head, _, body = site.connect().received().partition(b"\r\n\r\n")
    assert b"Retry-After: 10" in head
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize("name", ["socketmap", "lmtp", "http"])
def test_there_is_always_one_place(fakes, name):
    """
    However few descriptors there are.
    """
    metrics, _ = fakes.make_metrics()
    assert 1 == ConnectionLimit(Factory.forProtocol(Echo), name, 3, metrics).limit


def test_all_shares_leave_room(fakes):
    """
    With every place taken, a session of LMTP still has its file and its call to Odoo.
    """
    metrics, _ = fakes.make_metrics()
    limits = {
        name: ConnectionLimit(Factory.forProtocol(Echo), name, 1024, metrics).limit
        for name in ("socketmap", "lmtp", "http")
    }
    assert limits["socketmap"] + 3 * limits["lmtp"] + limits["http"] <= 1024 - 50
