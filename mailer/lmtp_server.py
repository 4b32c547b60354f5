"""
The LMTP server: runs a session on a connection, spools, delivers, replies.

A reply goes out only after Odoo's verdict; a client that goes away in the
meantime changes nothing, its delivery is finished all the same.
"""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailer.alias_table import Match
from mailer.deadline import Deadline
from mailer.delivery import Deliverer, summary
from mailer.directory import Directory
from mailer.lmtp import LmtpSession
from mailer.lmtp_events import (
    Envelope,
    Event,
    MessageData,
    MessageDiscarded,
    MessageEnded,
    MessageRefused,
    MessageStarted,
    SessionClosed,
)
from mailer.metrics import Metrics
from mailer.quick_transport import QuickReader
from mailer.reply import (
    LOCAL_ERROR_451,
    NO_LIST_451,
    SHUTTING_DOWN_421,
    TIMEOUT_421,
    UNKNOWN_RECIPIENT_550,
    Reply,
)
from mailer.spool import Spool

# Seconds. Octets that complete no command gain no time.
COMMAND_TIMEOUT = 300  # from the last reply to a whole command: RFC 5321 4.5.3.2.7
DATA_TIMEOUT = 180  # from one piece of a message to the next: RFC 5321 4.5.3.2.5
MESSAGE_TIMEOUT = 1800  # for a whole message
SESSION_TIMEOUT = 3600  # Postfix uses a connection for 300: lmtp_connection_reuse_time_limit
CLOSE_TIMEOUT = 10  # for the last reply to be read

log = Logger()


@implementer(IPushProducer)
class LmtpProtocol(Protocol):
    """
    One connection.

    Who does not read the replies is not read from either.
    """

    factory: "LmtpFactory"

    transport: Any

    def __init__(self, session: LmtpSession, clock: IReactorTime) -> None:
        self._session = session
        self._envelope: Envelope | None = None
        self._spool: Spool | None = None
        self._delivering = False
        self._gone = False
        self._stopping = False
        self._closing = False
        self._unread = False  # more replies than the client reads
        self._clock = clock
        self._deadline = Deadline(clock, self._time_out)
        self._session_end = clock.seconds() + SESSION_TIMEOUT
        self._message_end: float | None = None  # while a message comes in

    def connectionMade(self) -> None:
        self.factory.connected(self)
        self.transport.registerProducer(self, streaming=True)
        quick = self.factory.quick_reader
        self.transport = quick.transport_for(self.transport, self.dataReceived)
        self._proceed(b"")

    def dataReceived(self, data: bytes) -> None:
        if not self._closing:
            self._proceed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        self._deadline.end()
        self.factory.disconnected(self)
        if not self._delivering and self._spool is not None:
            self.factory.interrupted(self._spool)
            self._drop_spool()

    def pauseProducing(self) -> None:
        self._unread = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._unread = False
        self._read_on()

    def stopProducing(self) -> None:
        pass  # connectionLost follows

    def stop(self) -> None:
        """
        Close the connection, once a delivery under way has been answered.
        """
        self._stopping = True
        if not self._delivering and not self._closing:
            self._close(SHUTTING_DOWN_421)

    def _proceed(self, data: bytes) -> None:
        for event in self._session.receive_data(data):
            self._dispatch(event)
        self._limit_time(answered=self._send())

    def _time_out(self) -> None:
        if self._closing:
            self.transport.abortConnection()
            return
        self.factory.metrics.protocol_errors.labels("lmtp").inc()
        self._close(TIMEOUT_421)

    def _limit_time(self, answered: bool) -> None:
        """
        Set the time in which the next thing has to happen.
        """
        if self._closing or self._delivering:
            return
        now = self._clock.seconds()
        if self._message_end is not None:
            self._deadline.set(min(now + DATA_TIMEOUT, self._message_end))
        elif answered:
            self._deadline.set(min(now + COMMAND_TIMEOUT, self._session_end))

    def _dispatch(self, event: Event) -> None:
        match event:
            case MessageData(data):
                self._keep(data)
            case MessageStarted(envelope):
                self._envelope = envelope
                self._message_end = self._clock.seconds() + MESSAGE_TIMEOUT
                self._start_spool()
            case MessageDiscarded():
                self._drop_spool()
            case MessageEnded():
                self._message_end = None
                self._deliver()
            case MessageRefused(replies):
                self._message_end = None
                self.factory.count(replies)
            case SessionClosed():
                self._lose()

    def _start_spool(self) -> None:
        try:
            self._spool = Spool(self.factory.spool_folder)
        except OSError as error:
            self._refuse(error)

    def _keep(self, data: bytes) -> None:
        if self._spool is None:
            return
        try:
            self._spool.write(data)
        except OSError as error:
            self._refuse(error)

    def _refuse(self, error: OSError) -> None:
        log.error("a message cannot be spooled: {reason}", reason=error.strerror)
        self._session.refuse_message(LOCAL_ERROR_451)
        self._drop_spool()

    def _drop_spool(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            # A full disk may refuse what was still to be written; it is not wanted.
            with contextlib.suppress(OSError):
                spool.close()

    def _deliver(self) -> None:
        envelope, spool = self._envelope, self._spool
        if envelope is None or spool is None:
            self._delivered([LOCAL_ERROR_451] * len(self._session.recipients))
            return
        self._delivering = True
        self._deadline.clear()
        self.factory.deliver(envelope, spool).addCallback(self._delivered)
        if self._delivering:
            self.transport.pauseProducing()

    def _delivered(self, replies: list[Reply]) -> None:
        self._delivering = False
        self._drop_spool()
        self.factory.count(replies)
        if self._gone:
            return
        self._session.send_replies(replies)
        self._send()
        if self._stopping:
            self._close(SHUTTING_DOWN_421)
            return
        if self._session.has_input:
            # Not from here: a client may have pipelined hundreds of messages.
            self._clock.callLater(0, self._resume)
            return
        self._limit_time(answered=True)
        self._read_on()

    def _resume(self) -> None:
        if not self._gone and not self._closing:
            self._limit_time(answered=True)
            self._read_on()
            self._proceed(b"")

    def _read_on(self) -> None:
        if not (self._unread or self._delivering or self._closing):
            self.transport.resumeProducing()

    def _send(self) -> bool:
        data = self._session.data_to_send()
        if data:
            self.transport.write(data)
        return bool(data)

    def _close(self, reply: Reply) -> None:
        self._session.close(reply)
        self._lose()

    def _lose(self) -> None:
        """
        Close after what is to be sent; a client that does not read it is cut off.
        """
        self._closing = True
        self._send()
        self._deadline.set(self._clock.seconds() + CLOSE_TIMEOUT)
        self.transport.unregisterProducer()
        self.transport.loseConnection()


class LmtpFactory(Factory):
    """
    Args:
        hostname: For the greeting.
        spool_folder: For large messages.
        keep_interrupted: Keep what was received of interrupted messages there.
        clock: Its seconds are Unix time.

    Attributes:
        directory, deliverer, hostname, max_message_size: May be rebound at any time.
    """

    noisy = False

    def __init__(
        self,
        directory: Directory,
        deliverer: Deliverer,
        metrics: Metrics,
        clock: IReactorTime,
        hostname: str,
        max_message_size: int,
        spool_folder: str | None,
        keep_interrupted: bool = False,
        first: QuickReader | None = None,
    ) -> None:
        self.directory = directory
        self.deliverer = deliverer
        self.metrics = metrics
        self.hostname = hostname
        self.max_message_size = max_message_size
        self.spool_folder = spool_folder
        # Looked up once each, by code and by result.
        self._recipients = cache(metrics.lmtp_recipients.labels)
        self._messages = cache(metrics.lmtp_messages.labels)
        self._keep_interrupted = keep_interrupted
        self.quick_reader = QuickReader(clock, "lmtp", first)
        self._clock = clock
        self._connections: set[LmtpProtocol] = set()
        self._under_way = 0
        self._drained: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> LmtpProtocol:  # type: ignore[override]
        session = LmtpSession(self.hostname, self.max_message_size, self.route)
        protocol = LmtpProtocol(session, self._clock)
        protocol.factory = self
        return protocol

    def route(self, address: str) -> Match | Reply:
        """
        Say where mail for an address goes, as ``transport`` says it, if it can go there now.
        """
        table = self.directory.table
        found = table.find_deliverable(address, self._clock.seconds())
        if found is None:
            reply = NO_LIST_451 if table.missing else UNKNOWN_RECIPIENT_550
        else:
            match = Match(*found)
            refusal = self.deliverer.refusal(match.entry.server)
            if refusal is None:
                return match
            reply = refusal  # before the message is sent, which may be large
        self._recipients(reply.code).inc()
        return reply

    def deliver(self, envelope: Envelope, spool: Spool) -> Deferred[list[Reply]]:
        """
        Deliver a message; ``drain`` waits for it.
        """
        self.metrics.message_size.observe(spool.size)
        self._under_way += 1
        delivery = Deferred.fromCoroutine(self.deliverer.deliver(envelope, spool))
        return delivery.addBoth(self._delivered)

    def count(self, replies: Sequence[Reply]) -> None:
        """
        Count the replies to one message.
        """
        self._messages(summary(replies)).inc()
        for reply in replies:
            self._recipients(reply.code).inc()

    def connected(self, protocol: LmtpProtocol) -> None:
        """
        Note a connection.
        """
        self._connections.add(protocol)
        self.metrics.lmtp_connections.inc()

    def disconnected(self, protocol: LmtpProtocol) -> None:
        """
        Forget a connection.
        """
        self._connections.discard(protocol)
        self.metrics.lmtp_connections.dec()
        self._settle()

    def interrupted(self, spool: Spool) -> None:
        """
        Note a message whose end never came, and keep it if that is wanted.
        """
        self._messages("interrupted").inc()
        log.warn("a message was interrupted after {size} octets", size=spool.size)
        if not self._keep_interrupted:
            return
        try:
            # mkstemp gives mode 0600.
            descriptor, path = tempfile.mkstemp(".eml", "interrupted-", self.spool_folder)
            with os.fdopen(descriptor, "wb") as file:
                for offset in range(0, spool.size, 65536):
                    file.write(spool.read(offset, 65536))
            log.info("kept as {path}", path=path)
        except OSError as error:
            log.error("it cannot be kept: {reason}", reason=error.strerror)

    def drain(self) -> Deferred[None]:
        """
        Close idle connections; fires when every delivery has ended and been answered.
        """
        drained: Deferred[None] = Deferred()
        self._drained = drained
        for protocol in tuple(self._connections):
            protocol.stop()
        self._settle()
        return drained

    def _delivered(self, replies: list[Reply]) -> list[Reply]:
        self._under_way -= 1
        self._settle()
        self.quick_reader.give_way()  # many may end in one turn of the reactor
        return replies

    def _settle(self) -> None:
        if self._drained is not None and not self._under_way and not self._connections:
            drained, self._drained = self._drained, None
            drained.callback(None)
