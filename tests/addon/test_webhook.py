"""
Tests for logic.webhook, against servers on loopback.
"""

import datetime
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from logic import webhook
from logic.list_version import Patch
from logic.webhook import Mailer, call, send

NO_ADDRESS = "This is no address that can be called"
NOT_RESOLVED = "The name of the host cannot be resolved."
NOTHING_LISTENS = "Nothing listens there"
TOKEN = "s3cret"


class Server(ThreadingHTTPServer):
    """
    Answers every POST alike, and keeps what it was asked.
    """

    def __init__(self, status, headers, body):
        self.answer = (status, headers, body)
        self.requests = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        """The address of the webhook here."""
        return f"http://127.0.0.1:{self.server_port}/aliases"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, headers, content = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args):
        """Be silent."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """
    Whatever proxy is set here, loopback is called directly.
    """
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def serve():
    """
    Starts servers that answer every POST with this status.
    """
    running = []

    def start(status, body=b"", tls=None, **headers):
        server = Server(status, headers, body)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def silent():
    """
    The address of a server that accepts and never answers.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/aliases"


@pytest.fixture
def closed():
    """
    The address of a port where nothing listens, without a path.
    """
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # taken, so that no one else listens there
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def untrusted(tmp_path):
    """
    TLS with a certificate that signed itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - day, now + day
    ).sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    return context


def reason_of_failure(url):
    """
    Return the sentence that says why a call did not go well.
    """
    well, reason = call(Mailer(url, TOKEN))
    assert not well
    assert reason.endswith((".", "?"))
    return reason


def unresolved(*_args, **_kwargs):
    """
    Stand in for a resolver that does not know the name.
    """
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_call_is_an_empty_post_with_the_token(serve):
    """
    The mailer knows by the token who calls; there is nothing else to say.
    """
    server = serve(202)

    assert (True, "It answered, and fetches the list.") == call(Mailer(server.url, TOKEN))
    [(path, headers, body)] = server.requests
    assert ("/aliases", TOKEN, b"") == (path, headers["X-Mail-Token"], body)
    assert "0" == headers["Content-Length"]


@pytest.mark.parametrize("status", [200, 202, 307, 415, 422, 500])
def test_a_patch_is_sent_from_one_list_to_another(serve, status):
    """
    The header says from which list to which the body leads; the status says how it went.
    """
    server = serve(status, Location="/elsewhere")

    assert status == send(Mailer(server.url, TOKEN), Patch("old~json", "new~json", b"{}"))
    [(path, headers, body)] = server.requests
    assert ("/aliases", TOKEN, b"{}") == (path, headers["X-Mail-Token"], body)
    assert "application/merge-patch+json" == headers["Content-Type"]
    assert ('"old~json"', '"new~json"') == (headers["Delta-Base"], headers["ETag"])


def test_a_patch_without_an_answer(closed):
    """
    Where nobody answers, the status is none.
    """
    assert 0 == send(Mailer(closed, TOKEN), Patch("old~json", "new~json", b"{}"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "It answered HTTP 200, where 202 is expected"),
        (204, "It answered HTTP 204, where 202 is expected"),
        (400, "It answered HTTP 400, where 202 is expected"),
        (401, "It does not know this token"),
        (403, "It answered HTTP 403, where 202 is expected"),
        (404, "It does not serve this path"),
        (405, "What answered is no odoo-mailer"),
        (500, "It answered HTTP 500, where 202 is expected"),
        (503, "It answered HTTP 503, where 202 is expected"),
    ],
)
def test_every_other_answer_says_what_is_wrong(status, expected, serve):
    """
    Only 202 means that the list is fetched; the rest is explained.
    """
    assert reason_of_failure(serve(status).url).startswith(expected)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status, serve):
    """
    The token does not go where a redirect leads to.
    """
    target = serve(202)
    server = serve(status, Location=target.url)

    expected = f"It redirects (HTTP {status}), which is not followed: write where it leads to."
    assert expected == reason_of_failure(server.url)
    assert [] == target.requests


def test_a_silent_server_is_given_up(silent, monkeypatch):
    """
    Who accepts and never answers is not waited for any longer than TIMEOUT.
    """
    monkeypatch.setattr(webhook, "TIMEOUT", 0.05)
    begun = time.monotonic()

    assert "No answer within 0.05 s: does a firewall stand between?" == reason_of_failure(silent)
    assert 0.05 <= time.monotonic() - begun < 1.5


def test_a_closed_port_is_told(closed):
    """
    Nothing listens: that is what is said.
    """
    assert reason_of_failure(f"{closed}/aliases").startswith(NOTHING_LISTENS)


@pytest.mark.parametrize("path", ["/resolver", "/getaddrinfo", "/aliases?resolve"])
def test_the_address_itself_says_nothing_of_the_fault(path, closed):
    """
    A word in the address is not taken for one of the error.
    """
    assert reason_of_failure(f"{closed}{path}").startswith(NOTHING_LISTENS)


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    ],
)
def test_an_unknown_name_is_told(error, monkeypatch):
    """
    A name without an address: that is what is said, be it for now or for good.
    """

    def getaddrinfo(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    assert NOT_RESOLVED == reason_of_failure("http://mail.invalid:8000/aliases")


def test_no_route_is_told(monkeypatch):
    """
    A host that cannot be reached is neither unknown nor closed.
    """

    def connect(*_args, **_kwargs):
        raise OSError(113, "No route to host")

    monkeypatch.setattr(socket.socket, "connect", connect)

    reason = reason_of_failure("http://127.0.0.1:8000/aliases")
    assert "There is no connection: is the host up, and reachable from Odoo?" == reason


def test_a_certificate_that_is_not_trusted_is_told(serve, untrusted):
    """
    Over TLS the token goes only to whom the certificate says it is.
    """
    server = serve(202, tls=untrusted)
    url = server.url.replace("http:", "https:")

    assert reason_of_failure(url).startswith("TLS failed")
    assert [] == server.requests


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", {"Content-Length": "10"}, id="broken off"),
        pytest.param(b"x", {"Transfer-Encoding": "chunked"}, id="no chunk"),
        pytest.param(b"x", {"Content-Encoding": "gzip"}, id="no gzip"),
    ],
)
def test_the_body_of_an_answer_does_not_matter(body, headers, serve):
    """
    The status says it all: the list is fetched, even if the rest of the answer is damaged.
    """
    assert call(Mailer(serve(202, body, **headers).url, TOKEN))[0]


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "x",
        "mail.example.com:8000/aliases",
        "127.0.0.1:8000",
        "//127.0.0.1/aliases",
        "mailto:a@x",
        "ftp://127.0.0.1/aliases",
        "file:///etc/passwd",
        "http:",
        "http://",
        "http:///aliases",
        "http://[",
        "http://[::1/aliases",
        "http://127.0.0.1:99999/aliases",
        "http://127.0.0.1:http/aliases",
        "http://a b/aliases",
        "http://*/aliases",
        "http://.x/aliases",
        f"http://{'a' * 64}.x/aliases",
        f"http://{chr(0xE9) * 64}.x/aliases",
    ],
)
def test_what_is_no_address_is_told(url):
    """
    Junk in the field is a sentence, not a traceback.
    """
    assert reason_of_failure(url).startswith(NO_ADDRESS)


@given(st.text() | st.text(max_size=20).map("http://{}".format))
@example("http://\ud800")
@example("http://x/\ud800")
@example("https://\x00")
def test_no_address_raises(url):
    """
    Whatever is written for an address, there is a sentence for it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unresolved)

        assert reason_of_failure(url)


@pytest.mark.parametrize("token", ["line\nbreak", "\u20ac", "\ud800"])
def test_a_token_that_no_header_can_carry_does_not_raise(token, serve):
    """
    Such a token is never sent; the call did not go well.
    """
    server = serve(202)

    assert not call(Mailer(server.url, token))[0]
    assert [] == server.requests
