"""
HTTP as we speak it: connections, their trust, bodies out and in.

Source: RFC 9110, RFC 9112; what Twisted's client leaves to its users.
"""

import os
from collections.abc import Sequence
from io import RawIOBase
from typing import Any

from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IConsumer, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    ResponseDone,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

from mailer.config import Server
from mailer.errors import EarlyAnswerError, ListError, NoAnswerError
from mailer.http_exchange import CONNECT_TIMEOUT, PIECE, check_coding, unreadable_ca
from mailer.tls import StrictPolicy

KEEP_CONNECTION = 10  # seconds: web servers wait longer, so they seldom close first


def make_agent(reactor: Any, server: Server) -> IAgent:
    """
    Return an agent that trusts the server's ``ca``, or the system's authorities.

    Raises:
        ConfigError: The ``ca`` holds no certificates.
    """
    trust = trustRootFromCertificates(_certificates(server)) if server.ca else platformTrust()
    endpoints = _Endpoints(reactor, StrictPolicy(trust))
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = server.max_in_flight
    pool.cachedConnectionTimeout = KEEP_CONNECTION
    pool.retryAutomatically = False
    return PlainAgent(
        Agent.usingEndpointFactory(reactor, endpoints),
        Agent.usingEndpointFactory(reactor, endpoints, pool),
    )


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """
    Endpoints that cost nothing until they connect.

    Twisted's own looks the name over, and makes a TLS context, for each call, also
    for one on a connection that was kept.
    """

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._policy = policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return _Endpoint(self, uri)

    def make(self, uri: URI) -> IStreamClientEndpoint:
        """
        Return the endpoint that connects.
        """
        host = uri.host.decode("ascii")
        endpoint = HostnameEndpoint(self._reactor, host, uri.port, CONNECT_TIMEOUT)
        if uri.scheme == b"http":
            return endpoint
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, endpoints: _Endpoints, uri: URI) -> None:
        self._endpoints = endpoints
        self._uri = uri

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        return self._endpoints.make(self._uri).connect(protocolFactory)


@implementer(IAgent)
class PlainAgent:
    """
    Asks for no content coding, and takes none: of a broken one nobody would notice.

    Connections are reused as long as the server speaks HTTP/1.1: Twisted's
    pool also keeps one that an HTTP/1.0 server is about to close, as Odoo's
    workers do, and the next call on it would fail.

    Args:
        single: Makes a connection for each call.
        pooled: Keeps connections.
    """

    def __init__(self, single: IAgent, pooled: IAgent) -> None:
        self._single = single
        self._pooled = pooled
        self._agent = pooled

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        headers = Headers() if headers is None else headers.copy()
        headers.removeHeader("Accept-Encoding")
        requested: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return requested.addCallback(self._check)

    def _check(self, response: IResponse) -> IResponse:
        keeps = tuple(response.version) == (b"HTTP", 1, 1)
        self._agent = self._pooled if keeps else self._single
        try:
            check_coding(header_of(response, "Content-Encoding"))
        except NoAnswerError:
            unread: Deferred[list[bytes]] = Deferred()
            unread.addErrback(lambda _: None)  # however it ends
            content = _Content(0, whole=False, done=unread)
            response.deliverBody(content)
            content.stop()  # it may never come, and nobody waits for it any more
            raise
        return response


@implementer(IBodyProducer)
class BodyProducer:
    """
    Sends a message as fast as the connection takes it; to be stopped where the answer comes first.

    Twisted's own waits a turn of the reactor for each piece, the first too. Stopped,
    it leaves its Deferred unfired, and the connection open.

    Args:
        file: Is sent from its beginning, and left open; it may have to be sent again.
    """

    _consumer: Any = None
    _producing: Deferred[None] | None = None
    _paused = False

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self.length = file.seek(0, os.SEEK_END)
        file.seek(0)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        producing: Deferred[None] = Deferred()
        self._consumer, self._producing = consumer, producing
        self.resumeProducing()
        return producing

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._producing is not None and not self._paused:
            self._produce()

    def stopProducing(self) -> None:
        self._producing = None

    def abandon(self) -> None:
        """
        Stop, where the server has answered and wants no more.
        """
        if self._producing is not None:
            self._end(Failure(EarlyAnswerError()))
            # Twisted wraps the transport in a consumer that counts, and has no other way to it.
            getattr(self._consumer, "_consumer", self._consumer).abortConnection()

    def _produce(self) -> None:
        try:
            piece = self._file.read(PIECE)
            if piece:
                self._consumer.write(piece)
        except Exception:
            self._end(Failure())
        else:
            if not piece:
                self._end(None)

    def _end(self, result: Any) -> None:
        producing, self._producing = self._producing, None
        if producing is not None:
            producing.callback(result)


class _Content(Protocol):
    """
    Collects the body of an answer.
    """

    def __init__(self, limit: int, whole: bool, done: Deferred[list[bytes]]) -> None:
        self._limit = limit
        self._whole = whole
        self._done: Deferred[list[bytes]] | None = done
        self._chunks: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        done = self._done
        if self._size <= self._limit or done is None:
            return
        self.stop()
        if self._whole:
            done.errback(ListError(f"an answer of more than {self._limit} octets"))
        else:
            done.callback([b"".join(self._chunks)[: self._limit]])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if reason.check(ResponseDone) or (reason.check(PotentialDataLoss) and not self._whole):
            done.callback(self._chunks)
        else:
            done.errback(reason)

    def stop(self) -> None:
        """
        Take no more of it.
        """
        self._done = None
        if self.transport is not None:
            self.transport.loseConnection()


async def read_pieces(response: IResponse, limit: int, whole: bool) -> list[bytes]:
    """
    Return the body, as it came: to join a large one takes long.

    Args:
        limit: Octets.
        whole: A body of which nobody can tell that it is complete is refused.
    """
    done: Deferred[list[bytes]] = Deferred(lambda _: protocol.stop())
    protocol = _Content(limit, whole, done)
    response.deliverBody(protocol)
    return await done


def header_of(response: IResponse, name: str) -> str | None:
    """
    Return the first value of a header field, whatever octets it has; None where there is none.
    """
    values: Sequence[bytes] | None = response.headers.getRawHeaders(name.encode("ascii"))
    return values[0].decode("latin-1").strip() if values else None


def _certificates(server: Server) -> list[Certificate]:
    end = "-----END CERTIFICATE-----"
    parts = server.ca.split(end)[:-1]
    try:
        certificates = [Certificate.loadPEM((part + end).encode()) for part in parts]
    except crypto.Error:
        certificates = []
    if not certificates:
        raise unreadable_ca(server)
    return certificates
