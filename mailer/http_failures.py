"""
What a call that failed means, in an administrator's words.
"""

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import CertificateError, ConnectError, DNSLookupError
from twisted.web.iweb import IResponse

from mailer.errors import NoAnswerError, TlsError, UnreachableError
from mailer.http_client import header_of

_NO_CONNECTION = (ConnectError, DNSLookupError)


def explained(response: IResponse) -> str:
    """
    Return what a refusal most likely means to an administrator.
    """
    match response.code:
        case 401 | 403:
            return f"HTTP {response.code}, Odoo does not accept the token"
        case 404 | 405:
            return (
                f"HTTP {response.code}, mail_delivery is not there: "
                "is the addon installed, and is this the right host and database?"
            )
        case code if 300 <= code <= 399:
            location = (header_of(response, "Location") or "")[:200]
            return f"HTTP {code}, a redirect to {location!r}; not followed"
        case 502 | 503 | 504:
            return f"HTTP {response.code}, Odoo does not answer the proxy before it"
        case code:
            return f"HTTP {code}"


def translated(error: Exception) -> tuple[type[UnreachableError | TlsError], str]:
    """
    Return what a failed call means, and its reason.
    """
    causes = [reason.value for reason in getattr(error, "reasons", ())] or [error]
    for cause in causes:
        if isinstance(cause, SSL.Error | VerificationError | CertificateError):
            return TlsError, f"TLS failed: {_said(cause)}"
    kind = UnreachableError if isinstance(error, _NO_CONNECTION) else NoAnswerError
    return kind, "; ".join(_said(cause) for cause in causes)


def _said(error: BaseException) -> str:
    if isinstance(error, ValueError):  # of Twisted's parser, which tells what it unpacked
        return "an answer that is no HTTP"
    return " ".join(str(error).split())[:200] or type(error).__name__
