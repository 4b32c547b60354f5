"""
Whom a TLS client trusts: a certificate that is valid, and names the host that was asked for.

Twisted checks the name in a callback of OpenSSL, and since its version 26.4 goes
on where that check raises what it does not know: a certificate without
alternative names, or with a malformed one, passed for any host. So the name is
checked here, and whatever is not a clear yes is a no.

Source: RFC 9525 (service identity), RFC 9110 4.3.4.
"""

import weakref
from typing import Any

from OpenSSL import SSL, crypto
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import CertificateError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

_MODE = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


@implementer(IPolicyForHTTPS)
class StrictPolicy:
    """
    Trusts a server whose certificate is good for its name.

    Args:
        trust: The authorities, an IOpenSSLTrustRoot.
    """

    def __init__(self, trust: Any) -> None:
        self._policy = BrowserLikePolicyForHTTPS(trust)

    def creatorForNetloc(self, hostname: bytes, port: int) -> "StrictCreator":
        creator = self._policy.creatorForNetloc(hostname, port)
        return StrictCreator(creator, hostname.decode("ascii"))


@implementer(IOpenSSLClientConnectionCreator)
class StrictCreator:
    """
    Makes connections that end where the certificate is not good for the host.

    Args:
        creator: Twisted's own, which chooses versions, ciphers and authorities.
        host: A name in ASCII, or an address.
    """

    def __init__(self, creator: Any, host: str) -> None:
        is_address = isIPAddress(host) or isIPv6Address(host)
        self._creator = creator
        self._identity = IPAddress_ID(host) if is_address else DNS_ID(host)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        protocol = weakref.ref(tlsProtocol)

        def verify(_: SSL.Connection, cert: crypto.X509, error: int, depth: int, ok: int) -> bool:
            if not ok or depth:
                return bool(ok)
            reason = self._mismatch(cert)
            if reason is not None and (failed := protocol()) is not None:
                failed.failVerification(reason)
            return reason is None

        connection.set_verify(_MODE, verify)
        return connection

    def _mismatch(self, certificate: crypto.X509) -> Failure | None:
        """
        Return why a certificate is not good for the host; None if it is.

        An exception would go no further than OpenSSL, and be taken for a yes or a no as it likes.
        """
        try:
            verify_service_identity(extract_patterns(certificate), [self._identity], [])
        except BaseException as error:
            return Failure(CertificateError(str(error) or type(error).__name__))
        return None
