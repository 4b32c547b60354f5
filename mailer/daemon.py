"""
The wiring: configuration in, one service out.

What the configuration names is built as one generation; a reload builds the
next and rebinds what the listeners use. The listeners themselves, the store
and the metrics live as long as the process.
"""

import dataclasses
import functools
import random
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, gatherResults, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.alias_table import AliasTable, ServerList, merge
from mailer.config import Config, Server
from mailer.delivery import FAIR_WAIT, Deliverer, ServerDelivery
from mailer.directory import Directory
from mailer.errors import ConfigError, ListenError, TemporaryError
from mailer.http_client import make_agent
from mailer.listening import ListeningService
from mailer.lmtp_server import LmtpFactory
from mailer.main_cf import nexthop
from mailer.metrics import Metrics
from mailer.odoo import OdooClient
from mailer.postfix import DEFAULT_QUEUE_DIRECTORY, queue_directory
from mailer.refresh import Refresher, RefreshPolicy
from mailer.socketmap_server import SocketmapFactory
from mailer.store import Etags, Store, Stored
from mailer.watched_client import WatchedClient
from mailer.web import WebResource, WebSite

READY_TIMEOUT = 5.0  # seconds that the first list may take
_FIXED = ("socket", "socketmap", "http", "policy", "cache", "log")  # need a restart

log = Logger()


@dataclass(frozen=True, slots=True)
class Roles:
    """
    What a process serves.

    Args:
        prefix: Path of the webhook.
        keep_interrupted: Keep what was received of interrupted messages.
        log_lookups: A debug line for each lookup.
        on_list: Called in a thread with each table that comes into force, and the time.
    """

    socketmap: bool = True
    lmtp: bool = True
    http: bool = True
    prefix: str = "/aliases"
    keep_interrupted: bool = False
    log_lookups: bool = False
    on_list: Callable[[Config, AliasTable, float], None] | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """
    What is built anew of each configuration.
    """

    config: Config
    directory: Directory
    refreshers: tuple[Refresher, ...]
    deliverer: Deliverer


class Daemon(Service):
    """
    The whole daemon.

    Args:
        load: Reads the configuration again; raises ConfigError.
        config: What it gave first.

    Raises:
        TemporaryError: The cache folder cannot be used.
    """

    def __init__(
        self, load: Callable[[], Config], config: Config, roles: Roles, reactor: Any
    ) -> None:
        self._load = load
        self._roles = roles
        self._reactor = reactor
        self._metrics = Metrics()
        self._store = Store(config.cache)
        self._lock = DeferredLock()
        self._publishing = DeferredLock()
        self._published: AliasTable | None = None
        self._generation = self._build(config, *self._lists(config, None))
        generation = self._generation
        self._socketmap = SocketmapFactory(
            generation.directory, self._metrics, reactor, roles.log_lookups
        )
        self._lmtp = LmtpFactory(
            generation.directory,
            generation.deliverer,
            self._metrics,
            reactor,
            _hostname(config),
            config.max_message_size,
            config.cache,
            roles.keep_interrupted,
        )
        self._web = WebResource(
            roles.prefix, generation.refreshers, self._metrics, self.health, self._in_thread
        )
        listening = functools.partial(ListeningService, reactor=reactor, lock_folder=config.cache)
        self._lmtp_port = listening(config.socket, self._lmtp) if roles.lmtp else None
        self._ports = [
            port
            for port in (
                listening(config.socketmap, self._socketmap) if roles.socketmap else None,
                self._lmtp_port,
                listening(config.http, WebSite(self._web, reactor)) if roles.http else None,
            )
            if port is not None
        ]

    def privilegedStartService(self) -> None:
        """
        Bind every listening place.

        Raises:
            ListenError: One of them cannot be had; the others are given back.
        """
        try:
            for port in self._ports:
                port.privilegedStartService()
        except ListenError:
            for port in self._ports:
                port.remove_socket()
            raise

    def startService(self) -> None:
        super().startService()
        for port in self._ports:
            port.startService()
            log.info("listening on {place}", place=str(port.listen))
        if self._generation.config.policy is not None:
            log.warn("policy delegation is not served yet; the key policy has no effect")
        for refresher in self._generation.refreshers:
            refresher.startService()

    def when_ready(self) -> Deferred[None]:
        """
        Fire when lookups can be answered: a list is loaded, or could not be fetched now.
        """
        first = [refresher.first for refresher in self._generation.refreshers]
        if not self._generation.directory.table.missing:
            return succeed(None)
        ready: Deferred[None] = DeferredList(first, consumeErrors=True).addCallback(lambda _: None)
        # An Odoo that hangs does not keep us from being ready: mail for it waits.
        return ready.addTimeout(READY_TIMEOUT, self._reactor, lambda *_: None)

    def stopService(self) -> Deferred[None]:
        """
        Take no more mail, finish the deliveries under way, then stop answering.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def reload(self) -> None:
        """
        Read the configuration again; a faulty one is reported and the old one kept.
        """
        # Not between the storing of a list and its coming into force.
        reloaded = self._lock.run(lambda: Deferred.fromCoroutine(self._reload()))
        reloaded.addErrback(self._not_reloaded)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """
        Return whether every list is loaded, and the details.
        """
        now = self._reactor.seconds()
        servers = {
            server_list.server: _health(
                server_list, self._generation.deliverer.servers[server_list.server], now
            )
            for server_list in self._generation.directory.lists
        }
        ready = self.running and not self._generation.directory.table.missing
        return bool(ready), {"ready": bool(ready), "servers": servers}

    def _in_thread(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *args)

    async def _reload(self) -> None:
        try:
            config = self._keep_fixed(self._load())
            lists = await self._in_thread(self._lists, config, self._generation)
            generation = self._build(config, *lists)
        except (ConfigError, TemporaryError) as error:
            for line in str(error).splitlines():
                log.error("configuration not reloaded: {line}", line=line)
            return
        self._adopt(generation)
        log.info("configuration reloaded")

    def _not_reloaded(self, failure: Failure) -> None:
        log.failure("configuration not reloaded", failure=failure)

    def _lists(self, config: Config, old: Generation | None) -> tuple[dict[str, Stored], Directory]:
        """
        Return the lists of all servers and their table; may run in a thread.

        A server added while we run holds nobody up: until its first list its
        addresses are unknown, as they were before. At start it is otherwise,
        because they may have been known to the process before us.
        """
        names = [server.name for server in config.servers]
        stored = {name: _remembered(old, name) or self._store.load(name) for name in names}
        lists = [entry.server_list for entry in stored.values()]
        if old is None or all(server_list.declared is None for server_list in lists):
            needed: Sequence[str] = names
        else:
            needed = old.directory.table.missing
        table_of = functools.partial(
            merge,
            domains=config.domains,
            nexthop=nexthop(config, _queue_directory(config)),
            delimiters=config.recipient_delimiter,
            grace=config.transport_grace,
            needed=needed,
        )
        return stored, Directory(lists, table_of, self._lock)

    def _build(self, config: Config, stored: dict[str, Stored], directory: Directory) -> Generation:
        clients = [self._client(server, stored[server.name].marked) for server in config.servers]
        refreshers = tuple(
            self._refresher(config, client, directory, stored[client.server.name])
            for client in clients
        )
        for client, refresher in zip(clients, refreshers, strict=True):
            client.on_return = refresher.catch_up
        longest_wait = FAIR_WAIT if len(clients) > 1 else None
        deliveries = [
            ServerDelivery(client, self._metrics, self._reactor, longest_wait) for client in clients
        ]
        deliverer = Deliverer({delivery.server.name: delivery for delivery in deliveries})
        return Generation(config, directory, refreshers, deliverer)

    def _client(self, server: Server, marked: bool) -> WatchedClient:
        def on_mark() -> None:
            saved = self._in_thread(self._store.save_mark, server.name)
            saved.addErrback(lambda failure: log.failure("mark not stored", failure=failure))

        agent = make_agent(self._reactor, server)
        client = OdooClient(server, agent, self._reactor, on_mark, marked)
        return WatchedClient(client, self._metrics, self._reactor)

    def _refresher(
        self, config: Config, client: WatchedClient, directory: Directory, stored: Stored
    ) -> Refresher:
        policy = RefreshPolicy(config.refresh, config.max_shrink, config.transport_grace)
        return Refresher(
            client,
            directory,
            self._store,
            policy,
            self._metrics,
            self._reactor,
            self._in_thread,
            random.random,
            stored.etags if stored.url == client.server.url else Etags(),
            "sighup" if self.running else "start",
            self._publish,
        )

    async def _publish(self, anew: bool) -> None:
        """
        Have the table in force written, unless the last one written is the same.

        Args:
            anew: Write it even so.

        Raises:
            TemporaryError: It was not written.
        """
        if self._roles.on_list is None:
            return
        await self._publishing.acquire()
        try:
            generation = self._generation
            table, now = generation.directory.table, self._reactor.seconds()
            if anew or table is not self._published:
                await self._in_thread(self._roles.on_list, generation.config, table, now)
                self._published = table
        finally:
            self._publishing.release()

    def _keep_fixed(self, config: Config) -> Config:
        """
        Return a new configuration with what cannot change while we run.
        """
        for key in _FIXED:
            value = getattr(self._generation.config, key)
            if getattr(config, key) != value:
                log.warn("a change of {key} takes effect at the next restart", key=key)
                config = dataclasses.replace(config, **{key: value})
        return config

    def _adopt(self, generation: Generation) -> None:
        old, self._generation = self._generation, generation
        for refresher in old.refreshers:
            refresher.stopService()
        for name in old.config.domains.keys() - generation.config.domains.keys():
            self._metrics.forget(name)
        self._socketmap.directory = generation.directory
        self._lmtp.directory = generation.directory
        self._lmtp.deliverer = generation.deliverer
        self._lmtp.hostname = _hostname(generation.config)
        self._lmtp.max_message_size = generation.config.max_message_size
        self._web.refreshers = generation.refreshers
        for refresher in generation.refreshers:
            refresher.startService()

    async def _stop(self) -> None:
        if self._lmtp_port is not None:
            await self._lmtp_port.stopService()
        longest = max(server.timeout for server in self._generation.config.servers)
        drained = self._lmtp.drain()
        drained.addTimeout(longest, self._reactor)
        try:
            await drained
        except Exception:
            log.error("deliveries still under way are given up; Postfix keeps their mail")
        for refresher in self._generation.refreshers:
            refresher.stopService()
        await gatherResults(
            [port.stopService() for port in self._ports if port is not self._lmtp_port]
        )
        log.info("stopped")


def install_hangup(reactor: Any, function: Callable[[], None]) -> None:
    """
    Have a function called, in the reactor, on SIGHUP.
    """
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(function))


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


def _hostname(config: Config) -> str:
    return config.hostname or socket.gethostname()


def _health(server_list: ServerList, delivery: ServerDelivery, now: float) -> dict[str, Any]:
    loaded = server_list.declared is not None
    return {
        "list_loaded": loaded,
        "list_age_seconds": round(now - server_list.loaded_at, 3) if loaded else None,
        "aliases": server_list.count,
        "up": delivery.is_up,
        "in_flight": delivery.in_flight,
    }
