"""
The socketmap server: answers Postfix's lookups from the table in force.

Source: socketmap_table(5).
"""

from typing import Any

from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailer.deadline import Deadline
from mailer.directory import Directory
from mailer.metrics import Metrics
from mailer.quick_transport import QuickReader
from mailer.socketmap import RequestReader, answer, answer_alone, parse_netstring

IDLE_TIMEOUT = 100.0  # seconds from one whole request to the next; Postfix itself closes after 10

log = Logger()


@implementer(IPushProducer)
class SocketmapProtocol(Protocol):
    """
    One connection: answers requests in order, cuts the connection on anything else.

    Who does not read the answers is not read from either.
    """

    factory: "SocketmapFactory"

    transport: Any

    def __init__(self, clock: IReactorTime) -> None:
        self._reader = RequestReader()
        self._seconds = clock.seconds
        self._idle = Deadline(clock, self._drop)

    def connectionMade(self) -> None:
        self.factory.metrics.socketmap_connections.inc()
        self.transport.registerProducer(self, streaming=True)
        self._idle.set(self._seconds() + IDLE_TIMEOUT)
        quick = self.factory.quick_reader
        self.transport = quick.transport_for(self.transport, self.respond)

    def dataReceived(self, data: bytes) -> None:
        reply = self.respond(data)
        if reply is not None:
            self.transport.write(reply)

    def respond(self, data: bytes) -> bytes | None:
        """
        Return the answers to the requests that are now complete, if there are any.
        """
        factory, now = self.factory, self._seconds()
        if self._reader.rest or factory.log_lookups:
            return self._respond_to_many(data, now)
        said = answer_alone(factory.directory.table, data, now)
        if said is None:
            return self._respond_to_many(data, now)
        # One request and nothing else, as Postfix sends them: what is done for many takes longer.
        reply, outcome = said
        self._idle.at = now + IDLE_TIMEOUT
        lookups = factory.lookups
        lookups.counts[outcome] += 1
        lookups.took(self._seconds() - now, 1)
        return reply

    def _respond_to_many(self, data: bytes, now: float) -> bytes | None:
        replies, requests = None, self._reader.receive_data(data)
        if requests:
            self._idle.at = now + IDLE_TIMEOUT
            replies = self.factory.answer(requests, now)
        if not self._reader.fault:
            return replies
        if replies is not None:
            self.transport.write(replies)
        self._cut()
        return None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._idle.end()
        self.factory.metrics.socketmap_connections.dec()

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        pass  # connectionLost follows

    def _drop(self) -> None:
        self.transport.abortConnection()

    def _cut(self) -> None:
        self.factory.metrics.protocol_errors.labels("socketmap").inc()
        log.warn("socketmap connection cut: {reason}", reason=self._reader.fault)
        self.transport.unregisterProducer()
        self.transport.loseConnection()


class SocketmapFactory(Factory):
    """
    Args:
        clock: Its seconds are Unix time.
        log_lookups: A debug line for each; costs as much as the lookup itself.

    Attributes:
        directory: May be rebound to another at any time.
    """

    noisy = False

    def __init__(
        self,
        directory: Directory,
        metrics: Metrics,
        clock: IReactorTime,
        log_lookups: bool = False,
    ) -> None:
        self.directory = directory
        self.metrics = metrics
        self.quick_reader = QuickReader(clock, "socketmap")
        self._clock, self._seconds = clock, clock.seconds
        self.log_lookups = log_lookups
        self.lookups = metrics.socketmap_lookups

    def buildProtocol(self, addr: IAddress | None) -> SocketmapProtocol:  # type: ignore[override]
        protocol = SocketmapProtocol(self._clock)
        protocol.factory = self
        return protocol

    def answer(self, requests: list[bytes], now: float) -> bytes:
        """
        Answer lookups, and count them.

        Args:
            requests: At least one, as netstrings.
            now: Seconds, Unix time.
        """
        table, counts, seconds = self.directory.table, self.lookups.counts, self._seconds
        replies = []
        for request in requests:
            reply, outcome = answer(table, request, now)
            counts[outcome] += 1
            replies.append(reply)
            if self.log_lookups:
                asked = parse_netstring(request)
                log.debug("{request!r}: {reply!r}", request=asked, reply=reply)
        self.lookups.took(seconds() - now, len(requests))
        return b"".join(replies)
