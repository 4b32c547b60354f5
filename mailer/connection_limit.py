"""
So many connections and no more: who comes on top is told so, and cut.
"""

from typing import Any

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory

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


class ConnectionLimit(WrappingFactory):
    """
    Wraps the factory of one listener.

    Args:
        protocol_name: ``socketmap``, ``lmtp`` or ``http``.
        descriptors: How many files the process may open.
    """

    noisy = False

    def __init__(
        self, factory: IProtocolFactory, protocol_name: str, descriptors: int, metrics: Metrics
    ) -> None:
        super().__init__(factory)
        share, self._refusal = _SHARES[protocol_name]
        self.limit = max(1, int(descriptors * share))
        self._name = protocol_name
        self._refused = metrics.connections_refused.labels(protocol_name)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # type: ignore[override]
        if len(self.protocols) < self.limit:
            protocol: Protocol = super().buildProtocol(addr)
            return protocol
        self._refused.inc()
        log.warn("{protocol}: more than {limit} connections, one refused",
                 protocol=self._name, limit=self.limit)  # fmt: skip
        return _Refusal(self._refusal)


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
