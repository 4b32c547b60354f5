"""
Keeps the list of one server fresh: at start, by polling, and whenever it is told.

The list in force is only ever replaced by one that was fetched, understood,
judged and stored; whatever goes wrong before that leaves it as it is.
"""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.alias_list import AliasList, parse_aliases, parse_transport
from mailer.alias_table import AliasTable, ServerList, dropped_share, is_emptied, keep_removed
from mailer.directory import Directory
from mailer.errors import MailerError, RefusedError, TemporaryError
from mailer.metrics import Metrics
from mailer.odoo import Pages
from mailer.store import Etags, Store, Stored
from mailer.watched_client import WatchedClient

MAX_BACK_OFF = 300.0  # seconds
JITTER = 0.1  # part of the interval
INTERNAL_ERROR = "internal error, see the log"

InThread = Callable[..., Deferred[Any]]

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


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """
    Args:
        interval: Seconds between polls.
        max_shrink: Largest part of the list that a refresh may drop, 0 to 1.
        grace: Seconds for which a removed address is remembered.
    """

    interval: float
    max_shrink: float
    grace: float


@dataclass(frozen=True, slots=True)
class _Made:
    """
    A list ready to be put in force, and how it differs from the one before.
    """

    successor: ServerList
    table: AliasTable
    added: int
    dropped: int


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
        self._store = store
        self._policy = policy
        self._metrics = metrics
        self._clock = clock
        self._in_thread = in_thread
        self._random = random
        self._etags = etags
        self._first_trigger = first_trigger
        self._on_list = on_list
        self._wanted: list[tuple[str, bool, Deferred[Outcome]]] = []
        self._running: Deferred[None] | None = None
        self._next: IDelayedCall | None = None
        self._failures = 0
        self._stopped = False
        self.first: Deferred[Outcome] = Deferred()  # the outcome of the refresh at start

    @property
    def etags(self) -> Etags:
        """The validators of the list in force."""
        return self._etags

    @property
    def marked(self) -> bool:
        """The server has marked an answer at some time."""
        return self._client.marked

    def startService(self) -> None:
        super().startService()
        self._stopped = False
        self._client.watch()
        self._observe()
        self.first = self.refresh(self._first_trigger)

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        self._stopped = True
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

        Raises:
            TemporaryError: It could not be stored; the old list stays.
        """
        result = await self._replace(lambda _: declared, Etags(), held_back=False)
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
        known = self._directory[self.server.name].declared
        pages = await self._client.fetch(self._etags)
        if not pages.changed:
            self._directory.confirm(self.server.name, self._clock.seconds())
            return "unchanged"
        read = functools.partial(_successor_of, known, pages)
        return await self._replace(read, pages.etags, held_back=not force)

    async def _replace(
        self,
        read: Callable[[AliasList | None], AliasList],
        etags: Etags,
        held_back: bool,
    ) -> str:
        """
        Replace the list by what ``read`` makes of it; return ``changed`` or ``unchanged``.
        """
        await self._directory.lock.acquire()
        try:
            if self._stopped:
                raise TemporaryError("the configuration was reloaded meanwhile")
            current, now = self._directory[self.server.name], self._clock.seconds()
            made: _Made | None = await self._in_thread(
                self._prepare, current, read, etags, held_back, now
            )
            if made is None:
                self._directory.confirm(self.server.name, now)
                return "unchanged"
            self._directory.publish(made.successor, made.table)
            self._etags = etags
        finally:
            self._directory.lock.release()
        self._log_change(made)
        return "changed"

    def _prepare(
        self,
        current: ServerList,
        read: Callable[[AliasList | None], AliasList],
        etags: Etags,
        held_back: bool,
        now: float,
    ) -> _Made | None:
        """
        Parse, judge and store a list and make the table of it; None if nothing changed.

        Runs in a thread: whatever it reads is immutable, or held by the directory's lock.
        """
        declared = read(current.declared)
        if declared == current.declared and etags == self._etags:
            return None
        if held_back:
            self._judge(current.declared, declared)
        grace, domains = self._policy.grace, self.server.domains
        removed = keep_removed(current, declared, domains, now, grace)
        successor = ServerList(self.server.name, declared, removed, now, len(declared))
        self._store.save(Stored(successor, self.server.url, etags, self._client.marked))
        before = current.declared.names() if current.declared else frozenset[str]()
        after = declared.names()
        table = self._directory.merged_with(successor)
        return _Made(successor, table, len(after - before), len(before - after))

    def _judge(self, old: AliasList | None, new: AliasList) -> None:
        if not new and not old and not self._client.marked:
            raise RefusedError(
                "the answer is empty and not marked by mail_delivery; if Odoo really declares "
                "no address, run: odoo-mailer refresh --force"
            )
        old, domains = old or AliasList(), self.server.domains
        share = dropped_share(old, new, domains)
        if share > self._policy.max_shrink or is_emptied(old, new, domains):
            raise RefusedError(
                f"it would drop {share:.0%} of {len(old)} addresses; if that is right, "
                "run: odoo-mailer refresh --force"
            )

    def _log_change(self, made: _Made) -> None:
        log.info(
            "list of {server}: {count} addresses, {added} new, {removed} gone",
            server=self.server.name,
            count=made.successor.count,
            added=made.added,
            removed=made.dropped,
        )
        for address, keeper, loser in made.table.conflicts[:10]:
            log.warn(
                "{address} is claimed by {keeper} and by {loser}; {keeper} keeps it",
                address=address,
                keeper=keeper,
                loser=loser,
            )

    def _count(self) -> int:
        return self._directory[self.server.name].count

    def _observe(self) -> None:
        name = self.server.name
        losers = [loser for _, _, loser in self._directory.table.conflicts]
        self._metrics.address_conflicts.labels(name).set(losers.count(name))
        self._metrics.aliases.labels(name).set(self._count())
        self._metrics.list_timestamp.labels(name).set(self._directory[name].loaded_at)


def _successor_of(known: AliasList | None, pages: Pages, current: AliasList | None) -> AliasList:
    """
    Return the list of the pages that were fetched while ``known`` was in force.
    """
    if current is not known:
        raise TemporaryError("another list was put in force meanwhile")
    return declared_by(pages, known)


def declared_by(pages: Pages, known: AliasList | None) -> AliasList:
    """
    Return the list of the pages; a page that has not changed is taken from the known list.

    Raises:
        ListError: A page is no list; says where and why.
    """
    known = AliasList() if known is None else known
    aliases, transport = pages.aliases.content, pages.transport.content
    declared = known if aliases is None else parse_aliases(aliases)
    hops = known.transport if transport is None else parse_transport(transport)
    return AliasList(declared.aliases, declared.local_parts, declared.domains, hops)
