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
# Up to 512 octets come from Python's own pool, which takes less than malloc(3); an object of bytes
# has 33 for itself, an event 12.
FEW = 448  # octets at once, until there are more; hardly a lookup is longer
MAX_READY = 42  # connections at once
ENOUGH = 4096  # octets of many in one turn, some hundred lookups
LONGEST_TURN = 3600.0  # seconds, where the reactor has no timer or the clock is put back

Receive = Callable[[bytes], bytes | None]  # what it returns is sent
Read = Callable[[], int]  # reads a connection, returns how many octets it was

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
        self._is_over = False  # the turn, as the reactor may have something to do
        self._reads: dict[int, Read] = {}

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
            self._epoll.register(self._reactor._poller.fileno(), select.EPOLLIN)
            self._reactor.doIteration = self._turn

    def transport_for(self, transport: Any, receive: Receive) -> Any:
        """
        Return what a protocol uses in the place of its transport; that itself, if need be.

        Args:
            receive: What the protocol does with octets; it may write an answer, or return it,
                which takes less.
        """
        if not self._can_read(transport):
            return transport
        transport.stopReading()
        quick = QuickTransport(self, transport, receive)
        quick.resumeProducing()
        return quick

    def add(self, descriptor: int, read: Read) -> None:
        """
        Call ``read`` whenever there is something to read.

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
            self._end_turn()

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
        # What is bound once a turn is not looked for at each lookup.
        seconds, poll = self._reactor.seconds, self._epoll.poll
        reads, end_turn = self._reads, self._end_turn
        wait = LONGEST_TURN if timeout is None else float(timeout)
        end = seconds() + wait
        self._is_over = False
        while wait >= 0.0 and not self._is_over:
            ready = poll(wait, MAX_READY)
            for descriptor, _ in ready:
                read = reads.get(descriptor, end_turn)
                try:
                    read()
                except Exception:
                    self._note_fault()
            if not ready:
                break
            wait = end - seconds()
            if wait > LONGEST_TURN:
                wait = LONGEST_TURN
        self._reactor.doPoll(0)

    def _read_ready(self) -> int:
        octets, first, ready = 0, 0, self._epoll.poll(0, MAX_READY)
        while ready:
            before, connections = octets, sum(descriptor in self._reads for descriptor, _ in ready)
            for descriptor, _ in ready:
                if first < ENOUGH:
                    first += self.give_way()
                read = self._reads.get(descriptor, self._end_turn)
                try:
                    octets += read()
                except Exception:
                    self._note_fault()
            # Who is alone takes its time; and the reactor has others to see to.
            again = connections > 1 and before < octets < ENOUGH
            ready = self._epoll.poll(0, MAX_READY) if again else ()
        return octets

    def _end_turn(self) -> int:
        """
        End the turn: there is something for the reactor, or a connection has left.
        """
        self._is_over = True
        return 0

    def _note_fault(self) -> None:
        """
        Whatever is wrong with one connection, the reactor has to keep us for the others.
        """
        log.failure("a connection of {name}", failure=Failure(), name=self._name)

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

    It has what a protocol needs that has registered its producer before: ``write`` and what
    follows it here.
    """

    def __init__(self, reader: QuickReader, transport: Connection, receive: Receive) -> None:
        self._reader = reader
        self._transport = transport
        self._receive = receive
        self._send, self._recv = transport.socket.send, transport.socket.recv
        self._most = FEW  # octets read at once
        self._descriptor = transport.fileno()
        self._is_quick = True
        self._is_read = False  # here

    def write(self, data: bytes) -> None:
        """
        Send octets; the transport keeps what is not taken now.
        """
        if self._is_quick:
            send = self._send
            try:
                sent = send(data)
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

    def unregisterProducer(self) -> None:
        """
        Have nobody asked to pause any more.
        """
        self._transport.unregisterProducer()

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
        recv, receive = self._recv, self._receive
        try:
            data = recv(self._most)
        except OSError:
            data = b""
        if not data:
            self._give_back(reads_on=True)
            return 0
        octets = len(data)
        if octets == self._most:
            self._most = MAX_READ
        try:
            reply = receive(data)
            if reply is not None:
                self.write(reply)
        except Exception:
            self.abortConnection()
            raise
        return octets

    def _give_back(self, reads_on: bool) -> None:
        self.pauseProducing()
        self._is_quick = False
        if reads_on:
            self._transport.startReading()
