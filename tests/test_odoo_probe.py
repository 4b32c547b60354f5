"""
Tests for mailer.odoo: a sign of life.
"""

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionRefusedError

from mailer.errors import NoAnswerError, UnreachableError
from mailer.odoo import PROBE_TIMEOUT

MARK = "X-Mail-Delivery: 1\r\n"


def test_what_is_asked(connect):
    """
    Something that costs Odoo next to nothing: a method that is not there.
    """
    wire = connect()
    wire.probe()
    line, headers, body = wire.request()
    assert ("HEAD /mail_delivery/pipe HTTP/1.1", b"") == (line, body)
    assert "very-secret" == headers["x-mail-token"]


@pytest.mark.parametrize("code", [200, 204, 303, 401, 404, 405, 429, 500])
def test_any_answer_is_a_sign_of_life(connect, code):
    """
    Even that of a server which knows nothing of mail: deliveries will say what is wrong.
    """
    wire = connect()
    call = wire.probe()
    wire.answer(code)
    assert call.value is None


@pytest.mark.parametrize("code", [502, 503, 504])
def test_what_a_proxy_says_is_none(connect, code):
    """
    It has not reached Odoo; with Odoo's mark it has.
    """
    wire = connect()
    call = wire.probe()
    wire.answer(code)
    assert f"HTTP {code}" in str(call.error)
    assert isinstance(call.error, NoAnswerError)
    call = wire.probe()
    wire.answer(code, headers=MARK)
    assert call.value is None


def test_refused(connect):
    """
    Nobody listens.
    """
    wire = connect()
    call = wire.probe()
    wire.refuse(ConnectionRefusedError())
    assert UnreachableError is type(call.error)


def test_silence(connect):
    """
    Who does not answer within seconds does not answer.
    """
    wire = connect()
    call = wire.probe()
    wire.request()
    wire.reactor.advance(PROBE_TIMEOUT)
    assert NoAnswerError is type(call.error)
    wire.close(ConnectionAborted())
    assert [] == wire.reactor.getDelayedCalls()


@pytest.mark.parametrize("page", ["aliases", "transport"])
@pytest.mark.parametrize("code", [502, 504])
def test_a_list_that_a_proxy_cannot_get(connect, page, code):
    """
    It counts as no answer of Odoo, which is then probed.
    """
    wire = connect()
    call = wire.fetch()
    if page == "transport":
        wire.answer(200, b"a@x\n")
    wire.answer(code, b"<html>")
    assert isinstance(call.error, NoAnswerError)
    assert str(call.error).startswith(f"{page}: HTTP {code}")
