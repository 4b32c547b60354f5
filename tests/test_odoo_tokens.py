"""
Tests for mailer.odoo: two tokens, while one is being changed.
"""

import itertools

import pytest

from mailer import odoo
from mailer.config import Token
from mailer.errors import NoAnswerError, TemporaryError
from mailer.reply import TOKEN_REFUSED_451
from mailer.verdict import Answer

OTHER = "other-secret"
REFUSED = pytest.mark.parametrize("code", [401, 403])


@pytest.fixture
def both(connect):
    """
    A client that knows two tokens.
    """
    return connect(other_token=Token(OTHER))


def exchange(wire, *codes, body=b""):
    """
    Answer as many requests; return what each of them had: token, path and body.
    """
    seen = []
    for code in codes:
        line, headers, content = wire.request()
        seen.append((headers["x-mail-token"], line.split()[1].rpartition("/")[2], content))
        wire.answer(code, body if code == 200 else b"")
    return seen


def has_request(wire):
    """
    Say whether a request waits for its answer, or a connection to be accepted.
    """
    wire.accept()
    wire.run_bodies()
    return bool(wire.transport.value())


@REFUSED
def test_the_other_token_is_tried_at_once(both, code, logged):
    """
    The same message goes out again, whole, in the same call, and Odoo's answer counts.
    """
    call = both.deliver(b"x" * 200_000, b"Delivered-To: a@x\r\n", 5)
    whole = b"Delivered-To: a@x\r\n" + b"x" * 199_995
    seen = exchange(both, code, 200)
    assert [("very-secret", "pipe", whole), (OTHER, "pipe", whole)] == seen
    assert Answer(200) == call.value
    assert ["odoo takes the other of its two tokens from now on"] == [
        event["log_format"].format(**event)
        for event in logged
        if event["log_namespace"] == odoo.__name__
    ]


def test_the_token_that_worked_is_used_from_then_on(both):
    """
    The next calls, of either kind, begin with it; and it may turn again.
    """
    both.deliver()
    exchange(both, 401, 200)
    call = both.fetch()
    seen = exchange(both, 200, 200)
    assert [OTHER, OTHER] == [token for token, *_ in seen]
    assert call.done
    call = both.deliver()
    assert [OTHER, "very-secret"] == [token for token, *_ in exchange(both, 403, 200)]
    assert Answer(200) == call.value


@REFUSED
@pytest.mark.parametrize("page", ["aliases", "transport"])
def test_a_page_is_asked_for_again(both, code, page):
    """
    Whichever of the two is refused.
    """
    call = both.fetch()
    codes = [code, 200, 200] if page == "aliases" else [200, code, 200]
    seen = exchange(both, *codes, body=b"a@x\n")
    pages = ["aliases", "aliases", "transport"], ["aliases", "transport", "transport"]
    assert pages[page == "transport"] == [name for _, name, _ in seen]
    assert call.value.aliases.content == call.value.transport.content == b"a@x\n"


@REFUSED
def test_where_neither_is_good_the_mail_waits(both, code):
    """
    Each is tried once, and the one in use stays so.
    """
    for _ in range(2):
        call = both.deliver()
        assert ["very-secret", OTHER] == [token for token, *_ in exchange(both, code, 401)]
        assert Answer(code) == call.value
        assert not has_request(both)


def test_where_neither_is_good_there_is_no_list(both):
    """
    The reason is the same as with one token, and shows none.
    """
    call = both.fetch()
    exchange(both, 401, 401)
    assert "aliases: HTTP 401, Odoo does not accept the token" == str(call.error)


def test_a_refusal_with_a_verdict_stands_where_the_other_token_is_not_good(both):
    """
    A marked 403 is Odoo's own word.
    """
    call = both.deliver()
    both.answer(403, b'{"recipients": {}}', "X-Mail-Delivery: 1\r\n")
    both.answer(401)
    assert Answer(403, True, b'{"recipients": {}}') == call.value


@pytest.mark.parametrize("code", [400, 404, 409, 429, 500, 502, 503, 302])
def test_no_other_refusal_is_about_the_token(both, code):
    """
    Odoo may have the message then: it is not sent again.
    """
    call = both.deliver()
    exchange(both, code)
    assert code == call.value.code
    assert not has_request(both)


@pytest.mark.parametrize("code", [404, 500, 503])
def test_an_answer_that_tells_nothing_of_the_token_changes_nothing(both, code):
    """
    It is the answer, but the next call begins as this one did.
    """
    call = both.deliver()
    exchange(both, 401, code)
    assert code == call.value.code
    both.deliver()
    assert both.request()[1]["x-mail-token"] == "very-secret"


@REFUSED
def test_a_single_token_is_not_sent_twice(connect, code):
    """
    As ever.
    """
    wire = connect()
    call = wire.deliver()
    exchange(wire, code)
    assert Answer(code) == call.value
    assert not has_request(wire)


def test_an_early_refusal_of_a_large_message(both):
    """
    Odoo refuses before it has read all; the rest goes nowhere, and all of it goes out again.
    """
    call = both.deliver(b"y" * 3_000_000)
    both.accept()
    both.run_bodies()
    both.transport.clear()
    both.send(b"HTTP/1.1 401 Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    both.close()
    _, headers, body = both.request()
    assert (OTHER, b"y" * 3_000_000) == (headers["x-mail-token"], body)
    both.send(b"HTTP/1.1 200 Said\r\nContent-Length: 0\r\n\r\n")
    assert Answer(200) == call.value


def test_both_tries_share_one_deadline(connect):
    """
    Postfix is not kept waiting for twice as long.
    """
    wire = connect(other_token=Token(OTHER), timeout=30)
    call = wire.deliver()
    wire.request()
    wire.reactor.advance(29)
    wire.send(b"HTTP/1.1 401 Said\r\nContent-Length: 0\r\n\r\n")
    wire.request()
    wire.reactor.advance(1)
    assert isinstance(call.error, NoAnswerError)


def test_calls_begun_before_the_change(both):
    """
    Whichever of several calls finds the other token, the others find it, too.
    """
    calls = [both.deliver(), both.deliver()]
    wires = []
    for _ in calls:
        assert both.request()[1]["x-mail-token"] == "very-secret"
        wires.append((both.protocol, both.transport))
    for wire in wires:
        both.protocol, both.transport = wire
        both.send(b"HTTP/1.1 401 Said\r\nContent-Length: 0\r\n\r\n")
        both.protocol, both.transport = wires[0]  # which is free for either
        assert both.request()[1]["x-mail-token"] == OTHER
        both.send(b"HTTP/1.1 200 Said\r\nContent-Length: 0\r\n\r\n")
    assert [Answer(200)] * 2 == [call.value for call in calls]


@pytest.mark.parametrize("secret", ["very-secret", OTHER])
def test_neither_token_shows_in_an_error(both, secret):
    """
    Not even where Odoo sends it back.
    """
    call = both.fetch()
    both.answer(302, b"", f"Location: https://x/?token={secret}\r\n")
    error = call.error
    assert isinstance(error, TemporaryError)
    assert secret not in f"{error} {error!r}"


@pytest.mark.parametrize("states", [*itertools.product(["old", "both", "new"], repeat=4)])
def test_no_order_of_a_change_holds_a_mail_back(both, states):
    """
    While the file has both tokens, it does not matter when Odoo takes which.
    """
    good = {"old": {"very-secret"}, "new": {OTHER}, "both": {"very-secret", OTHER}}
    for state in states:
        call = both.deliver()
        while not call.done:
            token = both.request()[1]["x-mail-token"]
            both.send(
                b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n"
                % (200 if token in good[state] else 401)
            )
        assert Answer(200) == call.value


def test_the_reply_of_a_refused_token_is_temporary():
    """
    Whatever happens, a wrong token bounces no mail.
    """
    assert not TOKEN_REFUSED_451.is_permanent
