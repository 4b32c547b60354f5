"""
The lists on disk: what is served at the next start, before Odoo is asked.

One SQLite file in the cache folder; a list is replaced in one transaction,
so that a crash leaves the old one or the new one, never a mixture.

The folder belongs to the user of the daemon, and root's commands use it too.
Therefore nothing is done to a file by its name that could meanwhile be a link.
"""

import itertools
import os
import secrets
import sqlite3
import stat
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from mailer.alias_table import Removed, ServerList
from mailer.declared import AliasList, Changes
from mailer.errors import TemporaryError
from mailer.exposure import exposure_of, postfix_user, user_name
from mailer.list_rows import (
    IS_ADDRESS,
    IS_DOMAIN,
    IS_LOCAL_PART,
    IS_REMOVED,
    SCRIPTS,
    declared_rows,
    delete_rows,
    removed_rows,
    write_rows,
)

FILE_NAME = "odoo-mailer.sqlite3"
_VERSION = 2
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_REVISIONS = 2**62
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Etags:
    """
    The validators of the two pages that a list was read from; empty where unknown.
    """

    aliases: str = ""
    transport: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What is remembered of one server.

    Args:
        url: Where the list came from; its etags mean nothing elsewhere.
        marked: The server has sent ``X-Mail-Delivery`` at some time.
    """

    server_list: ServerList
    url: str = ""
    etags: Etags = field(default_factory=Etags)
    marked: bool = False


class Store:
    """
    Args:
        folder: The cache folder; made if it does not exist.
        mends: A damaged file is set aside and a new one made, where all is forgotten; else it
            cannot be used.

    Raises:
        TemporaryError: The folder or the file cannot be used.
    """

    def __init__(self, folder: str, mends: bool = True) -> None:
        self._path = Path(folder, FILE_NAME)
        self._mends = mends
        try:
            Path(folder).mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise TemporaryError(f"{error.filename}: {error.strerror}") from None
        _warn_of_others(folder)
        self._run(lambda connection: None)

    def load(self, server: str) -> Stored:
        """
        Return what is remembered; a list of None for a server never seen.

        Raises:
            TemporaryError: The file cannot be read.
        """
        return self._run(lambda connection: _load(connection, server))

    def save(
        self,
        stored: Stored,
        changes: Changes | None = None,
        removed: Mapping[str, Removed | None] | None = None,
    ) -> int:
        """
        Replace what is remembered of one server; it is on disk when this returns.

        A mark, once seen, stays.

        Args:
            changes: What makes this list of the one whose revision ``stored`` still bears; if
                that one is stored, only these are written.
            removed: The same of the removed addresses.

        Returns:
            The revision of the list that is stored now, from 1.

        Raises:
            TemporaryError: It could not be written; the old one stays.
        """
        return self._run(lambda connection: _save(connection, stored, changes, removed or {}))

    def is_marked(self, server: str) -> bool:
        """
        Say whether this server has marked an answer at some time.

        Raises:
            TemporaryError: The file cannot be read.
        """
        return self._has("SELECT 1 FROM server WHERE name = ? AND marked", server)

    def knows(self, server: str, address: str, domains: Collection[str] = ()) -> bool:
        """
        Say whether the stored list of a server declares an address, or lately did.

        Args:
            address: Folded.
            domains: The daemon's own domains for this server's local parts.

        Raises:
            TemporaryError: The file cannot be read.
        """
        local, _, domain = address.partition("@")
        if self._has(IS_ADDRESS, server, address) or self._has(IS_REMOVED, server, address):
            return True
        honoured = domain in domains or self._has(IS_DOMAIN, server, domain)
        return honoured and self._has(IS_LOCAL_PART, server, local)

    def save_mark(self, server: str) -> None:
        """
        Remember that this server marks its answers.

        Raises:
            TemporaryError: It could not be written.
        """
        query = (
            "INSERT INTO server VALUES (?, '', '', '', 1, NULL, 0, 0)"
            " ON CONFLICT (name) DO UPDATE SET marked = 1"
        )
        self._run(lambda connection: connection.execute(query, (server,)))

    def _has(self, query: str, *parameters: str) -> bool:
        return self._run(
            lambda connection: connection.execute(query, parameters).fetchone() is not None
        )

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """
        Do some work in one transaction.
        """
        try:
            try:
                return self._transaction(work)
            except sqlite3.DatabaseError as error:
                # Damage has no class of its own, those of other errors are derived.
                if type(error) is not sqlite3.DatabaseError or not self._mends:
                    raise
                self._set_aside(error)
                return self._transaction(work)
        except (sqlite3.Error, OSError) as error:
            raise TemporaryError(f"{self._path}: {error}") from None

    def _transaction(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        self._make()
        with closing(self._connect()) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            self._prepare(connection)
            return work(connection)

    def _make(self) -> None:
        """
        Make an empty file if there is none; what root makes belongs to the owner of the folder.
        """
        folder = os.open(self._path.parent, _FOLDER)
        try:
            with suppress(FileExistsError):
                file = os.open(self._path.name, _NEW, 0o644, dir_fd=folder)
                try:
                    if os.geteuid() == 0:
                        owner = os.fstat(folder)
                        os.fchown(file, owner.st_uid, owner.st_gid)
                finally:
                    os.close(file)
        finally:
            os.close(folder)

    def _connect(self) -> sqlite3.Connection:
        """
        Open the file, unless it is a link: the one who made it chose what would be written.
        """
        path = os.path.join(os.path.realpath(self._path.parent), FILE_NAME)
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise sqlite3.DatabaseError("it is a symbolic link")
        # Neither made nor, before the next check, read or written.
        connection = sqlite3.connect(f"file:{quote(path)}?mode=rw", timeout=10, uri=True)
        opened = connection.execute("PRAGMA database_list").fetchone()[2]
        if opened != path:
            connection.close()
            raise sqlite3.DatabaseError(f"it is a symbolic link to {opened}")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """
        Make the tables of a new file, and those of this version of an older one.
        """
        if _version(connection) < _VERSION:
            connection.execute("BEGIN IMMEDIATE")
            for script in SCRIPTS.get(_version(connection), ()):  # none: another was faster
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {max(_VERSION, _version(connection))}")
            connection.commit()
        version = _version(connection)
        if version != _VERSION:
            raise TemporaryError(f"{self._path} is of a newer odoo-mailer, version {version}")

    def _set_aside(self, error: Exception) -> None:
        from twisted.logger import Logger  # late: ``pipe`` does without

        names = (f"{FILE_NAME}.damaged-{number}" for number in itertools.count(1))
        aside = next(path for path in map(self._path.with_name, names) if not path.exists())
        os.replace(self._path, aside)
        Logger().error(
            "{path}: {error}; kept as {aside}, a new one is made",
            path=str(self._path),
            error=str(error),
            aside=aside.name,
        )


def _warn_of_others(folder: str) -> None:
    """
    Tell who else may change the lists; groups are let in for the sake of pipe(8).
    """
    # Its owner is the user of the daemon, as far as root can know.
    owners = None if os.geteuid() == 0 else postfix_user()
    found = exposure_of(folder, owners=owners, groups=None, owner=user_name(os.geteuid()))
    if found is not None:
        from twisted.logger import Logger

        Logger().warn(
            "others may change which addresses are Odoo's: {exposure}", exposure=str(found)
        )


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _load(connection: sqlite3.Connection, server: str) -> Stored:
    row = connection.execute(
        "SELECT url, aliases_etag, transport_etag, marked, loaded_at, whole, revision"
        " FROM server WHERE name = ?",
        (server,),
    ).fetchone()
    if row is None:
        return Stored(ServerList(server))
    url, aliases_etag, transport_etag, marked, loaded_at, whole, revision = row
    server_list = ServerList(server)
    if loaded_at is not None:
        try:
            declared = declared_rows(connection, server, bool(whole))
            removed = removed_rows(connection, server)
        except (ValueError, TypeError, AttributeError) as error:
            raise sqlite3.DatabaseError(f"a row that cannot be read: {error}") from None
        count = len(declared)
        server_list = ServerList(server, declared, removed, loaded_at, count, revision)
    return Stored(server_list, url, Etags(aliases_etag, transport_etag), bool(marked))


def _save(
    connection: sqlite3.Connection,
    stored: Stored,
    changes: Changes | None,
    removed: Mapping[str, Removed | None],
) -> int:
    server_list, etags = stored.server_list, stored.etags
    name, declared = server_list.server, server_list.declared
    has_base = connection.execute(
        "SELECT 1 FROM server WHERE name = ? AND revision = ? AND loaded_at IS NOT NULL",
        (name, server_list.revision),
    ).fetchone()
    revision = secrets.randbelow(_REVISIONS) + 1
    connection.execute(
        "INSERT INTO server VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " url = excluded.url, aliases_etag = excluded.aliases_etag,"
        " transport_etag = excluded.transport_etag, loaded_at = excluded.loaded_at,"
        " whole = excluded.whole, revision = excluded.revision,"
        " marked = max(marked, excluded.marked)",
        (
            name,
            stored.url,
            etags.aliases,
            etags.transport,
            stored.marked,
            None if declared is None else server_list.loaded_at,
            declared is not None and declared.whole,
            revision,
        ),
    )
    if changes is None or not has_base:
        delete_rows(connection, name)
        changes = AliasList().changes_to(AliasList() if declared is None else declared)
        removed = server_list.removed
    write_rows(connection, name, changes, removed)
    return revision
