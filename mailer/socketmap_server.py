"""
The socketmap server: answers Postfix's lookups from the table in force.

Source: socketmap_table(5).
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from mailer.directory import Directory
from mailer.errors import ProtocolError
from mailer.metrics import Metrics
from mailer.socketmap import MAP_NAMES, Request, RequestReader, answer, netstring

IDLE_TIMEOUT = 100  # seconds from one whole request to the next; Postfix itself closes after 10

_RESULTS = ("ok", "notfound", "temp", "perm")

log = Logger()


@implementer(IPushProducer)
class SocketmapProtocol(Protocol, TimeoutMixin):
    """
    One connection: answers requests in order, cuts the connection on anything else.

    Who does not read the answers is not read from either.
    """

    factory: "SocketmapFactory"

    transport: Any

    def __init__(self, clock: IReactorTime) -> None:
        self._reader = RequestReader()
        self._clock = clock

    def callLater(self, period: float, function: Callable[[], None]) -> IDelayedCall:
        return self._clock.callLater(period, function)

    def connectionMade(self) -> None:
        self.factory.metrics.socketmap_connections.inc()
        self.transport.registerProducer(self, streaming=True)
        self.setTimeout(IDLE_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        answers: list[bytes] = []
        try:
            answers.extend(map(self._answer, self._reader.receive_data(data)))
        except ProtocolError as error:
            self.factory.metrics.protocol_errors.labels("socketmap").inc()
            log.warn("socketmap connection cut: {reason}", reason=str(error))
            self.transport.write(b"".join(answers))
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            return
        if answers:
            self.resetTimeout()
            self.transport.write(b"".join(answers))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self.factory.metrics.socketmap_connections.dec()

    def timeoutConnection(self) -> None:
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        pass  # connectionLost follows

    def _answer(self, request: Request) -> bytes:
        return netstring(self.factory.answer(request))


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
        self._clock = clock
        self._log_lookups = log_lookups
        self._seconds: Callable[[float], None] = metrics.socketmap_lookup_seconds.observe
        self._count = {
            (name, result[0].upper().encode()): metrics.socketmap_lookups.labels(name, result)
            for name in (*(name.decode() for name in MAP_NAMES), "other")
            for result in _RESULTS
        }

    def buildProtocol(self, addr: IAddress | None) -> SocketmapProtocol:  # type: ignore[override]
        protocol = SocketmapProtocol(self._clock)
        protocol.factory = self
        return protocol

    def answer(self, request: Request) -> bytes:
        """
        Answer one lookup, and count it.
        """
        started = self._clock.seconds()
        said = answer(self.directory.table, request, started)
        name = request.map_name.decode() if request.map_name in MAP_NAMES else "other"
        self._count[name, said[:1]].inc()
        if self._log_lookups:
            log.debug("{map} {key!r}: {said!r}", map=name, key=request.key, said=said)
        self._seconds(self._clock.seconds() - started)
        return said
