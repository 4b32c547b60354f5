"""
The sandbox: an Odoo stand-in on loopback, to try and to test everything else with.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.application.internet import TimerService
from twisted.application.service import IService, MultiService, Service
from twisted.application.strports import service
from twisted.logger import Logger
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Site

from mailer.config import Config
from mailer.config_keys import is_loopback
from mailer.errors import ConfigError, Fault, ListError
from mailer.listen import Listen
from mailer.sandbox_aliases import EXAMPLE, parse_file
from mailer.sandbox_api import make_api
from mailer.sandbox_changes import History, Patch
from mailer.sandbox_mail import MailStore
from mailer.sandbox_notify import Notifier
from mailer.yaml_text import YamlError

log = Logger()

WATCH = 0.2  # seconds between two looks at the alias file
MAX_HEADER_SIZE = 65_536  # octets of all header fields; Odoo takes as much for each line


def make_sandbox(config: Config, aliases: Path, mail: Path, reactor: Any) -> IService:
    """
    Build the service that answers in the place of the first server of the configuration.

    Args:
        aliases: The alias file; an example is written where there is none.
        mail: The Maildir.

    Raises:
        ConfigError: The server is not plain http on loopback, the alias file
            is faulty, or one of the two paths cannot be used.

    Source: INTERFACE of the API; without a port in its URL, http is port 80.
    """
    server = config.servers[0]
    url = urlsplit(server.url)
    if url.scheme != "http" or not is_loopback(server.url):
        raise ConfigError(
            "configuration",
            [Fault(0, "host", "the sandbox needs an http URL on loopback, http://127.0.0.1:8069")],
        )
    notifier = Notifier(config.http, server.token, reactor)
    alias_file = AliasFile(aliases, notifier.notify)
    alias_file.load()
    store = _open_store(mail)
    root = make_api(server.token, lambda: alias_file.lists, store, server.domains, path=url.path)
    port = Listen(host=_interface(url.hostname or ""), port=url.port or 80)
    watch = TimerService(WATCH, alias_file.poll)
    watch.clock = reactor
    site = _site(root, reactor)
    sandbox = MultiService()
    parts: tuple[Any, ...] = (_Ledger(store), service(port.description, site, reactor), watch)
    for part in parts:
        part.setServiceParent(sandbox)
    log.info(
        "the sandbox is {url}, its aliases are in {aliases}, its mail in {mail}",
        url=server.url,
        aliases=str(aliases),
        mail=str(mail),
    )
    return sandbox


class AliasFile:
    """
    The alias file and the last good lists read from it.

    Args:
        changed: Called after each good edit, with what has changed on the list.
    """

    def __init__(self, path: Path, changed: Callable[[Patch | None], object]) -> None:
        self._path = path
        self._changed = changed
        self._stamp: tuple[int, int] | None = None
        self.lists: History

    def load(self) -> None:
        """
        Read the file for the first time, after writing the example where there is none.

        Raises:
            ConfigError: The file is faulty or cannot be had.
        """
        try:
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._path.write_text(EXAMPLE, encoding="utf-8")
            self._stamp = self._look()
            self.lists = History(parse_file(self._path.read_text(encoding="utf-8")))
        except YamlError as error:
            raise _fault(self._path, error.problem, error.line) from None
        except (ListError, OSError, UnicodeDecodeError) as error:
            raise _fault(self._path, _reason(error)) from None

    def poll(self) -> None:
        """
        Read the file again if it has changed; a faulty one changes nothing.
        """
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            patch = self.lists.put(parse_file(self._path.read_text(encoding="utf-8")))
            log.info("{path} was read again", path=str(self._path))
            self._changed(patch)
        except (ListError, OSError, UnicodeDecodeError) as error:
            log.warn(
                "{path}: {reason}; the last good list stays",
                path=str(self._path),
                reason=_reason(error),
            )
        except Exception:
            log.failure("{path} could not be looked at", path=str(self._path))

    def _look(self) -> tuple[int, int] | None:
        """
        Return what tells one edit from another; None while there is no file.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size


class _Channel(HTTPChannel):
    """
    Takes a ``X-Mail-Recipients`` of a thousand addresses.
    """

    MAX_LENGTH = MAX_HEADER_SIZE
    totalHeadersSize = MAX_HEADER_SIZE


class _Ledger(Service):
    """
    Closes the ledger at the end; what still comes then is answered with 451.
    """

    def __init__(self, store: MailStore) -> None:
        self._store = store

    def stopService(self) -> None:
        super().stopService()
        self._store.close()


def _site(root: Resource, reactor: Any) -> Any:
    """
    Build the factory; it leaves logging to the points.
    """
    site: Any = Site(root, reactor=reactor)
    site.noisy = False
    site.protocol = _Channel
    site.log = lambda request: None
    return site


def _open_store(mail: Path) -> MailStore:
    try:
        return MailStore(mail)
    except (OSError, sqlite3.Error) as error:
        raise _fault(mail, _reason(error)) from None


def _interface(host: str) -> str:
    return "127.0.0.1" if host.endswith("localhost") else host


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _fault(path: Path, reason: str, line: int = 0) -> ConfigError:
    return ConfigError(str(path), [Fault(line, "", reason)])
