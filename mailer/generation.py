"""
What is built anew of each configuration: lists, refreshers, deliveries.
"""

import functools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from mailer.alias_table import merge
from mailer.config import Config, Server
from mailer.delivery import FAIR_WAIT, Deliverer, ServerDelivery
from mailer.directory import Directory
from mailer.http_client import make_agent
from mailer.main_cf import nexthop
from mailer.metrics import Metrics
from mailer.odoo import OdooClient
from mailer.postfix import DEFAULT_QUEUE_DIRECTORY, queue_directory
from mailer.reading import InThread
from mailer.refresh import Refresher
from mailer.replacement import RefreshPolicy
from mailer.store import Etags, Store, Stored
from mailer.twisted_http import TwistedHttp
from mailer.watched_client import WatchedClient

log = Logger()


@dataclass(frozen=True, slots=True)
class Generation:
    """
    What serves one configuration.
    """

    config: Config
    directory: Directory
    refreshers: tuple[Refresher, ...]
    deliverer: Deliverer


@dataclass(frozen=True, slots=True)
class LoadedLists:
    """
    The lists of all servers, and their table.
    """

    stored: dict[str, Stored]
    directory: Directory


class GenerationBuilder:
    """
    Builds generations over what lives as long as the process.

    Args:
        publish: See ``Refresher``'s ``on_list``.

    Attributes:
        lock: Held from reading a list until its successor is published, in all generations.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        reactor: Any,
        in_thread: InThread,
        publish: Callable[[bool], Awaitable[None]],
    ) -> None:
        self.lock = DeferredLock()
        self._store = store
        self._metrics = metrics
        self._reactor = reactor
        self._in_thread = in_thread
        self._publish = publish

    def load_lists(self, config: Config, old: Generation | None = None) -> LoadedLists:
        """
        Return the lists of all servers and their table; may run in a thread.

        A server added while we run holds nobody up: until its first list its
        addresses are unknown, as they were before. At start it is otherwise,
        because they may have been known to the process before us; and where one
        is taken away, because the new one may be the same by another name.
        """
        names = [server.name for server in config.servers]
        stored = {name: _remembered(old, name) or self._store.load(name) for name in names}
        lists = [entry.server_list for entry in stored.values()]
        known = {one.server for one in old.directory.lists} if old is not None else set()
        if old is None or all(one.declared is None for one in lists):
            needed = set(names)
        else:
            needed = set(old.directory.table.missing)
            needed |= set(names) - known if known - set(names) else set()
        table_of = functools.partial(
            merge,
            domains=config.domains,
            nexthop=nexthop(config, _queue_directory(config)),
            delimiters=config.recipient_delimiter,
            grace=config.transport_grace,
            needed=needed,
        )
        return LoadedLists(stored, Directory(lists, table_of, self.lock))

    def build(self, config: Config, lists: LoadedLists, trigger: str) -> Generation:
        """
        Return a generation, not started.

        Args:
            trigger: Of its first refresh, ``start`` or ``sighup``.
        """
        stored = lists.stored
        clients = [self._client(server, stored[server.name].marked) for server in config.servers]
        refreshers = tuple(self._refresher(config, client, lists, trigger) for client in clients)
        for client, refresher in zip(clients, refreshers, strict=True):
            client.on_return = refresher.catch_up
        longest_wait = FAIR_WAIT if len(clients) > 1 else None
        deliveries = [
            ServerDelivery(client, self._metrics, self._reactor, longest_wait) for client in clients
        ]
        deliverer = Deliverer({delivery.server.name: delivery for delivery in deliveries})
        return Generation(config, lists.directory, refreshers, deliverer)

    def _client(self, server: Server, marked: bool) -> WatchedClient:
        def on_mark() -> None:
            saved = self._in_thread(self._store.save_mark, server.name)
            saved.addErrback(lambda failure: log.failure("mark not stored", failure=failure))

        agent = make_agent(self._reactor, server)
        http = TwistedHttp(agent, self._reactor)
        client = OdooClient(server, http, on_mark, marked)
        return WatchedClient(client, self._metrics, self._reactor)

    def _refresher(
        self, config: Config, client: WatchedClient, lists: LoadedLists, trigger: str
    ) -> Refresher:
        stored = lists.stored[client.server.name]
        policy = RefreshPolicy(config.refresh, config.max_shrink, config.transport_grace)
        return Refresher(
            client,
            lists.directory,
            self._store,
            policy,
            self._metrics,
            self._reactor,
            self._in_thread,
            random.random,
            stored.etags if stored.url == client.server.url else Etags(),
            trigger,
            self._publish,
        )


def _queue_directory(config: Config) -> str:
    """
    Return Postfix's queue directory; it is asked only where the usual one does not fit.
    """
    if config.nexthop or config.socket.path.startswith(DEFAULT_QUEUE_DIRECTORY + "/"):
        return DEFAULT_QUEUE_DIRECTORY
    return queue_directory()


def _remembered(old: Generation | None, name: str) -> Stored | None:
    """
    Return what the running generation knows of a server; not what may be stored ahead of it.
    """
    for refresher in old.refreshers if old is not None else ():
        server = refresher.server
        if old is not None and server.name == name:
            return Stored(old.directory[name], server.url, refresher.etags, refresher.marked)
    return None
