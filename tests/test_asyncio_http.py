"""
Tests for mailer.asyncio_http: the client of Odoo on it, and servers on real sockets.
"""

import asyncio
import datetime
import io
import socket
import threading
import time

import pytest

from mailer.asyncio_http import MAX_HEADER, AsyncioHttp
from mailer.config import Server, Token
from mailer.errors import ConfigError, ListError, NoAnswerError, TlsError, UnreachableError
from mailer.odoo import Delivery, OdooClient
from mailer.spool import MessageReader, Spool
from mailer.verdict import Answer

TOKEN = "very-secret-token"
DIGEST = "ab" * 32
OK = b"HTTP/1.1 200 OK\r\nX-Mail-Delivery: 1\r\n"
LARGE = 30_000_000  # octets: more than all buffers on the way
DAY = datetime.timedelta(days=1)


class Site:
    """
    Serves one connection after the other, each by the next of some functions.
    """

    def __init__(self, *turns, context=None, address="127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family)
        self._context = context
        self.port = self._listening.getsockname()[1]
        self.requests = []
        self._thread = threading.Thread(target=self._serve, args=(turns,), daemon=True)
        self._thread.start()

    def _serve(self, turns):
        for turn in turns:
            connection, _ = self._listening.accept()
            connection.settimeout(10)
            try:
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                self.requests.append(turn(connection) or b"")
            except OSError:
                self.requests.append(None)
            finally:
                connection.close()

    @property
    def received(self):
        """What each turn returned, once all have been taken; None for a broken connection."""
        self._thread.join(10)
        return self.requests

    def close(self):
        """
        End, once every turn has been taken.
        """
        self._thread.join(10)
        self._listening.close()
        assert not self._thread.is_alive()


def head_of(connection):
    """
    Read a request up to its body; return it, with whatever came of that.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65_536)
        if not data:
            raise ConnectionResetError
        received += data
    return received


def whole(connection):
    """
    Read a whole request.
    """
    received = head_of(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    while len(body) < size:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def saying(*octets, pause=0.0):
    """
    Return a turn that reads a request, and says these octets.
    """

    def turn(connection):
        received = whole(connection)
        for piece in octets:
            connection.sendall(piece)
            time.sleep(pause)
        return received

    return turn


@pytest.fixture
def site():
    """
    Makes a site.
    """
    made = []

    def make(*turns, **more):
        made.append(Site(*turns, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def server_at(port, host="127.0.0.1", scheme="http", **changes):
    """
    Return a server of the configuration.
    """
    values = {"token": Token(TOKEN), "timeout": 10.0, **changes}
    return Server("odoo", f"{scheme}://{host}:{port}/web", **values)


def deliver(server, body=b"message", marked=False, **fields):
    """
    Deliver a message; return the answer.
    """
    values = {"sender": "s@y", "recipients": ("a@x", "b@x"), "digest": DIGEST, "queue_id": "4F2k"}
    spool = Spool()
    spool.write(body)
    client = OdooClient(server, AsyncioHttp(server), lambda: None, marked)
    try:
        delivery = Delivery(**{**values, **fields}, body=MessageReader(b"", spool, 0))
        return asyncio.run(client.deliver(delivery))
    finally:
        spool.close()


def get(server, read):
    """
    Ask for something; return what ``read`` returns of the response.
    """
    http = AsyncioHttp(server)

    async def call():
        response = await http.request("GET", f"{server.url}/x", {})
        try:
            return await read(response)
        finally:
            response.close()

    async def run():
        return await http.within(server.timeout, call())

    return asyncio.run(run())


def test_the_request(site):
    """
    One POST with everything that is known of the message, and its octets.
    """
    one = site(saying(OK + b"Content-Length: 0\r\n\r\n"))
    body = bytes(range(256)) * 1000
    assert Answer(200, True) == deliver(server_at(one.port), body)
    head, _, received = one.received[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in lines}
    assert first == "POST /web/mail_delivery/pipe HTTP/1.1"
    assert fields["host"] == f"127.0.0.1:{one.port}"
    assert fields["content-length"] == str(len(body))
    assert fields["connection"] == "close"
    assert fields["x-mail-token"] == TOKEN
    assert fields["x-mail-recipients"] == "a@x,b@x"
    assert fields["x-mail-digest"] == f"sha-256={DIGEST}"
    assert not {"accept-encoding", "transfer-encoding", "cookie"} & {*fields}
    assert body == received


def test_addresses_go_as_octets(site):
    """
    UTF-8, and the null sender as an empty field.
    """
    one = site(*[saying(OK + b"Content-Length: 0\r\n\r\n")] * 2)
    deliver(server_at(one.port), sender="grüße@y", recipients=("ü@x",))
    deliver(server_at(one.port), sender="")
    assert "X-Mail-Sender: grüße@y\r\nX-Mail".encode() in one.received[0]
    assert "X-Mail-Recipients: ü@x\r\n".encode() in one.received[0]
    assert b"X-Mail-Sender: \r\n" in one.received[1]


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"Content-Length: 4\r\n\r\nbody"],
        [OK + b"Content-Length: 4\r\n", b"\r\nbo", b"dy"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n", b"2\r\ndy\r\n0\r\n\r\n"],
        [OK + b"\r\nbo", b"dy"],
        [b"HTTP/1.1 102 Processing\r\n\r\n", OK + b"Content-Length: 4\r\n\r\nbody"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\nbody"],
        [OK.replace(b"1.1", b"1.0") + b"\r\nbody"],
    ],
)
def test_answers(site, pieces):
    """
    In whatever form they come.
    """
    one = site(saying(*pieces, pause=0.02))
    assert Answer(200, True, b"body") == deliver(server_at(one.port))


def test_a_redirect_is_not_followed(site):
    """
    The token would go with it.
    """
    there = site(saying(b""))
    here = site(
        saying(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
            b"Location: http://127.0.0.1:%d/\r\n\r\n" % there.port
        )
    )
    assert deliver(server_at(here.port)).code == 302
    assert [] == there.requests
    socket.create_connection(("127.0.0.1", there.port)).close()


def test_no_connection():
    """
    Nobody listens, or there is no such host.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(UnreachableError) as caught:
        deliver(server_at(port))
    assert not isinstance(caught.value, NoAnswerError)
    with pytest.raises(UnreachableError) as caught:
        deliver(server_at(80, "no-such-host.invalid"))
    assert not isinstance(caught.value, NoAnswerError)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        OK,
        OK + b"Content-Length: 10\r\n\r\nhalf",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhalf",
        b"220 mail.example.com ESMTP\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nNo field\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MAX_HEADER,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    ],
)
def test_no_answer(site, said):
    """
    Broken off, or no HTTP: Odoo may have the message or not.
    """
    one = site(saying(said))
    with pytest.raises(NoAnswerError) as caught:
        deliver(server_at(one.port))
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_connection_that_is_closed_at_once(site, how):
    """
    Before the request has begun, as by a proxy in front of nobody.
    """

    def turn(connection):
        connection.shutdown(how)
        connection.recv(100_000)

    one = site(turn)
    with pytest.raises(NoAnswerError):
        deliver(server_at(one.port, timeout=5.0), b"x" * 200_000)


def test_what_is_no_http_is_not_shown(site):
    """
    A token in it might be spelt in another way, and not be found.
    """
    one = site(saying(b"HTTP/1.1 200 OK\r\nbad line " + TOKEN.encode() + b"\\ \r\n\r\n"))
    with pytest.raises(NoAnswerError, match=r"^an answer that is no HTTP$"):
        deliver(server_at(one.port))


def test_a_connection_that_is_reset(site):
    """
    In the middle of an answer that could end anywhere: it is not taken for a whole one.
    """

    def turn(connection):
        whole(connection)
        connection.sendall(OK + b"\r\nhalf an")
        time.sleep(0.1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    one = site(turn)
    with pytest.raises(NoAnswerError):
        deliver(server_at(one.port))


@pytest.mark.parametrize(
    "said", [(b"",), (OK,), (OK + b"Content-Length: 99\r\n\r\n", *[b"x"] * 20)]
)
def test_an_answer_that_is_late(site, said):
    """
    The time is for the whole call, also where a little comes again and again.
    """

    def turn(connection):
        whole(connection)
        for piece in said:
            connection.sendall(piece)
            time.sleep(0.05)
        connection.recv(1)

    one = site(turn)
    with pytest.raises(NoAnswerError, match=r"^no answer within 0\.4 s$"):
        deliver(server_at(one.port, timeout=0.4))


@pytest.mark.parametrize("closes", [False, True])
def test_an_answer_that_comes_early(site, closes):
    """
    The rest of the message is not waited for, nor read from its file.
    """

    def turn(connection):
        head_of(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        if closes:
            connection.shutdown(socket.SHUT_WR)
        time.sleep(0.3)

    one = site(turn)
    start = time.monotonic()
    assert Answer(413) == deliver(server_at(one.port), b"x" * LARGE)
    assert time.monotonic() < start + 5


def test_a_large_message(site):
    """
    Arrives whole, and is read no faster than it is sent.
    """
    read = []

    class Message(io.BytesIO):
        def read(self, size=-1):
            read.append(size)
            return super().read(size)

    waiting = threading.Event()

    def turn(connection):
        received = head_of(connection)
        waiting.wait(10)
        size = len(received.partition(b"\r\n\r\n")[2])
        while size < LARGE:
            size += len(connection.recv(1_000_000))
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
        return size

    one = site(turn)
    server = server_at(one.port)
    message = Message(b"x" * LARGE)
    http = AsyncioHttp(server)

    async def call():
        asking = asyncio.ensure_future(http.request("POST", server.url, {}, message))
        await asyncio.sleep(0.5)
        so_far = len(read)
        waiting.set()
        (await asking).close()
        return so_far

    assert asyncio.run(call()) < LARGE / 65_536 / 2
    assert [LARGE] == one.received


def test_a_message_that_cannot_be_read(site):
    """
    Ends the call at once, not at its deadline.
    """

    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("no such disk")

    one = site(lambda connection: head_of(connection) and connection.recv(1))
    server = server_at(one.port)
    http = AsyncioHttp(server)
    with pytest.raises(NoAnswerError, match="no such disk"):
        asyncio.run(http.within(10, http.request("POST", server.url, {}, Broken(b"x"))))


def test_the_other_token(site):
    """
    Is tried where the first one is refused.
    """
    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    one = site(saying(refused), saying(OK + b"Content-Length: 0\r\n\r\n"))
    server = server_at(one.port, other_token=Token("another-secret"))
    assert deliver(server).code == 200
    assert b"X-Mail-Token: another-secret\r\n" in one.received[1]


def test_bodies_have_a_limit(site):
    """
    They are cut there, or refused where all of it is needed.
    """
    said = OK + b"Content-Length: 20\r\n\r\n" + b"x" * 20
    one = site(saying(said), saying(said), saying(said), saying(OK + b"\r\nxx"))
    server = server_at(one.port)
    assert [b"x" * 7] == get(server, lambda response: response.pieces(7, whole=False))
    assert b"x" * 20 == b"".join(get(server, lambda response: response.pieces(20, whole=True)))
    with pytest.raises(ListError, match="more than 7 octets"):
        get(server, lambda response: response.pieces(7, whole=True))
    with pytest.raises(NoAnswerError, match="complete"):
        get(server, lambda response: response.pieces(7, whole=True))


def test_an_ipv6_address(site):
    """
    In brackets, in the Host field too.
    """
    try:
        one = site(saying(OK + b"Content-Length: 0\r\n\r\n"), address="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    assert deliver(server_at(one.port, "[::1]")).code == 200
    assert b"Host: [::1]:%d\r\n" % one.port in one.received[0]


@pytest.fixture(scope="module")
def authority(certificates):
    """
    The authority of our servers.
    """
    return certificates.Authority()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1"])
def test_a_server_that_is_trusted(site, authority, tmp_path, host):
    """
    By its name or its address; a large message goes through whole.
    """
    context = authority.context(tmp_path / "server.pem", "localhost", "127.0.0.1")
    one = site(saying(OK + b"Content-Length: 4\r\n\r\nbody"), context=context)
    body = b"x" * 1_000_000
    server = server_at(one.port, host, "https", ca=f"# Größe\n{authority.pem}# second\n")
    assert Answer(200, True, b"body") == deliver(server, body)
    assert one.received[0].endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("names", "lasts", "ca"),
    [
        (["other.example"], DAY, True),
        (["127.0.0.2"], DAY, True),
        ([], DAY, True),  # the subject has the name, where nobody looks any more
        (["localhost"], -DAY, True),
        (["localhost"], DAY, False),
    ],
)
def test_a_server_that_is_not_trusted(site, authority, tmp_path, names, lasts, ca):
    """
    Of another name, without any, expired, or of an authority unknown: it gets not one octet.
    """
    one = site(whole, context=authority.context(tmp_path / "server.pem", *names, lasts=lasts))
    server = server_at(one.port, "localhost", "https", ca=authority.pem if ca else "")
    with pytest.raises(TlsError, match="TLS failed"):
        deliver(server)
    assert [None] == one.received


def test_a_server_without_tls(site, authority):
    """
    It speaks HTTP where TLS was expected.
    """
    one = site(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(TlsError):
        deliver(server_at(one.port, "localhost", "https", ca=authority.pem))


@pytest.mark.parametrize(
    "pem",
    [
        "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
        "ä",
    ],
)
def test_unreadable_authorities(pem):
    """
    Are a fault of the configuration, which does not show them.
    """
    with pytest.raises(ConfigError) as caught:
        deliver(server_at(1, "localhost", "https", ca=pem))
    assert ["ca"] == [fault.key for fault in caught.value.faults]
