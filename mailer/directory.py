"""
The list in force: one table for everyone who asks, rebound whole.
"""

import dataclasses
from collections.abc import Callable, Iterable

from twisted.internet.defer import DeferredLock

from mailer.alias_table import AliasTable, ServerList

Merge = Callable[..., AliasTable]


class Directory:
    """
    Args:
        lists: One for each server, in order of precedence.
        merge: Makes the table of them, see ``alias_table.merge``.
        lock: Held from reading a list until its successor is published; a new one if not given.
    """

    def __init__(
        self, lists: Iterable[ServerList], merge: Merge, lock: DeferredLock | None = None
    ) -> None:
        self._lists = {server_list.server: server_list for server_list in lists}
        self._merge = merge
        self.table = merge(self._lists.values())
        self.lock = lock or DeferredLock()

    def __getitem__(self, server: str) -> ServerList:
        return self._lists[server]

    @property
    def lists(self) -> tuple[ServerList, ...]:
        """The lists of all servers, in order of precedence."""
        return tuple(self._lists.values())

    def merged_with(
        self, successor: ServerList, touched: Iterable[str] | None = None
    ) -> AliasTable:
        """
        Return the table as it will be; may run in a thread, changes nothing.

        Args:
            touched: The addresses that differ from the list in force, if it is known.
        """
        lists = {**self._lists, successor.server: successor}.values()
        return self._merge(lists, before=self.table, touched=touched)

    def publish(self, successor: ServerList, table: AliasTable) -> None:
        """
        Put a list, and the table made with it, in force.
        """
        self._lists[successor.server] = successor
        self.table = table

    def confirm(self, server: str, now: float) -> None:
        """
        Note that a list is still the right one.

        Args:
            now: Seconds, Unix time.
        """
        self._lists[server] = dataclasses.replace(self._lists[server], loaded_at=now)
