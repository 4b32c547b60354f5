"""
Tests for mailer.web: wrong tokens, large bodies and slow clients must not cost.
"""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from mailer import web
from mailer.alias_list import AliasList
from mailer.http_server import BODY_TIMEOUT, HEADER_TIMEOUT, LINGER

YAML = {"Content-Type": "application/yaml"}
OLD = AliasList(transport={"old@example.com": ""})
BODY = b"odoo@example.com: [info, sales@example.org]\n"
LARGE = b"#" * 150_000 + b"\n" + BODY


@pytest.fixture
def desk(fakes, tmp_path, sites):
    """
    The site over one server; its connections end with the test.
    """
    desk = sites.Desk(fakes, tmp_path)
    desk.connections = []
    yield desk
    for connection in desk.connections:
        connection.protocol.connectionLost(fakes.Failure(ConnectionError()))


class Transport(StringTransport):
    """
    A connection that can be closed in one direction.
    """

    write_closed = False

    def loseWriteConnection(self):
        self.write_closed = True


@implementer(ISSLTransport)
class SecureTransport(Transport):
    """
    A connection within TLS.
    """

    setTcpNoDelay = bool


def connect(desk, peer=None, kind=Transport):
    """
    Return a connection from an address.
    """
    transport = kind(peerAddress=peer or IPv4Address("TCP", "192.0.2.7", 5))
    desk.connections.append(desk.fakes.Connection(desk.site, transport))
    return desk.connections[-1]


def head(token="odoo-token", length=0, method="POST", path="/aliases", **headers):
    """
    Return the header of a request.
    """
    fields = {"Host": "localhost", "X-Mail-Token": token, "Content-Type": "application/yaml"}
    if length is None:
        fields["Transfer-Encoding"] = "chunked"
    elif length:
        fields["Content-Length"] = length
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def ask(desk, data, peer=None):
    """
    Send octets on a new connection; return the response.
    """
    return desk.fakes.http_response(connect(desk, peer).send(data))


def attempts(desk, many, peer=None, path="/aliases"):
    """
    Return the codes of as many requests with a wrong token.
    """
    return [ask(desk, head("wrong", path=path), peer).code for _ in range(many)]


@pytest.mark.parametrize("path", ["/aliases", "/refresh"])
def test_wrong_tokens_are_limited(desk, path):
    """
    After ten of them 429, which says when there may be one more, and then there may.
    """
    assert [401] * 10 + [429] * 20 == attempts(desk, 30, path=path)
    response = ask(desk, head("wrong", path=path))
    assert response.headers["retry-after"] == "6"
    desk.clock.advance(int(response.headers["retry-after"]))
    assert [401, 429] == attempts(desk, 2, path=path)
    assert (path == "/aliases") * 22 == desk.value("webhook_requests_total", code="429")


def test_the_right_token_is_never_limited(desk):
    """
    Odoo may come through the same proxy as those who have no token.
    """
    attempts(desk, 50)
    assert ask(desk, head()).code == 202
    assert ask(desk, head(length=len(BODY)) + BODY).code == 200


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        (IPv4Address("TCP", "192.0.2.7", 99), 429),
        (IPv4Address("TCP", "192.0.2.8", 5), 401),
        (IPv6Address("TCP", "::ffff:192.0.2.7", 5), 429),
        (IPv6Address("TCP", "2001:db8::1", 5), 401),
        (UNIXAddress(b""), 401),
    ],
)
def test_each_source_has_a_limit_of_its_own(desk, peer, code):
    """
    By its address, whatever the port.
    """
    attempts(desk, 11)
    assert [code] == attempts(desk, 1, peer)


def test_a_network_of_ipv6_is_one_source(desk):
    """
    Who has one address has as many as he likes.
    """
    peers = [IPv6Address("TCP", f"2001:db8::{n:x}", 5) for n in range(30)]
    codes = [code for peer in peers for code in attempts(desk, 1, peer)]
    assert [401] * 10 + [429] * 20 == codes


@pytest.mark.parametrize("request_of", [head("wrong"), head(method="GET"), head(method="PUT")])
def test_every_request_of_a_flood_is_counted(desk, logged, request_of):
    """
    And no line about one shows a token.
    """
    for _ in range(100):
        ask(desk, request_of)
    assert sum(desk.value("webhook_requests_total", code=c) for c in ("401", "429", "405")) == 100
    assert "token" not in {field for event in logged for field in event}


@pytest.mark.parametrize(
    ("request_head", "code"),
    [
        (head("wrong", 60_000_000), 401),
        (head("wrong", None), 401),
        (head("", 60_000_000), 401),
        (head(length=70_000_000), 413),
        (head(length=60_000_000, method="PUT"), 405),
        (head(length=1000, Content_Type="multipart/form-data; boundary=x"), 415),
        (head(length=60_000_000, path="/nothing"), 404),
        (head(length=60_000_000, path="/metrics", method="GET"), 200),
        (head(length=None, path="/healthz", method="GET"), 200),
        (head(length=60_000_000, path="/refresh", method="GET"), 405),
    ],
)
def test_a_body_that_is_not_wanted_is_not_taken(desk, request_head, code):
    """
    The answer comes behind the header; what comes then is not even looked at.
    """
    connection = connect(desk)
    response = desk.fakes.http_response(connection.send(request_head))
    assert (code, "close") == (response.code, response.headers["connection"])
    assert connection.transport.write_closed
    assert not connection.transport.disconnecting
    for _ in range(10):
        assert connection.send(b"x" * 100_000 + head()) == b""
    assert desk.clients["odoo"].calls == []
    assert OLD == desk.declared()
    desk.clock.advance(LINGER)
    assert connection.transport.disconnected


def test_a_client_that_goes_by_itself_is_not_cut_off(desk):
    """
    Nothing is left to be done later.
    """
    before = desk.clock.getDelayedCalls()
    connection = connect(desk)
    connection.send(head("wrong", 1000))
    connection.protocol.connectionLost(desk.fakes.Failure(ConnectionError()))
    assert before == desk.clock.getDelayedCalls()


def test_within_tls_the_connection_is_closed_as_a_whole(desk):
    """
    Half of it cannot be: what comes is ignored, and it ends when the client goes or lingers on.
    """
    connection = connect(desk, kind=SecureTransport)
    response = desk.fakes.http_response(connection.send(head("wrong", 60_000_000)))
    assert (401, "close") == (response.code, response.headers["connection"])
    assert connection.send(b"x" * 100_000) == b""
    assert not connection.transport.write_closed
    assert not connection.transport.disconnecting
    desk.clock.advance(LINGER)
    assert connection.transport.disconnected


@pytest.mark.parametrize(("token", "answered"), [("wrong", False), ("odoo-token", True)])
def test_nobody_is_asked_for_a_body_that_is_not_wanted(desk, token, answered):
    """
    Who waits for "100 Continue" gets it, or the refusal.
    """
    request = head(token, 1000, Expect="100-continue")
    received = connect(desk).send(request)
    assert answered == received.startswith(b"HTTP/1.1 100 Continue\r\n")
    assert answered != received.startswith(b"HTTP/1.1 401")


def test_a_wrong_type_in_chunks_may_still_be_empty(desk):
    """
    202 without a body, 415 with one; Twisted gets no form to read.
    """
    request = head(length=None, Content_Type="application/x-www-form-urlencoded")
    assert ask(desk, request + b"0\r\n\r\n").code == 202
    assert ask(desk, request + b"5\r\na=b&c\r\n0\r\n\r\n").code == 415
    assert ask(desk, request + b"1\r\na\r\n0\r\n\r\n").code == 415


def chunks(body):
    """
    Return a body as one chunk and the end.
    """
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("in_chunks", [False, True])
def test_few_large_bodies_at_once(desk, in_chunks):
    """
    Beyond two 503, and when to come again; small ones are taken all the time.
    """
    body = chunks(LARGE) if in_chunks else LARGE
    request = head(length=None if in_chunks else len(LARGE))
    open_ones = [connect(desk) for _ in range(web.MAX_LARGE)]
    for connection in open_ones:
        assert connection.send(request + body[:1000]) == b""
    response = ask(desk, request + body)
    assert (503, "10") == (response.code, response.headers["retry-after"])
    assert ask(desk, head(length=len(BODY)) + BODY).code == 200
    for connection in open_ones:
        assert desk.fakes.http_response(connection.send(body[1000:])).code == 200
    assert ask(desk, request + body).code == 200


def test_a_large_body_that_is_given_up_makes_room(desk):
    """
    The place of a client that goes away is free again.
    """
    for _ in range(5):
        connection = connect(desk)
        connection.send(head(length=len(LARGE)) + LARGE[:1000])
        connection.protocol.connectionLost(desk.fakes.Failure(ConnectionError()))
    assert ask(desk, head(length=len(LARGE)) + LARGE).code == 200


def test_a_large_body_that_is_being_read_keeps_its_place(desk):
    """
    Also if its client goes away: its memory is in use.
    """
    slow = desk.thread = desk.fakes.SlowThread()
    for _ in range(web.MAX_LARGE):
        connection = connect(desk)
        connection.send(head(length=len(LARGE)) + LARGE)
        connection.protocol.connectionLost(desk.fakes.Failure(ConnectionError()))
    assert len(slow.waiting) == 1  # they are read one after the other
    assert ask(desk, head(length=len(LARGE)) + LARGE).code == 503
    desk.thread = desk.fakes.in_thread
    slow.finish()
    assert ask(desk, head(length=len(LARGE)) + LARGE).code == 200


def test_a_small_body_does_not_wait_for_a_large_one(desk):
    """
    A mapping of a few lines is in force while a large one is being read.
    """
    slow = desk.thread = desk.fakes.SlowThread()
    connect(desk).send(head(length=len(LARGE)) + LARGE)
    assert len(slow.waiting) == 1
    desk.thread = desk.fakes.in_thread
    assert ask(desk, head(length=len(BODY)) + BODY).code == 200


def drip(desk, connection, data, pause):
    """
    Send an octet at a time with a pause after each; return the seconds until it was closed.
    """
    begun = desk.clock.seconds()
    for octet in data:
        connection.protocol.dataReceived(bytes([octet]))
        desk.clock.advance(pause)
        if connection.transport.disconnecting or connection.transport.disconnected:
            return desk.clock.seconds() - begun
    pytest.fail("it was never closed")


def test_a_slow_header_is_not_waited_for(desk):
    """
    However steadily it drips.
    """
    connection = connect(desk)
    seconds = drip(desk, connection, head() * 9, 5)
    assert HEADER_TIMEOUT <= seconds <= HEADER_TIMEOUT + 5


def test_a_slow_body_is_not_waited_for(desk):
    """
    Five minutes are enough for the largest list; the list in force stays.
    """
    connection = connect(desk)
    connection.send(head(length=100_000))
    seconds = drip(desk, connection, b"#" * 100_000, 30)
    assert BODY_TIMEOUT <= seconds <= BODY_TIMEOUT + 30
    assert OLD == desk.declared()


def test_a_long_answer_is_waited_for(desk):
    """
    Only what the client owes us has its time: Odoo may be slow.
    """
    connection = connect(desk)
    connection.send(head(path="/refresh"))
    desk.clock.advance(10 * BODY_TIMEOUT)
    assert not connection.transport.disconnecting
    desk.clients["odoo"].answer(desk.fakes.UNCHANGED)
    assert desk.fakes.http_response(connection.received()).code == 200


def test_a_connection_is_for_one_request(desk):
    """
    Thousands in one piece keep nobody waiting.
    """
    connection = connect(desk)
    received = connection.send(head() * 20)
    assert received.count(b"HTTP/1.1 202") == 1
    assert b"Connection: close" in received
    assert connection.transport.disconnecting


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 600 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b" x\r\n" * 6000 + b"\r\n",
    ],
)
def test_a_header_beyond_all_measure_is_cut_off(desk, data):
    """
    In length or in number of fields.
    """
    connection = connect(desk)
    received = connection.send(data)
    assert received in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert connection.transport.disconnecting


def test_a_connection_without_a_word_is_closed(desk):
    """
    And its timers go with it.
    """
    connection = connect(desk)
    desk.clock.advance(HEADER_TIMEOUT)
    assert connection.transport.disconnecting
    connection.protocol.connectionLost(desk.fakes.Failure(ConnectionError()))
    before = len(desk.clock.getDelayedCalls())
    again = connect(desk)
    again.protocol.connectionLost(desk.fakes.Failure(ConnectionError()))
    assert before == len(desk.clock.getDelayedCalls())


def test_a_token_that_changes_while_a_body_comes_in(desk):
    """
    What is good at the end counts, too.
    """
    connection = connect(desk)
    connection.send(head(length=len(BODY)))
    desk.web.refreshers = []
    assert desk.fakes.http_response(connection.send(BODY)).code == 401
    assert OLD == desk.declared()
