"""
Puts another list of a server in force: judged, stored, and at once.

Whatever goes wrong before that leaves the list in force as it is.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailer.alias_list import AliasList
from mailer.alias_table import AliasTable, ServerList
from mailer.directory import Directory
from mailer.errors import RefusedError, TemporaryError
from mailer.heap import trim
from mailer.reading import InThread, Read
from mailer.store import Etags, Store, Stored
from mailer.succession import Succession, release, succeed, touched, twin
from mailer.watched_client import WatchedClient

log = Logger()


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


class Replacement:
    """
    Args:
        clock: Its seconds are Unix time.
        etags: Of the list in force.
        in_thread: Runs a function beside the reactor, as ``deferToThread``.

    Attributes:
        stopped: No list is put in force any more.
        count: How often another list was.
    """

    def __init__(
        self,
        client: WatchedClient,
        directory: Directory,
        store: Store,
        policy: RefreshPolicy,
        clock: IReactorTime,
        in_thread: InThread,
        etags: Etags,
    ) -> None:
        self.etags = etags
        self.stopped = False
        self.count = 0
        self._server = client.server
        self._client = client
        self._directory = directory
        self._store = store
        self._policy = policy
        self._clock = clock
        self._in_thread = in_thread

    async def replace(self, read: Read, etags: Etags, held_back: bool) -> str:
        """
        Replace the list by what ``read`` makes of it; return ``changed`` or ``unchanged``.

        Args:
            read: Called in a thread; what it raises is raised.
            held_back: A list that drops too much is refused.

        Raises:
            RefusedError: The list drops too much.
            TemporaryError: It could not be stored, or was not to be put in force any more.
        """
        await self._directory.lock.acquire()
        try:
            if self.stopped:
                raise TemporaryError("the configuration was reloaded meanwhile")
            now = self._clock.seconds()
            made: _Made | None = await self._in_thread(self._prepare, read, etags, held_back, now)
            if made is None:
                self._directory.confirm(self._server.name, now)
                return "unchanged"
            self._publish(made)
            self.etags = etags
        finally:
            self._directory.lock.release()
        self._log_change(made)
        return "changed"

    def _publish(self, made: _Made) -> None:
        """
        Put a list in force; what the one before had alone is freed in a thread.
        """
        retired = twin(self._directory[self._server.name])
        self._directory.publish(made.successor, made.table)
        self.count += 1
        self.free(release, retired, made.successor)

    def free(self, release: Callable[..., None], *arguments: object) -> None:
        """
        Have something let go of in a thread; nobody waits for it.
        """
        self._in_thread(_free, release, *arguments).addErrback(
            lambda failure: log.failure("a list is not freed", failure=failure)
        )

    def _prepare(self, read: Read, etags: Etags, held_back: bool, now: float) -> _Made | None:
        """
        Parse, judge and store a list and make the table of it; None if nothing changed.

        Runs in a thread: whatever it reads is immutable, or held by the directory's lock.
        """
        current = self._directory[self._server.name]
        changes = read(current.declared)
        try:
            if not changes and current.declared is not None and etags == self.etags:
                return None
            before = AliasList() if current.declared is None else current.declared
            succession = Succession.of(before, changes, self._server.domains)
            if held_back:
                self._judge(succession)
            return self._stored(current, succession, etags, now)
        finally:
            changes.release()

    def _stored(
        self, current: ServerList, succession: Succession, etags: Etags, now: float
    ) -> _Made:
        removed = succession.removed(current.removed, now, self._policy.grace)
        try:
            successor = succeed(current, succession, removed, now)
            stored = Stored(successor, self._server.url, etags, self._client.marked)
            is_first = current.declared is None
            changes = None if is_first else succession.changes
            revision = self._store.save(stored, changes, removed)
        finally:
            removed.release()
            succession.lost.release()
        successor = dataclasses.replace(successor, revision=revision)
        table = self._directory.merged_with(successor, None if is_first else touched(succession))
        return _Made(successor, table, succession.added, succession.dropped)

    def _judge(self, succession: Succession) -> None:
        old, new = succession.before, succession.declared
        if not new and not old and not self._client.marked:
            raise RefusedError(
                "the answer is empty and not marked by mail_delivery; if Odoo really declares "
                "no address, run: odoo-mailer refresh --force"
            )
        share = succession.dropped_share(self._policy.max_shrink)
        if share > self._policy.max_shrink or succession.is_emptied():
            raise RefusedError(
                f"it would drop {share:.0%} of {len(old)} addresses; if that is right, "
                "run: odoo-mailer refresh --force"
            )

    def _log_change(self, made: _Made) -> None:
        log.info(
            "list of {server}: {count} addresses, {added} new, {removed} gone",
            server=self._server.name,
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


def _free(release: Callable[..., None], *arguments: object) -> None:
    release(*arguments)
    trim()
