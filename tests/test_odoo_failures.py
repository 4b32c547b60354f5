"""
Tests for mailer.odoo: what is made of a call that fails, and how long it may take.
"""

import gzip
import io

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from mailer.errors import (
    ConfigError,
    NoAnswerError,
    TemporaryError,
    UnreachableError,
)
from mailer.http_client import CONNECT_TIMEOUT, make_agent
from mailer.logs import LogLines
from mailer.verdict import Answer

CALLS = pytest.mark.parametrize("name", ["fetch", "deliver"])
MARK = "X-Mail-Delivery: 1\r\n"


@implementer(IHostnameResolver)
class Resolver:
    """
    Finds these addresses for every name.
    """

    def __init__(self, *addresses):
        self._addresses = addresses

    def resolveHostName(self, receiver, hostName, portNumber=0, *args, **kwargs):
        receiver.resolutionBegan(None)
        for address in self._addresses:
            receiver.addressResolved(IPv4Address("TCP", address, portNumber))
        receiver.resolutionComplete()


def begin(connect, name, **server):
    """
    Return a wire and a call of this name on it.
    """
    wire = connect(**server)
    return wire, getattr(wire, name)()


@CALLS
@pytest.mark.parametrize(
    "reason", [ConnectionRefusedError(), NoRouteError(), TCPTimedOutError(), TimeoutError()]
)
def test_no_connection(connect, name, reason):
    """
    Without a connection Odoo has nothing: it is unreachable.
    """
    wire, call = begin(connect, name)
    wire.refuse(reason)
    assert UnreachableError is type(call.error)
    assert str(call.error)


@CALLS
def test_unknown_name(connect, name):
    """
    A name that cannot be resolved makes Odoo unreachable.
    """
    wire = connect(url="http://odoo.example.com")
    wire.reactor.installNameResolver(Resolver())
    call = getattr(wire, name)()
    assert UnreachableError is type(call.error)
    assert "odoo.example.com" in str(call.error)


def test_second_address(connect):
    """
    Where the first address of a name refuses, the second is tried.
    """
    wire = connect(url="http://odoo.example.com")
    wire.reactor.installNameResolver(Resolver("192.0.2.1", "192.0.2.2"))
    call = wire.deliver()
    wire.refuse(ConnectionRefusedError())
    wire.answer(200, b"{}")
    assert Answer(200, False, b"{}") == call.value
    assert ["192.0.2.1", "192.0.2.2"] == [client[0] for client in wire.reactor.tcpClients]


def test_time_to_connect(connect):
    """
    An attempt to connect is given up after ten seconds.
    """
    wire, _ = begin(connect, "deliver")
    assert CONNECT_TIMEOUT == wire.reactor.tcpClients[0][3]


@CALLS
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
@pytest.mark.parametrize("reason", [ConnectionDone(), ConnectionLost(), ConnectionAborted()])
def test_closed_before_the_answer(connect, name, sent, reason):
    """
    A connection that breaks before the answer: Odoo may have the mail or not.
    """
    wire, call = begin(connect, name)
    wire.request()
    if sent:
        wire.send(sent)
    wire.close(reason)
    assert NoAnswerError is type(call.error)


def test_closed_during_the_upload(connect):
    """
    A connection that breaks while the message goes out is no answer either.
    """
    wire = connect()
    call = wire.deliver(b"x" * 3_000_000)
    wire.accept()
    wire.close(ConnectionLost())
    assert NoAnswerError is type(call.error)


def test_answer_during_the_upload(connect):
    """
    A proxy that refuses a message before it has read it has answered.
    """
    wire = connect()
    call = wire.deliver(b"x" * 3_000_000)
    wire.accept()
    wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
    wire.close()
    assert Answer(413, False, b"big") == call.value


@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_left_of_an_upload_that_was_answered(connect, full):
    """
    Nothing more goes out, and no producer keeps the connection from closing.
    """
    wire = connect()
    call = wire.deliver(b"x" * 3_000_000)
    wire.accept()
    if full:
        wire.transport.producer.pauseProducing()
    wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    assert Answer(413, False, b"big") == call.value
    assert (True, None) == (wire.transport.disconnecting, wire.transport.producer)
    wire.transport.clear()
    for _ in range(100):
        wire.run_bodies()
    assert b"" == wire.transport.value()
    assert [] == wire.reactor.getDelayedCalls()


def test_an_answer_during_the_upload_is_no_line_of_the_log(connect, logged):
    """
    It is no fault of anyone here; the next delivery has a connection of its own.
    """
    wire = connect()
    wire.deliver(b"x" * 3_000_000)
    wire.accept()
    wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    call = wire.deliver()
    wire.answer(200, b"{}")
    assert Answer(200, False, b"{}") == call.value
    file = io.StringIO()
    observe = LogLines(file, "text", "debug")
    for event in logged:
        observe(event)
    assert "" == file.getvalue()


def test_message_closed_during_the_upload(connect):
    """
    After such an answer the message may be closed, as LMTP does, and nothing breaks.
    """
    wire = connect()
    call = wire.deliver(b"x" * 3_000_000)
    wire.accept()
    wire.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
    assert Answer(503, False, b"busy") == call.value
    wire.spools[0].close()
    for _ in range(100):
        wire.run_bodies()


@CALLS
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\na@x\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na@x\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na@",
    ],
)
def test_closed_inside_the_body(connect, name, answer):
    """
    A body that is known to be incomplete is no answer.
    """
    wire, call = begin(connect, name)
    wire.request()
    wire.send(answer)
    wire.close()
    assert NoAnswerError is type(call.error)


@CALLS
@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.com ESMTP Postfix\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnothex\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\na@x\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
def test_not_http(connect, name, answer):
    """
    What cannot be understood is no answer, and the connection is not used again.
    """
    wire, call = begin(connect, name)
    wire.request()
    wire.send(answer)
    assert wire.transport.disconnecting
    wire.close(ConnectionAborted())
    assert NoAnswerError is type(call.error)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_list_of_unknown_completeness(connect, version):
    """
    A list of which nobody can tell that it is complete is refused.
    """
    wire = connect()
    call = wire.fetch()
    wire.request()
    wire.send(f"HTTP/{version} 200 OK\r\n{MARK}\r\na@x\n".encode())
    assert not call.done
    wire.close()
    assert isinstance(call.error, TemporaryError)


def test_truncated_gzip(connect):
    """
    A compressed list that lacks its end is refused, though its length is right.
    """
    wire = connect()
    call = wire.fetch()
    page = gzip.compress(b"".join(b"%d@example.com\n" % number for number in range(5000)))
    wire.answer(200, page[: len(page) // 2], "Content-Encoding: gzip\r\n")
    if not call.done:
        wire.answer(200)
    assert isinstance(call.error, TemporaryError)


def test_verdict_of_unknown_completeness(connect):
    """
    A verdict shows by itself whether it is complete: it may end with the connection.
    """
    wire = connect()
    call = wire.deliver()
    wire.request()
    wire.send(f"HTTP/1.0 200 OK\r\n{MARK}\r\n{{}}".encode())
    wire.close()
    assert Answer(200, True, b"{}") == call.value


def test_connection_used_again(connect):
    """
    A second delivery goes over the connection of the first.
    """
    wire = connect()
    for _ in range(2):
        call = wire.deliver()
        wire.answer(200, b"{}")
        assert call.done
    assert 1 == wire.connections


@pytest.mark.parametrize(("version", "connections"), [("1.0", 4), ("1.1", 1)])
def test_connections_of_old_servers_are_not_used_again(connect, version, connections):
    """
    One that answers in HTTP/1.0 is about to close; the next call would fail.
    """
    wire = connect()
    head = f"HTTP/{version} 200 OK\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    for begin_call, answers in ((wire.deliver, 1), (wire.fetch, 2), (wire.deliver, 1)):
        call = begin_call()
        for _ in range(answers):
            wire.request()
            wire.send(head)
        assert call.done
    assert connections == wire.connections


@CALLS
def test_never_repeated(connect, name):
    """
    On a kept connection that turns out closed a call fails: it is not sent twice.
    """
    wire = connect()
    wire.deliver()
    wire.answer(200, b"{}")
    call = getattr(wire, name)()
    wire.request()
    wire.close()
    assert NoAnswerError is type(call.error)
    assert 1 == wire.connections


def test_after_a_failure(connect):
    """
    After a failure the next call begins afresh.
    """
    wire = connect()
    first = wire.deliver()
    wire.request()
    wire.close()
    second = wire.deliver()
    wire.answer(200, b"{}")
    assert NoAnswerError is type(first.error)
    assert Answer(200, False, b"{}") == second.value


@pytest.mark.parametrize(
    "pem",
    [
        "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_unreadable_authorities(connect, pem):
    """
    Authorities that cannot be read are a fault of the configuration, which does not show them.
    """
    wire = connect()
    with pytest.raises(ConfigError) as caught:
        make_agent(wire.reactor, type(wire.server)("odoo", "https://x", wire.server.token, ca=pem))
    assert ["ca"] == [fault.key for fault in caught.value.faults]
