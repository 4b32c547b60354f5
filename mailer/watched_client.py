"""
A client that knows whether its server can be reached.

While it cannot, it is asked again and again, a second to five apart, whether
there is mail for it or not; nobody who only wants to know has to try it.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.availability import MAX_PAUSE, Availability
from mailer.config import Server
from mailer.errors import MailerError, NoAnswerError, TemporaryError, TlsError, UnreachableError
from mailer.metrics import Metrics
from mailer.odoo import Delivery, OdooClient
from mailer.pages import IsWhole, Pages
from mailer.reply import Reply
from mailer.store import Etags
from mailer.verdict import Answer, reply_for_error

_PAUSING = (409, 429, 503)  # answers whose Retry-After is honoured

log = Logger()


class WatchedClient:
    """
    Args:
        clock: Its seconds are Unix time.
        on_return: Called when a server that was down answers again.
    """

    def __init__(
        self,
        client: OdooClient,
        metrics: Metrics,
        clock: IReactorTime,
        on_return: Callable[[], object] = lambda: None,
    ) -> None:
        self.on_return = on_return
        self._client = client
        self._clock = clock
        self._availability = Availability()
        self._up = metrics.odoo_up.labels(client.server.name)
        self._last_success = metrics.last_success.labels(client.server.name)
        self._answered_at = 0.0
        self._next: IDelayedCall | None = None
        self._probing = False
        self._watching = False

    @property
    def server(self) -> Server:
        """Which server it is."""
        return self._client.server

    @property
    def marked(self) -> bool:
        """The server has marked an answer at some time."""
        return self._client.marked

    @property
    def is_up(self) -> bool:
        """The last word from the server was an answer."""
        return self._availability.is_up

    def refusal(self) -> Reply | None:
        """
        Return the reply to give a delivery at once; None to make it.
        """
        return self._availability.refusal(self._clock.seconds())

    async def fetch(
        self, etags: Etags, is_whole: IsWhole | None = None, patch: bool = False
    ) -> Pages:
        """
        Return the pages of the list, see ``OdooClient.fetch``.
        """
        try:
            pages = await self._client.fetch(etags, is_whole, patch)
        except MailerError as error:
            self._note(error)
            raise
        self._heard()
        self._last_success.set(self._clock.seconds())
        return pages

    async def deliver(self, delivery: Delivery) -> Answer:
        """
        Hand over a message, see ``OdooClient.deliver``.
        """
        self._availability.called(self._clock.seconds())
        try:
            answer = await self._client.deliver(delivery)
        except TemporaryError as error:
            self._note(error)
            raise
        if answer.is_of_gateway:
            self._doubt()
            return answer
        self._answered(answer.retry_after if answer.code in _PAUSING else 0.0)
        if answer.code == 200:
            self._last_success.set(self._clock.seconds())
        return answer

    def watch(self) -> None:
        """
        Probe from now on, whenever there is reason to.
        """
        self._watching = True

    def stop(self) -> None:
        """
        Probe no more.
        """
        self._watching = False
        self._cancel_next()

    def _note(self, error: MailerError) -> None:
        """
        Judge a call that failed.

        One that broke off, or took too long, may have failed for the sake of this
        one message, and is no reason to hold up the others: a probe tells.
        """
        if isinstance(error, NoAnswerError):
            self._doubt()
        elif isinstance(error, UnreachableError | TlsError):
            self._failed(error, self._clock.seconds())
        else:
            self._heard()

    def _heard(self) -> None:
        """
        Note a sign of life; a pause that the server asked for stays.
        """
        if self._availability.is_up:
            self._answered_at = self._clock.seconds()
            self._up.set(1)
        else:
            self._answered()

    def _answered(self, retry_after: float = 0.0) -> None:
        was_up = self._availability.is_up
        self._answered_at = self._clock.seconds()
        self._availability.answered(self._answered_at, retry_after)
        self._up.set(1)
        self._cancel_next()
        if not was_up:
            log.info("{server} answers again", server=self.server.name)
            self.on_return()

    def _failed(self, error: TemporaryError, asked_at: float) -> None:
        now = self._clock.seconds()
        if self._availability.is_up:
            name, reason = self.server.name, str(error)
            log.warn("{server} is down, its mail waits: {reason}", server=name, reason=reason)
        pause = self._availability.failed(now, reply_for_error(error))
        self._up.set(0)
        self._probe_in(max(0.0, asked_at + pause - now))

    def _doubt(self) -> None:
        if self._availability.is_up:
            self._probe_in(0)

    def _probe_in(self, seconds: float) -> None:
        if self._watching and not self._probing and self._next is None:
            self._next = self._clock.callLater(seconds, self._probe)

    def _probe(self) -> None:
        self._next, self._probing = None, True
        asked_at = self._clock.seconds()
        probing = Deferred.fromCoroutine(self._client.probe())
        probing.addBoth(self._probed, asked_at)
        probing.addErrback(self._broken)

    def _probed(self, result: Failure | None, asked_at: float) -> None:
        self._probing = False
        if result is None:
            self._heard()
            return
        error = result.value
        if not isinstance(error, UnreachableError | TlsError):
            result.raiseException()
        elif self._answered_at < asked_at:
            self._failed(error, asked_at)
        elif not self.is_up:
            self._probe_in(0)  # a delivery was answered meanwhile, and a later one was not

    def _broken(self, failure: Failure) -> None:
        log.failure("probe of {server}", failure=failure, server=self.server.name)
        self._probe_in(MAX_PAUSE)

    def _cancel_next(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
