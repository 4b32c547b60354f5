"""
HTTP as we take it in: what is wanted, how much of it, and for how long.

Whoever reaches the port can begin a request. Of a body nothing is taken in
before the site has said, from the header alone, that it wants it.

Source: RFC 9110, RFC 9112; what ``twisted.web.http`` leaves to its users. Sites of resources,
``twisted.web.server``, take two megabytes more.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

HEADER_TIMEOUT = 60  # seconds for a header to come in, from the end of the request before
BODY_TIMEOUT = 300  # seconds for a body
LINGER = 5  # seconds for a client to read why nothing of its body is taken


class BoundedRequest(Request):
    """
    A request whose body is never kept beyond what is wanted.

    Attributes:
        limit: Octets of the body that are wanted; None for none, however many come.
        too_large: More than that came, or was announced.
        refusal: For those who look at a request to keep why they refuse it.
        is_rendered: Likewise, that it came in whole and is being answered.
    """

    channel: Any
    content: Any
    limit: int | None = None
    too_large = False
    refusal: Any = None
    is_rendered = False

    def process(self) -> None:
        self.channel.site.answer(self)

    def gotLength(self, length: int | None) -> None:
        self.limit = self.channel.site.wanted(self, length)
        if self.limit is None:
            self.too_large = length != 0
        elif length is not None:
            self.too_large = length > self.limit
        super().gotLength(0 if self.too_large else length)

    def handleContentChunk(self, data: bytes) -> None:
        if not self.too_large and self.content.tell() + len(data) > (self.limit or 0):
            self.too_large = True
            self.content.seek(0)
            self.content.truncate()
        if not self.too_large:
            super().handleContentChunk(data)


class BoundedChannel(HTTPChannel):
    """
    A connection for one request, which has to be here in time.

    A body that is not wanted stays away. With thousands of pipelined requests one
    connection could keep lookups waiting for seconds. It speaks HTTP/1.1 and nothing
    that could be made of it.
    """

    requestFactory = BoundedRequest
    site: "BoundedSite"
    transport: Any
    requests: list[BoundedRequest]
    _networkProducer: Any
    _command: bytes
    _path: bytes
    _deadline: IDelayedCall | None = None
    _lingering = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self._expect_within(HEADER_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        if not self._lingering:
            super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        request.method, request.uri = self._command, self._path  # Twisted sets them later
        request.path = self._path.partition(b"?")[0]
        self._expect_within(BODY_TIMEOUT)
        super().allHeadersReceived()
        if request.too_large:
            # To Twisted it is a request without a body: it is answered at once.
            self.length = 0
            self._lingering = True

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        request.setHeader("Connection", "close")
        return False

    def _send100Continue(self) -> None:
        if not self.requests[-1].too_large:
            super()._send100Continue()

    def allContentReceived(self) -> None:
        self._expect_within(None)
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        self._expect_within(HEADER_TIMEOUT)
        super().requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._expect_within(None)
        super().connectionLost(reason)

    def timeoutConnection(self) -> None:
        self.setTimeout(None)
        self._expect_within(None)
        super().timeoutConnection()

    def loseConnection(self) -> None:
        """
        Close; a client that is still sending is given time to read the answer first.

        Closed at once, with octets unread, the connection would be reset and the answer lost.
        """
        if not self._lingering:
            super().loseConnection()
            return
        self._networkProducer.unregisterProducer()
        self._networkProducer.resumeProducing()
        if not self.isSecure() and hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()  # within TLS there is no such thing
        self._expect_within(LINGER, self.transport.abortConnection)

    def _expect_within(
        self, seconds: float | None, otherwise: Callable[[], None] | None = None
    ) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        if seconds is not None:
            self._deadline = self.callLater(seconds, otherwise or self.timeoutConnection)


class BoundedSite(HTTPFactory):
    """
    Args:
        answer: Gets each request that is here as far as it is wanted; writes an answer, now or
            later, and finishes it.
        wanted: Says how many octets of a body are wanted, see ``BoundedRequest.limit``; gets
            the request, whose header and path are known, and its ``Content-Length``, 0 where
            there is no body and None for a chunked one.
    """

    noisy = False
    protocol = BoundedChannel  # type: ignore[assignment]

    def __init__(
        self,
        answer: Callable[[BoundedRequest], None],
        wanted: Callable[[BoundedRequest, int | None], int | None],
        reactor: IReactorTime,
    ) -> None:
        super().__init__(timeout=HEADER_TIMEOUT, reactor=reactor)
        self.answer = answer
        self.wanted = wanted

    def startFactory(self) -> None:
        """Twisted would write the time of day down every second, for a log that nobody keeps."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        channel: Any = super().buildProtocol(addr)
        channel.site = self
        return channel
