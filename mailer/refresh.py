"""
Keeps the list of one server fresh: at start, by polling, and whenever it is told.

The list in force is only ever replaced by one that was fetched, understood,
judged and stored; whatever goes wrong before that leaves it as it is.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.alias_list import AliasList, Patch
from mailer.declared import Changes
from mailer.directory import Directory
from mailer.errors import MailerError, RefusedError, TemporaryError
from mailer.metrics import Metrics
from mailer.pages import Pages
from mailer.reading import InThread, OvertakenError, Read, Reading, changes_to
from mailer.replacement import RefreshPolicy, Replacement
from mailer.store import Etags, Store
from mailer.watched_client import WatchedClient

MAX_BACK_OFF = 300.0  # seconds
JITTER = 0.1  # part of the interval
INTERNAL_ERROR = "internal error, see the log"
OVERTAKEN = 3  # times that a fetch may be, before it has failed

log = Logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How a refresh ended.

    Args:
        result: ``changed``, ``unchanged``, ``refused`` or ``failed``.
        reason: Why, for the last two; empty for the others.
        count: Addresses and local parts now in the list.
    """

    result: str
    reason: str
    count: int

    @property
    def is_good(self) -> bool:
        """The list in force is what Odoo declares."""
        return self.result in ("changed", "unchanged")


async def _nothing(_: bool) -> None:
    pass


class Refresher(Service):
    """
    Args:
        etags: Of the list in force.
        first_trigger: ``start`` or ``sighup``.
        on_list: Awaited whenever the list in force is known to be right; told whether the
            webhook asked. A TemporaryError of it counts as a failed refresh.
        clock: Its seconds are Unix time.
        in_thread: Runs a function beside the reactor, as ``deferToThread``.
        random: A number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        client: WatchedClient,
        directory: Directory,
        store: Store,
        policy: RefreshPolicy,
        metrics: Metrics,
        clock: IReactorTime,
        in_thread: InThread,
        random: Callable[[], float],
        etags: Etags,
        first_trigger: str = "start",
        on_list: Callable[[bool], Awaitable[None]] = _nothing,
    ) -> None:
        self.server = client.server
        self._client = client
        self._directory = directory
        self._policy = policy
        self._metrics = metrics
        self._clock = clock
        self._in_thread = in_thread
        self._random = random
        self._replacement = Replacement(client, directory, store, policy, clock, in_thread, etags)
        self._first_trigger = first_trigger
        self._on_list = on_list
        self._wanted: list[tuple[str, bool, Deferred[Outcome]]] = []
        self._running: Deferred[None] | None = None
        self._next: IDelayedCall | None = None
        self._failures = 0
        self._patches = 0  # that Odoo sent
        self.first: Deferred[Outcome] = Deferred()  # the outcome of the refresh at start

    @property
    def etags(self) -> Etags:
        """The validators of the list in force."""
        return self._replacement.etags

    @property
    def marked(self) -> bool:
        """The server has marked an answer at some time."""
        return self._client.marked

    def startService(self) -> None:
        super().startService()
        self._replacement.stopped = False
        self._client.watch()
        self._observe()
        self.first = self.refresh(self._first_trigger)

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        self._replacement.stopped = True
        self._cancel_next()
        self._client.stop()
        return self._running

    def refresh(self, trigger: str, force: bool = False) -> Deferred[Outcome]:
        """
        Fetch the list now; calls during a refresh share the one after it.

        Args:
            trigger: ``start``, ``poll``, ``webhook``, ``sighup`` or ``command``.
            force: Accept a list that drops more than ``max_shrink``.

        Returns:
            How it ended; never fails.
        """
        outcome: Deferred[Outcome] = Deferred()
        self._wanted.append((trigger, force, outcome))
        if self._running is None:
            self._begin()
        return outcome

    def refresh_soon(self, trigger: str) -> None:
        """
        Fetch the list, now or after the refresh under way; nobody waits for the outcome.
        """
        if not self._wanted:
            self.refresh(trigger)

    def catch_up(self) -> None:
        """
        Fetch the list now if the last time failed: the server is there again.
        """
        if self.running and self._failures and self._running is None:
            self.refresh("poll")

    async def install(self, declared: AliasList) -> None:
        """
        Put a list in force that Odoo itself sent; it is not held back for its size.

        Args:
            declared: Nobody may use it afterwards.

        Raises:
            TemporaryError: It could not be stored; the old list stays.
        """
        try:
            await self._pushed(changes_to(declared), Etags(), held_back=False)
        finally:
            self._replacement.free(declared.release)

    async def apply(self, patch: Patch, base: str, etag: str) -> None:
        """
        Put in force what Odoo itself sent of the changes of its list.

        Args:
            base: The etag of the page that the patch was made for.
            etag: The etag of the page that it makes.

        Raises:
            TemporaryError: It is not for the list in force, drops too much of it, or could not
                be stored; the old list stays.
            ListError: It was made for another list.
        """

        def read(current: AliasList | None) -> Changes:
            if current is None or not current.whole or not base or base != self.etags.aliases:
                raise OvertakenError("it was not made for the list in force")
            return patch.changes_of(current)

        if not etag or etag == base:
            raise TemporaryError("the etag is missing, or the one before")
        self._patches += 1
        await self._pushed(read, Etags(etag), held_back=True)

    async def _pushed(self, read: Read, etags: Etags, held_back: bool) -> None:
        result = await self._replacement.replace(read, etags, held_back)
        self._observe()
        self._metrics.refresh.labels(self.server.name, "webhook", result).inc()
        await self._on_list(True)

    def _begin(self) -> None:
        self._cancel_next()
        wanted, self._wanted = self._wanted, []
        force = any(forced for _, forced, _ in wanted)
        self._running = Deferred()
        running = Deferred.fromCoroutine(self._run(wanted[0][0], force))
        running.addErrback(self._broken)
        running.addCallback(self._end, [outcome for _, _, outcome in wanted])

    def _broken(self, failure: Failure) -> Outcome:
        log.failure("refresh of {server}", failure=failure, server=self.server.name)
        return Outcome("failed", INTERNAL_ERROR, self._count())

    def _end(self, outcome: Outcome, waiting: list[Deferred[Outcome]]) -> None:
        running, self._running = self._running, None
        self._failures = self._failures + 1 if outcome.result == "failed" else 0
        for deferred in waiting:
            deferred.callback(outcome)
        if not self.running:
            self._give_up()
        elif self._wanted:
            self._begin()
        elif self._running is None:
            self._next = self._clock.callLater(self._delay(), self.refresh, "poll")
        if running is not None:
            running.callback(None)

    def _give_up(self) -> None:
        wanted, self._wanted = self._wanted, []
        for _, _, deferred in wanted:
            deferred.callback(Outcome("failed", "the daemon is stopping", self._count()))

    def _delay(self) -> float:
        """
        Return the seconds until the next poll: 1, 2, 4 … 300 after failures.
        """
        seconds = self._policy.interval
        if self._failures:
            seconds = min(2.0 ** min(self._failures - 1, 10), MAX_BACK_OFF)
        return seconds * (1 + JITTER * (2 * self._random() - 1))

    def _cancel_next(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None

    async def _run(self, trigger: str, force: bool) -> Outcome:
        started = self._clock.seconds()
        name, reason = self.server.name, ""
        try:
            result = await self._refresh(force)
            await self._on_list(trigger == "webhook")
        except RefusedError as error:
            result, reason = "refused", str(error)
            log.error("list of {server} refused: {reason}", server=name, reason=reason)
        except MailerError as error:
            result, reason = "failed", str(error)
            log.warn("refresh of {server} failed: {reason}", server=name, reason=reason)
        except Exception:
            result, reason = "failed", INTERNAL_ERROR
            log.failure("refresh of {server} failed", failure=Failure(), server=name)
        self._metrics.refresh.labels(name, trigger, result).inc()
        self._metrics.refresh_seconds.observe(self._clock.seconds() - started)
        self._observe()
        return Outcome(result, reason, self._count())

    async def _refresh(self, force: bool) -> str:
        for _ in range(OVERTAKEN - 1):
            patches = self._patches
            try:
                return await self._refresh_once(force)
            except OvertakenError:
                if patches == self._patches:
                    raise
        return await self._refresh_once(force)

    async def _refresh_once(self, force: bool) -> str:
        reading, patch = self._reading(), self._is_whole
        pages = await self._client.fetch(self.etags, reading.is_whole, patch)
        if pages.aliases.is_patch:
            try:
                return await self._take(reading, pages, force)
            except (RefusedError, OvertakenError):
                raise
            except Exception as error:
                log.info("changes of {server} not taken, its whole list will be: {reason}",
                         server=self.server.name, reason=str(error))  # fmt: skip
            reading = self._reading()
            pages = await self._client.fetch(Etags(), reading.is_whole)
        return await self._take(reading, pages, force)

    def _reading(self) -> Reading:
        return Reading(self._in_thread, self._replacement.count, self._is_whole)

    @property
    def _is_whole(self) -> bool:
        declared = self._directory[self.server.name].declared
        return declared is not None and declared.whole

    async def _take(self, reading: Reading, pages: Pages, force: bool) -> str:
        if not pages.changed:
            self._check_current(reading)
            self._directory.confirm(self.server.name, self._clock.seconds())
            return "unchanged"

        def read(current: AliasList | None) -> Changes:
            self._check_current(reading)
            return reading.changes(pages, current)

        return await self._replacement.replace(read, pages.etags, held_back=not force)

    def _check_current(self, reading: Reading) -> None:
        if self._replacement.count != reading.serial:
            raise OvertakenError("another list was put in force meanwhile")

    def _count(self) -> int:
        return self._directory[self.server.name].count

    def _observe(self) -> None:
        name = self.server.name
        losers = [loser for _, _, loser in self._directory.table.conflicts]
        self._metrics.address_conflicts.labels(name).set(losers.count(name))
        self._metrics.aliases.labels(name).set(self._count())
        self._metrics.list_timestamp.labels(name).set(self._directory[name].loaded_at)
