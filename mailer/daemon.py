"""
The wiring: configuration in, one service out.

What the configuration names is built as one generation; a reload builds the
next and rebinds what the listeners use. The listeners themselves, the store
and the metrics live as long as the process.
"""

import dataclasses
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, gatherResults, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.alias_table import AliasTable, ServerList
from mailer.config import Config
from mailer.connection_limit import ConnectionLimit
from mailer.delivery import ServerDelivery
from mailer.errors import ConfigError, ListenError, TemporaryError
from mailer.generation import Generation, GenerationBuilder
from mailer.listening import ListeningService
from mailer.lmtp_server import LmtpFactory
from mailer.metrics import Metrics
from mailer.socketmap_server import SocketmapFactory
from mailer.store import Store
from mailer.web import WebHandler, WebSite

# Seconds that a thread which reads a list may go on while a lookup waits: half of them took more
# than 5.3 ms meanwhile with Python's own 0.005, than 1.3 with 0.001, than 0.4 with this.
SWITCH_INTERVAL = 0.0002
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


class Daemon(Service):
    """
    The whole daemon.

    Args:
        load: Reads the configuration again; raises ConfigError.
        config: What it gave first.
        descriptors: How many files the process may open.

    Raises:
        TemporaryError: The cache folder cannot be used.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        config: Config,
        roles: Roles,
        reactor: Any,
        descriptors: int = 1024,
    ) -> None:
        self._load = load
        self._roles = roles
        self._reactor = reactor
        self._metrics = Metrics()
        self._store = Store(config.cache)
        self._publishing = DeferredLock()
        self._published: AliasTable | None = None
        self._builder = GenerationBuilder(
            self._store, self._metrics, reactor, self._in_thread, self._publish
        )
        lists = self._builder.load_lists(config)
        self._generation = generation = self._builder.build(config, lists, "start")
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
            self._socketmap.quick_reader,
        )
        self._web = WebHandler(
            roles.prefix, generation.refreshers, self._metrics, self.health, self._in_thread
        )
        served = (
            ("socketmap", roles.socketmap, config.socketmap, self._socketmap),
            ("lmtp", roles.lmtp, config.socket, self._lmtp),
            ("http", roles.http, config.http, WebSite(self._web, reactor)),
        )
        self._ports = {
            name: ListeningService(
                listen,
                ConnectionLimit(factory, name, descriptors, self._metrics),
                reactor,
                config.cache,
            )
            for name, wanted, listen, factory in served
            if wanted
        }

    def privilegedStartService(self) -> None:
        """
        Bind every listening place.

        Raises:
            ListenError: One of them cannot be had; the others are given back.
        """
        try:
            for port in self._ports.values():
                port.privilegedStartService()
        except ListenError:
            for port in self._ports.values():
                port.remove_socket()
            raise

    def startService(self) -> None:
        super().startService()
        sys.setswitchinterval(SWITCH_INTERVAL)
        if self._roles.socketmap:
            self._socketmap.quick_reader.lead()
        for port in self._ports.values():
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
        reloaded = self._builder.lock.run(lambda: Deferred.fromCoroutine(self._reload()))
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
            lists = await self._in_thread(self._builder.load_lists, config, self._generation)
            generation = self._builder.build(config, lists, "sighup")
        except (ConfigError, TemporaryError) as error:
            for line in str(error).splitlines():
                log.error("configuration not reloaded: {line}", line=line)
            return
        self._adopt(generation)
        log.info("configuration reloaded")

    def _not_reloaded(self, failure: Failure) -> None:
        log.failure("configuration not reloaded", failure=failure)

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
        if "lmtp" in self._ports:
            await self._ports["lmtp"].stopService()
        longest = max(server.timeout for server in self._generation.config.servers)
        drained = self._lmtp.drain()
        drained.addTimeout(longest, self._reactor)
        try:
            await drained
        except Exception:
            log.error("deliveries still under way are given up; Postfix keeps their mail")
        for refresher in self._generation.refreshers:
            refresher.stopService()
        await gatherResults([port.stopService() for port in self._ports.values() if port.running])
        log.info("stopped")


def install_hangup(reactor: Any, function: Callable[[], None]) -> None:
    """
    Have a function called, in the reactor, on SIGHUP; one that was held back comes now.
    """
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(function))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


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
