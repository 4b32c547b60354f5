"""
Certificates: an authority, and what a server may show that is right or wrong.
"""

import datetime
import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key() -> Key:
    """
    Return a key of the usual kind.
    """
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """
    Args:
        lasts: From now, likewise below.

    Attributes:
        pem: Its own certificate.
    """

    def __init__(self, name: str = "Ours", lasts: datetime.timedelta = DAY) -> None:
        self._key, self._name = new_key(), _common_name(name)
        self.pem = _pem(self._signed(self._name, self._key, lasts, _may_sign(True)))

    def certificate(
        self,
        key: Key,
        *names: str,
        called: str = "server",
        begins: datetime.timedelta = -10 * DAY,
        lasts: datetime.timedelta = DAY,
        usage: x509.ObjectIdentifier | None = None,
    ) -> x509.Certificate:
        """
        Return what a server of these names and addresses shows.

        Args:
            called: Its common name, where nobody looks any more.
            usage: What alone it is good for.
        """
        extensions: list[tuple[x509.ExtensionType, bool]] = [*_may_sign(False)]
        if usage is not None:
            extensions.append((x509.ExtendedKeyUsage([usage]), False))
        if names:
            extensions.append((x509.SubjectAlternativeName(map(_general_name, names)), False))
        return self._signed(_common_name(called), key, lasts, extensions, begins)

    def context(self, path: Path, *names: str, lasts: datetime.timedelta = DAY) -> ssl.SSLContext:
        """
        Return what a server of these names and addresses needs.

        Args:
            path: Gets key and certificate.
        """
        key = new_key()
        path.write_text(_pem(self.certificate(key, *names, lasts=lasts)) + _key_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _signed(
        self,
        subject: x509.Name,
        key: Key,
        lasts: datetime.timedelta,
        extensions: Iterable[tuple[x509.ExtensionType, bool]],
        begins: datetime.timedelta = -10 * DAY,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(
            self._name, subject, key.public_key(), serial, now + begins, now + lasts
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def _may_sign(others: bool) -> Iterable[tuple[x509.ExtensionType, bool]]:
    return [(x509.BasicConstraints(others, None), True)]


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
