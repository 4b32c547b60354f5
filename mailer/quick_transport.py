"""
Reads and writes connections faster than the reactor itself would.

All those that have something to say are read in one turn of the reactor, and what they are
told is sent in the same: Twisted makes three calls through its log for each, and sends at its
next turn. One reader may lead: the reactor then makes turns of its own only where there is
anything else to do. Only what goes well is done here. At the end of a connection, at an error,
and for a peer that does not take what it is sent, the connection goes back to its transport for
good, which finds the same and does what it always does.

Where there is no epoll(7), and for TLS, nothing is different from usual.
"""

import select
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
LONGEST_TURN = 3600.0  # seconds, where the reactor has no timer or the clock is put back

Receive = Callable[[bytes], None]

log = Logger()


@implementer(IReadDescriptor)
class QuickReader:
    """
    Args:
        reactor: An IReactorFDSet; with another one, nothing is read here.
        name: What the reactor's log calls it.
        first: What is ready there is read before each connection here, in one turn up to
            ``ENOUGH`` octets.
    """

    def __init__(self, reactor: Any, name: str, first: "QuickReader | None" = None) -> None:
        self._reactor = reactor
        self._name = name
        self._first = first
        self._epoll: Any = None
        self._others = (-1, 0)  # what the epoll instance says if the reactor has something to do
        self._left = False  # a connection, in this turn
        self._reads: dict[int, Callable[[], int]] = {}

    def lead(self) -> None:
        """
        Have the reactor wait here, for all it waits for itself, and not the other way round.

        To be called before there are connections. A turn in which there is nothing but what is
        read here then costs half as much; nothing that is read here may set a timer, unless its
        connection leaves. Another reactor than that of epoll(7) leads itself.
        """
        if not hasattr(select, "epoll"):
            return
        from twisted.internet.epollreactor import EPollReactor

        can_follow = isinstance(self._reactor, EPollReactor)
        if can_follow:
            self._epoll = select.epoll()
            self._others = (self._reactor._poller.fileno(), select.EPOLLIN)
            self._epoll.register(*self._others)
            self._reactor.doIteration = self._turn

    def transport_for(self, transport: Any, receive: Receive) -> Any:
        """
        Return what a protocol uses in the place of its transport; that itself, if need be.

        Args:
            receive: The protocol's ``dataReceived``.
        """
        if not self._can_read(transport):
            return transport
        transport.stopReading()
        quick = QuickTransport(self, transport, receive)
        quick.resumeProducing()
        return quick

    def add(self, descriptor: int, read: Callable[[], int]) -> None:
        """
        Call ``read`` whenever there is something to read; it returns how many octets it was.

        Raises:
            OSError: The system has no more descriptors or memory for it.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._reads[descriptor] = read

    def remove(self, descriptor: int) -> None:
        """
        Call it no more.
        """
        if self._reads.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)
            self._left = True

    def fileno(self) -> int:
        """Of the epoll instance, which is readable while a connection is."""
        return int(self._epoll.fileno())

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return self._name

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends; so do the connections, by themselves."""
        epoll, self._epoll = self._epoll, None
        self._reads.clear()
        if epoll is not None:
            epoll.close()

    def doRead(self) -> None:
        """
        Read every connection that is ready, and those that became ready meanwhile.
        """
        self._read_ready()

    def give_way(self) -> int:
        """
        Read what is to be read first; return how many octets it was.
        """
        if self._first is None or self._first._epoll is None:
            return 0
        return self._first._read_ready()

    def _turn(self, timeout: float | None) -> None:
        """
        A turn of the reactor, which lasts while there is nothing but what is read here.

        Args:
            timeout: Seconds until the next timer; None if there is none.
        """
        wait = LONGEST_TURN if timeout is None else timeout
        end = self._reactor.seconds() + wait
        self._left = False
        while wait >= 0:
            ready = self._epoll.poll(wait, MAX_READY)
            for descriptor, _ in ready:
                self._read(descriptor)
            if self._others in ready:
                self._reactor.doPoll(0)
                return
            if self._left or not ready:
                return
            wait = min(end - self._reactor.seconds(), LONGEST_TURN)

    def _read_ready(self) -> int:
        octets, first, ready = 0, 0, self._epoll.poll(0, MAX_READY)
        while ready:
            for descriptor, _ in ready:
                if first < ENOUGH:
                    first += self.give_way()
                octets += self._read(descriptor)
            # Who is alone takes its time; and the reactor has others to see to.
            again = len(ready) - (self._others in ready) > 1 and octets < ENOUGH
            ready = self._epoll.poll(0, MAX_READY) if again else ()
        return octets

    def _read(self, descriptor: int) -> int:
        """
        Read one connection; whatever is wrong there, the reactor has to keep us for the others.
        """
        read = self._reads.get(descriptor)
        try:
            return read() if read is not None else 0
        except Exception:
            log.failure("a connection of {name}", failure=Failure(), name=self._name)
            return 0

    def _can_read(self, transport: Any) -> bool:
        return (
            isinstance(transport, Connection)
            and not transport.TLS
            and hasattr(select, "epoll")
            and hasattr(self._reactor, "addReader")
        )


class QuickTransport:
    """
    Stands before a connection's transport, as long as all goes well.
    """

    def __init__(self, reader: QuickReader, transport: Connection, receive: Receive) -> None:
        self._reader = reader
        self._transport = transport
        self._receive = receive
        self._socket = transport.socket
        self._descriptor = transport.fileno()
        self._is_quick = True
        self._is_read = False  # here

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """
        Send octets; the transport keeps what is not taken now.
        """
        if self._is_quick:
            try:
                sent = self._socket.send(data)
            except OSError:  # of which the transport makes what it is
                sent = 0
            if sent == len(data):
                return
            self._give_back(reads_on=self._is_read)
            data = data[sent:]
        self._transport.write(data)

    def pauseProducing(self) -> None:
        """
        Read no more.
        """
        if self._is_read:
            self._is_read = False
            self._reader.remove(self._descriptor)
        elif not self._is_quick:
            self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read on.
        """
        if self._is_read:
            return
        if self._is_quick:
            try:
                self._reader.add(self._descriptor, self._read)
            except OSError:
                self._is_quick = False
            else:
                self._is_read = True
                return
        self._transport.resumeProducing()

    def loseConnection(self) -> None:
        """
        Close the connection, after what is to be sent.
        """
        self._give_back(reads_on=False)
        self._transport.loseConnection()

    def abortConnection(self) -> None:
        """
        Close the connection now.
        """
        self._give_back(reads_on=False)
        self._transport.abortConnection()

    def _read(self) -> int:
        try:
            data = self._socket.recv(MAX_READ)
        except OSError:
            data = b""
        if not data:
            self._give_back(reads_on=True)
            return 0
        try:
            self._receive(data)
        except Exception:
            self.abortConnection()
            raise
        return len(data)

    def _give_back(self, reads_on: bool) -> None:
        self.pauseProducing()
        self._is_quick = False
        if reads_on:
            self._transport.startReading()
