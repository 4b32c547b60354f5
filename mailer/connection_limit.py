"""
So many connections and no more: who comes on top is told so, and cut.
"""

from typing import Any

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.metrics import Metrics
from mailer.reply import TOO_MANY_CONNECTIONS_421
from mailer.socketmap import TEMP_TOO_MANY, netstring

_BUSY_503 = b"Too many connections, try again later\n"

# By protocol: the part of all descriptors that its connections may take, and how it says no.
# A session of LMTP may need two more, for a large message and for Odoo.
_SHARES = {
    "socketmap": (1 / 2, netstring(TEMP_TOO_MANY)),
    "lmtp": (1 / 8, TOO_MANY_CONNECTIONS_421.line()),
    "http": (
        1 / 16,
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 10\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BUSY_503), _BUSY_503),
    ),
}

log = Logger()


class ConnectionLimit(Factory):
    """
    Stands before the factory of one listener; its connections cost no more than without.

    Args:
        protocol_name: ``socketmap``, ``lmtp`` or ``http``.
        descriptors: How many files the process may open.
    """

    noisy = False

    def __init__(
        self, factory: IProtocolFactory, protocol_name: str, descriptors: int, metrics: Metrics
    ) -> None:
        share, self._refusal = _SHARES[protocol_name]
        self.limit = max(1, int(descriptors * share))
        self._factory = factory
        self._connections = 0
        self._name = protocol_name
        self._refused = metrics.connections_refused.labels(protocol_name)

    def doStart(self) -> None:
        self._factory.doStart()
        super().doStart()

    def doStop(self) -> None:
        self._factory.doStop()
        super().doStop()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        if self._connections < self.limit:
            return self._counted(self._factory.buildProtocol(addr))  # type: ignore[arg-type]
        self._refused.inc()
        log.warn("{protocol}: more than {limit} connections, one refused",
                 protocol=self._name, limit=self.limit)  # fmt: skip
        return _Refusal(self._refusal)

    def _counted(self, protocol: Any) -> Protocol:
        """
        Count a connection until it is lost.
        """
        lose = protocol.connectionLost

        def lost(reason: Failure = connectionDone) -> None:
            self._connections -= 1
            lose(reason)

        protocol.connectionLost = lost
        self._connections += 1
        counted: Protocol = protocol
        return counted


class _Refusal(Protocol):
    """
    Says no, and goes.
    """

    transport: Any

    def __init__(self, text: bytes) -> None:
        self._text = text

    def connectionMade(self) -> None:
        self.transport.write(self._text)
        self.transport.loseConnection()
