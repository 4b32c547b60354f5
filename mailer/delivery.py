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

from mailer.availability import Availability
from mailer.errors import NoAnswerError, TemporaryError, TlsError, UnreachableError
from mailer.lmtp_events import Envelope
from mailer.message import Header, new_beginning, parse_header
from mailer.metrics import Metrics
from mailer.odoo import Delivery, OdooClient
from mailer.reply import BUSY_451, LOCAL_ERROR_451, MAIL_LOOP_554, TOKEN_REFUSED_451, Reply
from mailer.spool import MessageReader, Spool
from mailer.verdict import Answer, all_replies, replies_for, reply_for_error

_PAUSING = (409, 429, 503)  # answers whose Retry-After is honoured

log = Logger()


class ServerDelivery:
    """
    Delivers to one server: so many at once, the others wait, and none when it is down.

    Args:
        clock: For the time that a delivery may wait for its turn.
    """

    def __init__(self, client: OdooClient, metrics: Metrics, clock: IReactorTime) -> None:
        self.server = client.server
        self.availability = Availability()
        self._client = client
        self._clock = clock
        self._slots = DeferredSemaphore(client.server.max_in_flight)
        name = client.server.name
        self._in_flight = metrics.deliveries_in_flight.labels(name)
        self._seconds = metrics.delivery_seconds.labels(name)
        self._up = metrics.odoo_up.labels(name)
        self._last_success = metrics.last_success.labels(name)
        self._deliveries = metrics.deliveries

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._slots.limit - self._slots.tokens

    async def deliver(self, delivery: Delivery) -> list[Reply]:
        """
        Hand one message to the server; never fails.

        Returns:
            One reply for each recipient, in order; where none is named, those of
            all recipients that Odoo found, at least one.
        """
        replies = await self._replies(delivery)
        self._deliveries.labels(self.server.name, summary(replies)).inc()
        self._log(delivery, replies)
        return replies

    async def _replies(self, delivery: Delivery) -> list[Reply]:
        count = len(delivery.recipients) or 1
        try:
            await self._slots.acquire().addTimeout(self.server.timeout, self._clock)
        except (CancelledError, DeadlineError):
            return [BUSY_451] * count
        try:
            refusal = self.availability.refusal(self._clock.seconds())
            if refusal is not None:
                return [refusal] * count
            answer = await self._call(delivery)
        except TemporaryError as error:
            log.warn("{server}: {reason}", server=self.server.name, reason=str(error))
            return [reply_for_error(error)] * count
        except Exception:
            log.failure("delivery to {server}", failure=Failure(), server=self.server.name)
            return [LOCAL_ERROR_451] * count
        finally:
            self._slots.release()
        if not delivery.recipients:
            return all_replies(answer, self._client.marked)
        replies = replies_for(answer, delivery.recipients, self._client.marked)
        return [replies[recipient] for recipient in delivery.recipients]

    async def _call(self, delivery: Delivery) -> Answer:
        started = self._clock.seconds()
        self._in_flight.inc()
        try:
            answer = await self._client.deliver(delivery)
        except (UnreachableError, TlsError) as error:
            self._up.set(0)
            if not isinstance(error, NoAnswerError | TlsError):
                self.availability.failed(self._clock.seconds())
            raise
        finally:
            self._in_flight.dec()
            self._seconds.observe(self._clock.seconds() - started)
        now = self._clock.seconds()
        self.availability.answered(now, answer.retry_after if answer.code in _PAUSING else 0.0)
        self._up.set(1)
        if answer.code == 200:
            self._last_success.set(now)
        return answer

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


def make_delivery(
    envelope: Envelope, recipients: tuple[str, ...], header: Header, spool: Spool
) -> Delivery:
    """
    Return a message as it goes to one server.

    Args:
        recipients: Those of this server; none where Odoo is to find them in the header.
    """
    beginning = new_beginning(header, envelope.sender, recipients, spool.digest)
    return Delivery(
        envelope.sender or "",
        recipients,
        spool.digest,
        envelope.queue_id or header.queue_id,
        MessageReader(beginning, spool, header.length),
    )


def summary(replies: Sequence[Reply]) -> str:
    """
    Return what happened to a message: delivered, deferred, refused, or mixed.
    """
    kinds = {reply.code // 100 for reply in replies}
    if len(kinds) != 1:
        return "mixed"
    return {2: "delivered", 4: "deferred", 5: "refused"}[kinds.pop()]
