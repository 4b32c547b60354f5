"""
Tests for mailer.odoo: how long a call may take, and how much it may bring.
"""

import pytest
from twisted.internet.error import ConnectionAborted

from mailer import odoo
from mailer.errors import ListError, NoAnswerError, UnreachableError
from mailer.http_client import KEEP_CONNECTION

CALLS = pytest.mark.parametrize("name", ["fetch", "deliver"])


def begin(connect, name, **server):
    """
    Return a wire and a call of this name on it.
    """
    wire = connect(**server)
    return wire, getattr(wire, name)()


@CALLS
def test_deadline_of_a_silent_server(connect, name):
    """
    A server that says nothing is given up at the deadline, and the connection cut.
    """
    wire, call = begin(connect, name, timeout=30)
    wire.request()
    wire.reactor.advance(29.9)
    assert not call.done
    wire.reactor.advance(0.2)
    assert NoAnswerError is type(call.error)
    assert "no answer within 30 s" == str(call.error)
    assert wire.transport.disconnecting
    wire.close(ConnectionAborted())
    assert [] == wire.reactor.getDelayedCalls()


@CALLS
def test_deadline_while_connecting(connect, name):
    """
    The deadline holds for the attempt to connect, too.
    """
    wire, call = begin(connect, name, timeout=5)
    wire.reactor.advance(5)
    assert isinstance(call.error, UnreachableError)
    assert [] == wire.reactor.getDelayedCalls()


def test_deadline_during_the_upload(connect):
    """
    A server that does not read the message is given up at the deadline.
    """
    wire = connect(timeout=30)
    call = wire.deliver(b"x" * 3_000_000)
    wire.accept()
    wire.reactor.advance(30)
    assert NoAnswerError is type(call.error)
    wire.close(ConnectionAborted())


@CALLS
def test_deadline_of_a_trickle(connect, name):
    """
    A server that sends its header and then an octet now and then is cut at the deadline.
    """
    wire, call = begin(connect, name, timeout=30)
    wire.answer(200, b"", length=False, headers="Content-Length: 1000\r\n")
    for _ in range(29):
        wire.reactor.advance(1)
        wire.send(b"x")
    assert not call.done
    wire.reactor.advance(1)
    assert NoAnswerError is type(call.error)
    assert wire.transport.disconnecting
    wire.send(b"x")
    wire.close(ConnectionAborted())
    assert [] == wire.reactor.getDelayedCalls()


def test_one_deadline_for_both_pages(connect):
    """
    Two pages have the time of one call together.
    """
    wire = connect(timeout=30)
    call = wire.fetch()
    wire.reactor.advance(20)
    wire.answer(200)
    wire.reactor.advance(10)
    assert NoAnswerError is type(call.error)


def test_nothing_left_behind(connect):
    """
    After an answer no timer runs but the one that closes the kept connection.
    """
    wire = connect()
    call = wire.deliver()
    wire.answer(200, b"{}")
    assert call.done
    wire.reactor.advance(KEEP_CONNECTION)
    assert wire.transport.disconnecting
    assert [] == wire.reactor.getDelayedCalls()


@pytest.mark.parametrize("size", [1000, 1001])
def test_list_limit(connect, monkeypatch, size):
    """
    A page may be as large as the limit; beyond it the connection is cut.
    """
    monkeypatch.setattr(odoo, "MAX_LIST", 1000)
    wire = connect()
    call = wire.fetch()
    wire.answer(200, b"x" * size)
    if size > 1000:
        assert isinstance(call.error, ListError)
    else:
        wire.answer(200)
        assert 1000 == len(call.value.aliases.content)


def test_endless_list(connect, monkeypatch):
    """
    A page without an end is cut at the limit, not kept.
    """
    monkeypatch.setattr(odoo, "MAX_LIST", 1000)
    wire = connect()
    call = wire.fetch()
    wire.answer(200, b"", length=False)
    wire.send(b"x" * 1000)
    assert not wire.transport.disconnecting
    wire.send(b"x")
    assert wire.transport.disconnecting
    wire.send(b"x" * 5000)
    wire.close()
    assert isinstance(call.error, ListError)


@pytest.mark.parametrize("code", [200, 401, 404, 413, 503])
def test_verdict_limit(connect, monkeypatch, code):
    """
    Of a long answer to a delivery the first octets and the status count.
    """
    monkeypatch.setattr(odoo, "MAX_VERDICT", 1000)
    wire = connect()
    call = wire.deliver()
    wire.answer(code, b"x" * 5000)
    wire.close()
    assert code == call.value.code
    assert b"x" * 1000 == call.value.body[:1000]
