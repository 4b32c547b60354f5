"""
The rows of the lists on disk: what the tables are, how a list is read and changed.

An address has one row, however many of the pages speak of it. Targets are apart by
blanks; none at all stands for the name itself, NULL for what a page does not say.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from mailer.alias_table import Removed
from mailer.declared import (
    OWN_TARGET,
    USUAL,
    AliasList,
    Changes,
    Declared,
    ListBuilder,
    Targets,
)
from mailer.sharded import Sharded

V = TypeVar("V")

_SCHEMA = """
CREATE TABLE server (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, aliases_etag TEXT NOT NULL,
    transport_etag TEXT NOT NULL, marked INTEGER NOT NULL, loaded_at REAL,
    whole INTEGER NOT NULL, revision INTEGER NOT NULL
);
CREATE TABLE address (
    server TEXT NOT NULL, name TEXT NOT NULL, targets TEXT, nexthop TEXT,
    PRIMARY KEY (server, name)
) WITHOUT ROWID;
CREATE TABLE local_part (
    server TEXT NOT NULL, name TEXT NOT NULL, targets TEXT NOT NULL,
    PRIMARY KEY (server, name)
) WITHOUT ROWID;
CREATE TABLE domain (
    server TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (server, name)
) WITHOUT ROWID;
CREATE TABLE removed (
    server TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL, nexthop TEXT NOT NULL,
    PRIMARY KEY (server, name)
) WITHOUT ROWID;
"""
# Version 1 had the tables server and entry: kind, name and value of whatever was declared.
_FILL_FROM_1 = """
INSERT INTO server SELECT name, url, aliases_etag, transport_etag, marked, loaded_at, 0, 1
    FROM server_1;
INSERT INTO address SELECT server, name, iif(value = name, '', value), NULL
    FROM entry WHERE kind = 'alias';
INSERT INTO address SELECT server, name, NULL, value FROM entry WHERE kind = 'transport'
    ON CONFLICT (server, name) DO UPDATE SET nexthop = excluded.nexthop;
INSERT INTO local_part SELECT server, name, iif(value = name, '', value)
    FROM entry WHERE kind = 'local_part';
INSERT INTO domain SELECT server, name FROM entry WHERE kind = 'domain';
INSERT OR IGNORE INTO removed
    SELECT server, name, json_extract(value, '$[0]'), json_extract(value, '$[1]')
    FROM entry WHERE kind = 'removed' AND json_valid(value);
DROP TABLE entry;
DROP TABLE server_1;
"""
# By the version that a file has, 0 for a new one: how it comes to have the tables above.
SCRIPTS = {
    0: (_SCHEMA,),
    1: ("ALTER TABLE server RENAME TO server_1", _SCHEMA, _FILL_FROM_1),
}

IS_ADDRESS = "SELECT 1 FROM address WHERE server = ? AND name = ?"
IS_REMOVED = "SELECT 1 FROM removed WHERE server = ? AND name = ?"
IS_LOCAL_PART = "SELECT 1 FROM local_part WHERE server = ? AND name = ?"
IS_DOMAIN = "SELECT 1 FROM domain WHERE server = ? AND name = ?"


def declared_rows(connection: sqlite3.Connection, server: str, whole: bool) -> AliasList:
    """
    Return the list of a server.

    Args:
        whole: See ``AliasList``.

    Raises:
        ValueError, TypeError, AttributeError: A row that cannot be read.
    """
    common = USUAL[whole]
    builder = ListBuilder(whole)
    query = "SELECT name FROM address WHERE server = ? AND targets = '' AND nexthop IS ?"
    rows = connection.execute(query, (server, common[1]))
    builder.put_usual(name for (name,) in rows)
    query = (
        "SELECT name, targets, nexthop FROM address"
        " WHERE server = ? AND (targets IS NOT '' OR nexthop IS NOT ?)"
    )
    for name, targets, nexthop in connection.execute(query, (server, common[1])):
        if targets is not None or not whole:
            builder.put(name, (_targets(targets), nexthop, 0))
    for name, targets in connection.execute(
        "SELECT name, targets FROM local_part WHERE server = ?", (server,)
    ):
        builder.put_part(name, _targets(targets) or OWN_TARGET)
    domains = connection.execute("SELECT name FROM domain WHERE server = ?", (server,))
    return builder.build(frozenset(name for (name,) in domains), whole)


def removed_rows(connection: sqlite3.Connection, server: str) -> Sharded[Removed]:
    """
    Return the removed addresses of a server.

    Raises:
        ValueError, TypeError: A row that cannot be read.
    """
    query = "SELECT name, at, nexthop FROM removed WHERE server = ?"
    return Sharded.of(_removed(connection.execute(query, (server,))))


def _removed(rows: Iterable[tuple[str, float, str]]) -> Iterator[tuple[str, Removed]]:
    shared = lru_cache(Removed)  # most have their moment and next hop in common
    for name, at, nexthop in rows:
        if not isinstance(at, float) or not isinstance(nexthop, str):
            raise ValueError("not a time and a next hop")
        yield name, shared(at, nexthop)


def delete_rows(connection: sqlite3.Connection, server: str) -> None:
    """
    Delete all that is stored of a list.
    """
    connection.execute("DELETE FROM address WHERE server = ?", (server,))
    connection.execute("DELETE FROM local_part WHERE server = ?", (server,))
    connection.execute("DELETE FROM domain WHERE server = ?", (server,))
    connection.execute("DELETE FROM removed WHERE server = ?", (server,))


def write_rows(
    connection: sqlite3.Connection,
    server: str,
    changes: Changes,
    removed: Mapping[str, Removed | None],
) -> None:
    """
    Write what has changed of a list, a row for each change.
    """
    connection.executemany(
        "DELETE FROM address WHERE server = ? AND name = ?", _absent(server, changes.entries)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO address VALUES (?, ?, ?, ?)",
        ((server, name, *_address_row(entry)) for name, entry in _present(changes.entries)),
    )
    connection.executemany(
        "DELETE FROM local_part WHERE server = ? AND name = ?", _absent(server, changes.parts)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO local_part VALUES (?, ?, ?)",
        ((server, name, " ".join(targets)) for name, targets in _present(changes.parts)),
    )
    if changes.domains is not None:
        connection.execute("DELETE FROM domain WHERE server = ?", (server,))
        connection.executemany(
            "INSERT INTO domain VALUES (?, ?)", ((server, name) for name in changes.domains)
        )
    connection.executemany(
        "DELETE FROM removed WHERE server = ? AND name = ?", _absent(server, removed)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO removed VALUES (?, ?, ?, ?)",
        ((server, name, float(gone.at), gone.nexthop) for name, gone in _present(removed)),
    )


def _present(changes: Mapping[str, V | None]) -> Iterator[tuple[str, V]]:
    return ((name, value) for name, value in changes.items() if value is not None)


def _absent(server: str, changes: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    return ((server, name) for name, value in changes.items() if value is None)


def _address_row(entry: Declared) -> tuple[str | None, str | None]:
    targets, nexthop, _ = entry
    return None if targets is None else " ".join(targets), nexthop


def _targets(value: str | None) -> Targets | None:
    return None if value is None else tuple(value.split(" ")) if value else OWN_TARGET
