"""
HTTP on the reactor, by treq.
"""

from collections.abc import Coroutine, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from io import RawIOBase
from typing import Any, NoReturn, TypeVar, cast

from hyperlink import EncodedURL
from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import CertificateError, ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from mailer.errors import MailerError, NoAnswerError, TlsError, UnreachableError
from mailer.http_client import BodyProducer, header_of, read_pieces
from mailer.http_exchange import NO_HTTP, said, too_late

# A session cookie of Odoo chooses a database; every call stands by itself.
_NO_COOKIES = DefaultCookiePolicy(allowed_domains=[])
_NO_CONNECTION = (ConnectError, DNSLookupError)
_T = TypeVar("_T")


class _Url(EncodedURL):
    """
    A URL as it stands; treq would have a host name made of an IPv6 address, and fail.
    """

    def to_uri(self) -> "_Url":
        return self


class TwistedHttp:
    """
    See ``http_exchange.Http``.

    Args:
        agent: Makes the connections, see ``http_client.make_agent``.
        clock: For the time that a call may take.
    """

    def __init__(self, agent: IAgent, clock: IReactorTime) -> None:
        self._treq = HTTPClient(agent, cast(Any, CookieJar(_NO_COOKIES)))
        self._clock = clock

    async def request(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str | bytes],
        body: RawIOBase | None = None,
    ) -> "_Response":
        producer = None if body is None else BodyProducer(body)
        headers: dict[str, Any] = {name: [value] for name, value in fields.items()}
        try:
            response = await self._treq.request(
                method,
                _Url.from_text(url),
                headers=Headers(headers),
                data=producer,
                allow_redirects=False,
                unbuffered=True,
            )
        except BaseException:
            if producer is not None:
                producer.abandon()
            raise
        return _Response(cast(IResponse, response), producer)

    async def within(self, seconds: float, call: Coroutine[Any, Any, _T]) -> _T:
        def late(_: object, seconds: float) -> NoReturn:
            raise too_late(seconds)

        deferred = Deferred.fromCoroutine(call)
        deferred.addTimeout(seconds, self._clock, late)
        try:
            return await deferred
        except MailerError:
            raise
        except Exception as error:
            raise _translated(error) from None


class _Response:
    def __init__(self, response: IResponse, producer: BodyProducer | None) -> None:
        self.code: int = response.code
        self._response = response
        self._producer = producer

    def field(self, name: str) -> str | None:
        return header_of(self._response, name)

    async def pieces(self, limit: int, whole: bool) -> list[bytes]:
        return await read_pieces(self._response, limit, whole)

    def close(self) -> None:
        if self._producer is not None:
            self._producer.abandon()


def _translated(error: Exception) -> UnreachableError | TlsError:
    """
    Return what a failed call means.
    """
    causes = [reason.value for reason in getattr(error, "reasons", ())] or [error]
    for cause in causes:
        if isinstance(cause, SSL.Error | VerificationError | CertificateError):
            return TlsError(f"TLS failed: {_said(cause)}")
    kind = UnreachableError if isinstance(error, _NO_CONNECTION) else NoAnswerError
    return kind("; ".join(_said(cause) for cause in causes))


def _said(error: BaseException) -> str:
    # A ValueError is of Twisted's parser, which tells what it unpacked.
    return NO_HTTP if isinstance(error, ValueError) else said(error)
