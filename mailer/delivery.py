"""
From an envelope to one call for each server concerned, and back to a reply for each recipient.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    gatherResults,
)
from twisted.internet.defer import TimeoutError as DeadlineError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.errors import TemporaryError
from mailer.handover import make_delivery, replies_to, same_reply
from mailer.lmtp_events import Envelope
from mailer.message import Header, parse_header
from mailer.metrics import Metrics
from mailer.odoo import Delivery
from mailer.reply import BUSY_451, LOCAL_ERROR_451, MAIL_LOOP_554, TOKEN_REFUSED_451, Reply
from mailer.spool import Spool
from mailer.verdict import Answer, reply_for_error
from mailer.watched_client import WatchedClient

FAIR_WAIT = 5.0  # seconds
_WEIGHT = 0.3  # of the latest call in the mean time of a call

log = Logger()


class ServerDelivery:
    """
    Delivers to one server: so many at once, the others wait, and none when it is down.

    Args:
        clock: For the time that a delivery may wait for its turn.
        longest_wait: Seconds of it. Who would wait longer, as calls take at present, is
            answered at once, so that a slow server, or one that hangs, does not keep
            Postfix's delivery agents from the mail of others; None for the server's ``timeout``.
    """

    def __init__(
        self,
        client: WatchedClient,
        metrics: Metrics,
        clock: IReactorTime,
        longest_wait: float | None = None,
    ) -> None:
        self.server = client.server
        self._client = client
        self._clock = clock
        self._longest_wait = self.server.timeout if longest_wait is None else longest_wait
        self._slots = DeferredSemaphore(self.server.max_in_flight)
        self._mean = 0.0  # seconds of a call that has ended
        self._called_at = 0.0  # when the latest one began
        name = self.server.name
        self._in_flight = metrics.deliveries_in_flight.labels(name)
        self._seconds = metrics.delivery_seconds.labels(name)
        self._deliveries = metrics.deliveries

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._slots.limit - self._slots.tokens

    @property
    def is_up(self) -> bool:
        """The last word from the server was an answer."""
        return self._client.is_up

    async def deliver(self, delivery: Delivery) -> list[Reply]:
        """
        Hand one message to the server; never fails.

        Returns:
            One reply for each recipient, in order; where none is named, those of
            all recipients that Odoo found, at least one.
        """
        refusal = self.refusal()
        replies = (
            await self._in_turn(delivery) if refusal is None else same_reply(delivery, refusal)
        )
        self._deliveries.labels(self.server.name, summary(replies)).inc()
        self._log(delivery, replies)
        return replies

    def refusal(self) -> Reply | None:
        """
        Return the reply that mail for this server gets at once; None to deliver it.
        """
        return self._client.refusal() or self._too_long()

    def _too_long(self) -> Reply | None:
        if self._slots.tokens:
            return None
        wait = self._mean * (len(self._slots.waiting) + 1) / self._slots.limit
        stuck = self._clock.seconds() - self._called_at  # for so long nobody's turn has come
        return BUSY_451 if max(wait, stuck) > self._longest_wait else None

    async def _in_turn(self, delivery: Delivery) -> list[Reply]:
        turn = self._slots.acquire()
        if not turn.called:
            turn.addTimeout(self._longest_wait, self._clock)
        try:
            await turn
        except (CancelledError, DeadlineError):
            return same_reply(delivery, BUSY_451)
        try:
            refusal = self._client.refusal()  # it may have gone down meanwhile
            if refusal is not None:
                return same_reply(delivery, refusal)
            answer = await self._call(delivery)
        except TemporaryError as error:
            log.warn("{server}: {reason}", server=self.server.name, reason=str(error))
            return same_reply(delivery, reply_for_error(error))
        except Exception:
            log.failure("delivery to {server}", failure=Failure(), server=self.server.name)
            return same_reply(delivery, LOCAL_ERROR_451)
        finally:
            self._slots.release()
        return replies_to(delivery, answer, self._client.marked)

    async def _call(self, delivery: Delivery) -> Answer:
        self._called_at = started = self._clock.seconds()
        self._in_flight.inc()
        try:
            return await self._client.deliver(delivery)
        finally:
            self._in_flight.dec()
            seconds = self._clock.seconds() - started
            self._mean += _WEIGHT * (seconds - self._mean)
            self._seconds.observe(seconds)

    def _log(self, delivery: Delivery, replies: list[Reply]) -> None:
        name = self.server.name
        if TOKEN_REFUSED_451 in replies:
            log.error("{server} does not accept the token; mail waits", server=name)
        counts = Counter(f"{reply.code} {reply.status}" for reply in replies)
        said = ", ".join(f"{reply} x{count}" for reply, count in counts.items())
        emit = log.info if all(reply.is_success for reply in replies) else log.warn
        emit(
            "{queue_id}: from=<{sender}> to {server}: {said}",
            queue_id=delivery.queue_id or delivery.digest[:12],
            sender=delivery.sender,
            server=name,
            said=said,
            digest=delivery.digest,
        )


class Deliverer:
    """
    Args:
        servers: By name.
    """

    def __init__(self, servers: Mapping[str, ServerDelivery]) -> None:
        self.servers = servers

    def refusal(self, server: str) -> Reply | None:
        """
        Return the reply that mail for a server gets at once; None to deliver it.
        """
        return self.servers[server].refusal() if server in self.servers else None

    async def deliver(self, envelope: Envelope, spool: Spool) -> list[Reply]:
        """
        Deliver a message to everyone on its envelope; never fails.

        Returns:
            One reply for each recipient of the envelope, in order.
        """
        try:
            header = parse_header(spool.beginning())
            replies = await self._replies(envelope, header, spool)
        except Exception:
            log.failure("delivery of {queue_id}", failure=Failure(), queue_id=envelope.queue_id)
            replies = {}
        return [replies.get(match.address, LOCAL_ERROR_451) for match in envelope.recipients]

    async def _replies(self, envelope: Envelope, header: Header, spool: Spool) -> dict[str, Reply]:
        replies: dict[str, Reply] = {}
        groups: dict[str, dict[str, None]] = {}
        for address, entry in envelope.recipients:
            if address in header.delivered_to:
                replies[address] = MAIL_LOOP_554
            elif entry.server in self.servers:
                groups.setdefault(entry.server, {})[address] = None
        calls = [
            Deferred.fromCoroutine(
                self.servers[name].deliver(make_delivery(envelope, tuple(group), header, spool))
            )
            for name, group in groups.items()
        ]
        for group, answers in zip(groups.values(), await gatherResults(calls), strict=True):
            replies.update(zip(group, answers, strict=True))
        return replies


def summary(replies: Sequence[Reply]) -> str:
    """
    Return what happened to a message: delivered, deferred, refused, or mixed.
    """
    kinds = {reply.code // 100 for reply in replies}
    if len(kinds) != 1:
        return "mixed"
    return {2: "delivered", 4: "deferred", 5: "refused"}[kinds.pop()]
