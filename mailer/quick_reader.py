"""
Reads the connections of one protocol faster than the reactor itself would.

All those that have something to say are read in one turn of the reactor, and
answered in the same: Twisted makes three calls through its log for each, and sends
at its next turn. Only what goes well is done here. At the end of a connection, at an
error, and for a peer that does not take its answers, the connection goes back to its
transport for good, which finds the same and does what it always does.

Where there is no epoll(7), and for TLS, nothing is different from usual.
"""

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

MAX_READ = 65_536  # octets at once, as Twisted
MAX_READY = 64  # connections at once
ENOUGH = 4096  # octets of many in one turn, some hundred lookups

Respond = Callable[[bytes], bytes]

log = Logger()


@implementer(IReadDescriptor)
class QuickReader:
    """
    Args:
        reactor: An IReactorFDSet; with another one, nothing is read here.
        name: What the reactor's log calls it.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._epoll: Any = None
        self._connections: dict[int, tuple[Connection, socket.socket, Respond]] = {}
        self._descriptors: dict[Connection, int] = {}

    def read_from(self, transport: Any, respond: Respond) -> None:
        """
        Read from a connection from now on, if it is one that can be read here.

        Args:
            respond: Takes what came, returns what is to be sent.
        """
        if not self._can_read(transport):
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        transport.stopReading()
        descriptor = transport.fileno()
        self._connections[descriptor] = transport, transport.socket, respond
        self._descriptors[transport] = descriptor
        self._epoll.register(descriptor, select.EPOLLIN)

    def leave(self, transport: Any) -> None:
        """
        Read no more from a connection; it may be closed already, or never have been read here.
        """
        descriptor = self._descriptors.pop(transport, None)
        if descriptor is None:
            return
        del self._connections[descriptor]
        if transport.fileno() == descriptor:  # else closed, and the kernel has forgotten it
            self._epoll.unregister(descriptor)
        if not self._connections:
            self._reactor.removeReader(self)
            self._epoll.close()
            self._epoll = None

    def fileno(self) -> int:
        """Of the epoll instance, which is readable while a connection is."""
        return int(self._epoll.fileno())

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return self._name

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends; so do the connections, by themselves."""

    def doRead(self) -> None:
        """
        Read every connection that is ready, and those that became ready meanwhile.
        """
        octets, ready = 0, self._epoll.poll(0, MAX_READY)
        while ready:
            for descriptor, _ in ready:
                octets += self._read(*self._connections[descriptor])
            # Who is alone takes its time; and the reactor has others to see to.
            again = len(ready) > 1 and octets < ENOUGH and self._epoll is not None
            ready = self._epoll.poll(0, MAX_READY) if again else ()

    def _read(self, transport: Connection, connection: socket.socket, respond: Respond) -> int:
        """
        Read from one connection, and answer; return how many octets there were.
        """
        try:
            data = connection.recv(MAX_READ)
        except OSError:
            data = b""
        if not data:
            self._give_back(transport)
            return 0
        try:
            replies = respond(data)
        except Exception:
            log.failure("{name} connection", failure=Failure(), name=self._name)
            transport.abortConnection()
            replies = b""
        if replies:
            self._send(transport, connection, replies)
        return len(data)

    def _send(self, transport: Connection, connection: socket.socket, replies: bytes) -> None:
        try:
            sent = connection.send(replies)
        except OSError:
            sent = 0
        if sent < len(replies):
            self._give_back(transport)
            transport.write(replies[sent:])

    def _give_back(self, transport: Connection) -> None:
        self.leave(transport)
        transport.startReading()

    def _can_read(self, transport: Any) -> bool:
        return (
            isinstance(transport, Connection)
            and not transport.TLS
            and hasattr(select, "epoll")
            and hasattr(self._reactor, "addReader")
        )
