"""
Tests for mailer.odoo over TLS: real handshakes, in memory, with certificates made here.
"""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import FakeTransport
from twisted.test.iosim import connect as plug
from zope.interface import implementer

from mailer.config import parse
from mailer.config_keys import FILE
from mailer.errors import NoAnswerError, TemporaryError, TlsError
from mailer.verdict import Answer

CALLS = pytest.mark.parametrize("name", ["fetch", "deliver"])
DAY = datetime.timedelta(days=1)
NAME = "odoo.example.com"


class Odoo(Protocol):
    """
    Answers each request with an empty body.
    """

    def connectionMade(self):
        self.received = b""

    def dataReceived(self, data):
        self.received += data
        self.factory.received += data
        while b"\r\n\r\n" in self.received:
            head, _, rest = self.received.partition(b"\r\n\r\n")
            size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if len(rest) < int(size or 0):
                return
            self.received = rest[int(size or 0) :]
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class Plain(Protocol):
    """
    Knows no TLS, and says so.
    """

    def dataReceived(self, data):
        self.factory.received += data
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.transport.loseConnection()


class Deaf(Protocol):
    """
    Closes the connection as soon as something comes.
    """

    def dataReceived(self, data):
        self.transport.loseConnection()


@implementer(IOpenSSLServerConnectionCreator)
class Identity:
    """
    The certificate and the key of a server.
    """

    def __init__(self, certificate, key):
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.set_cipher_list(b"ALL:@SECLEVEL=0")  # it is the client who refuses
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)

    def serverConnectionForTLS(self, protocol):
        return SSL.Connection(self.context, None)


def identity(authority, *names, key=None, **more):
    """
    Return what a server of these names or addresses shows, certified by an authority.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    return Identity(authority.certificate(key, *names, **more), key)


def serve(wire, protocol, identity=None):
    """
    Connect the client with a server; let them talk until neither has more to say.

    Returns:
        Every octet that the server could read.
    """
    from twisted.internet import reactor

    factory = Factory.forProtocol(protocol)
    factory.received = b""
    outer = TLSMemoryBIOFactory(identity, False, factory) if identity else factory
    client = wire.reactor.tcpClients[-1][2].buildProtocol(None)
    server = outer.buildProtocol(None)
    pump = plug(server, FakeTransport(server, True), client, FakeTransport(client, False))
    for _ in range(50):
        reactor.runUntilCurrent()  # TLS gathers what is written in one turn of the global one
        pump.flush()
    return factory.received


@pytest.fixture(scope="module")
def authority(certificates):
    """
    The authority of our servers.
    """
    return certificates.Authority()


@pytest.fixture
def secure(connect, authority):
    """
    Makes a wire to an https server, whose authority is trusted or another one.
    """

    def make(host=NAME, ca=authority.pem):
        return connect(url=f"https://{host}", ca=ca)

    return make


@CALLS
@pytest.mark.parametrize("host", [NAME, "127.0.0.1", NAME.upper()])
def test_trusted(secure, authority, name, host):
    """
    With its authority in ``ca`` a server is trusted, by its name or its address.
    """
    wire = secure(host)
    call = getattr(wire, name)()
    received = serve(wire, Odoo, identity(authority, NAME, "127.0.0.1"))
    assert b"X-Mail-Token: very-secret\r\n" in received
    assert call.done
    assert call.value


def test_large_delivery(secure, authority):
    """
    A large message goes through TLS whole.
    """
    wire = secure()
    call = wire.deliver(b"x" * 300_000)
    received = serve(wire, Odoo, identity(authority, NAME))
    assert Answer(200) == call.value
    assert received.endswith(b"x" * 300_000)


@CALLS
@pytest.mark.parametrize(
    ("names", "lasts"),
    [
        (["other.example.com"], DAY),
        (["example.com"], DAY),
        (["127.0.0.1"], DAY),
        ([NAME], -DAY),
    ],
)
def test_wrong_certificate(secure, authority, name, names, lasts):
    """
    A certificate of another name, or one that is out of date, is a TLS failure.
    """
    wire = secure()
    call = getattr(wire, name)()
    received = serve(wire, Odoo, identity(authority, *names, lasts=lasts))
    assert isinstance(call.error, TlsError)
    assert str(call.error).startswith("TLS failed: ")
    assert b"very-secret" not in received


@CALLS
@pytest.mark.parametrize(
    ("host", "names", "more"),
    [
        (NAME, [NAME], {"begins": DAY, "lasts": 2 * DAY}),
        (NAME, [], {"called": NAME}),
        (NAME, ["*.com"], {}),
        (NAME, ["od*.example.com"], {}),
        (NAME, [NAME], {"usage": ExtendedKeyUsageOID.CLIENT_AUTH}),
        ("a.b.example.com", ["*.example.com"], {}),
        ("127.0.0.1", ["127.0.0.2"], {}),
        ("127.0.0.1", [NAME], {"called": "127.0.0.1"}),
    ],
)
def test_certificate_that_does_not_count(secure, authority, name, host, names, more):
    """
    Not valid yet, of a name that only looks right, made for something else: no token goes out.
    """
    wire = secure(host)
    call = getattr(wire, name)()
    received = serve(wire, Odoo, identity(authority, *names, **more))
    assert isinstance(call.error, TlsError)
    assert b"very-secret" not in received


def test_wildcard(secure, authority):
    """
    One for all names of a domain is good.
    """
    wire = secure()
    call = wire.deliver()
    serve(wire, Odoo, identity(authority, "*.example.com"))
    assert Answer(200) == call.value


def test_weak_key(secure, authority):
    """
    A key that can be broken is a TLS failure.
    """
    wire = secure()
    call = wire.deliver()
    shown = identity(authority, NAME, key=rsa.generate_private_key(65537, 1024))
    received = serve(wire, Odoo, shown)
    assert isinstance(call.error, TlsError)
    assert b"" == received


@pytest.mark.parametrize("is_issuer", [False, True])
def test_authority_out_of_date(secure, authority, is_issuer, certificates):
    """
    In a bundle it does no harm to the others, and is trusted no more itself.
    """
    old = certificates.Authority("Old", lasts=-DAY)
    wire = secure(ca=old.pem + authority.pem)
    call = wire.deliver()
    received = serve(wire, Odoo, identity(old if is_issuer else authority, NAME))
    if is_issuer:
        assert isinstance(call.error, TlsError)
        assert b"" == received
    else:
        assert Answer(200) == call.value


@pytest.mark.parametrize("insecure", [False, True])
def test_no_configuration_switches_it_off(connect, authority, tmp_path, insecure, certificates):
    """
    ``insecure`` is about plain http; what says https is checked.
    """
    text = f"host: https://{NAME}\ntoken: very-secret\ninsecure: {str(insecure).lower()}\n"
    (server,) = parse(text, "c.yaml", lambda name: "").servers
    wire = connect(url=server.url, ca=authority.pem)
    call = wire.deliver()
    received = serve(wire, Odoo, identity(certificates.Authority("Ours"), NAME))
    assert isinstance(call.error, TlsError)
    assert b"" == received
    assert not {"verify", "tls", "ssl", "verify_tls", "ciphers"} & {str(key) for key in FILE.schema}


@CALLS
@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("other", ["Other", "Ours"])
def test_unknown_authority(secure, name, size, other, certificates):
    """
    A certificate of another authority than ``ca`` is a TLS failure, and no token goes out.
    """
    wire = secure()
    call = wire.deliver(b"x" * size) if name == "deliver" else wire.fetch()
    received = serve(wire, Odoo, identity(certificates.Authority(other), NAME))
    assert isinstance(call.error, TlsError)
    assert b"" == received


@CALLS
def test_authorities_of_the_system(secure, authority, name):
    """
    Without ``ca`` the system's authorities count, and ours is none of them.
    """
    wire = secure(ca="")
    call = getattr(wire, name)()
    received = serve(wire, Odoo, identity(authority, NAME))
    assert isinstance(call.error, TlsError)
    assert b"" == received


def test_several_authorities(secure, authority, certificates):
    """
    Each certificate in ``ca`` counts, whatever text stands between.
    """
    other = certificates.Authority("Other")
    wire = secure(ca=f"# first\n{other.pem}\n# second\n{authority.pem}\nend\n")
    call = wire.deliver()
    serve(wire, Odoo, identity(authority, NAME))
    assert Answer(200) == call.value


def test_self_signed(secure):
    """
    A certificate that signed itself is trusted where it stands in ``ca``.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    wire = secure(ca=pem)
    call = wire.deliver()
    serve(wire, Odoo, Identity(certificate, key))
    assert Answer(200) == call.value


@CALLS
def test_no_common_version(secure, authority, name):
    """
    A server that speaks only an old TLS is a TLS failure.
    """
    shown = identity(authority, NAME)
    shown.context.set_min_proto_version(SSL.TLS1_VERSION)
    shown.context.set_max_proto_version(SSL.TLS1_1_VERSION)
    wire = secure()
    call = getattr(wire, name)()
    received = serve(wire, Odoo, shown)
    assert isinstance(call.error, TlsError)
    assert b"" == received


@CALLS
def test_no_tls_there(secure, name):
    """
    A server that answers without TLS is a TLS failure, and sees no token.
    """
    wire = secure()
    call = getattr(wire, name)()
    received = serve(wire, Plain)
    assert isinstance(call.error, TlsError)
    assert b"very-secret" not in received


@CALLS
def test_closed_in_the_handshake(secure, name):
    """
    A connection that closes before TLS is there is a temporary failure.
    """
    wire = secure()
    call = getattr(wire, name)()
    serve(wire, Deaf)
    assert isinstance(call.error, (TlsError, NoAnswerError))
    assert isinstance(call.error, TemporaryError)
