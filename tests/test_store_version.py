"""
Tests for mailer.store and mailer.list_rows: files of version 1, and changes row by row.
"""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.alias_list import AliasList
from mailer.alias_table import Removed, ServerList
from mailer.declared import Changes
from mailer.errors import TemporaryError
from mailer.store import FILE_NAME, Etags, Store, Stored

NAMES = st.from_regex(r"[a-zé]{1,3}", fullmatch=True)
ADDRESSES = st.builds("{}@{}".format, NAMES, NAMES)
TARGETS = st.lists(ADDRESSES, min_size=1, max_size=3, unique=True).map(tuple)
LISTS = st.builds(
    AliasList,
    st.dictionaries(ADDRESSES, TARGETS, max_size=4),
    st.dictionaries(NAMES, TARGETS | st.just(("info",)), max_size=3),
    st.frozensets(NAMES, max_size=3),
    st.dictionaries(ADDRESSES, st.sampled_from(["", "lmtp:x"]), max_size=4),
)
GONE = st.dictionaries(ADDRESSES, st.builds(Removed, st.floats(0, 4e9), NAMES), max_size=3)
LIST = AliasList(
    {"info@x": ("a@x", "b@y"), "a@x": ("a@x",)},
    {"jobs": ("jobs",), "team": ("a@x",)},
    frozenset({"x", "y"}),
    {"a@x": "", "b@y": "smtp:[relay]:2525"},
)
VERSION_1 = """
CREATE TABLE server (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, aliases_etag TEXT NOT NULL,
    transport_etag TEXT NOT NULL, marked INTEGER NOT NULL, loaded_at REAL
);
CREATE TABLE entry (
    server TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (server, kind, name)
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


def write_version_1(path, *several):
    """
    Write a file as version 1 did.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(VERSION_1)
        for stored in several:
            one = stored.server_list
            connection.execute(
                "INSERT INTO server VALUES (?, ?, ?, ?, ?, ?)",
                (one.server, stored.url, stored.etags.aliases, stored.etags.transport,
                 stored.marked, None if one.declared is None else one.loaded_at),
            )  # fmt: skip
            rows = [(kind, *row) for kind, some in kinds(one).items() for row in some.items()]
            connection.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, ?)", ((one.server, *row) for row in rows)
            )


def kinds(one):
    """
    Return the rows of a list by kind.
    """
    declared = AliasList() if one.declared is None else one.declared
    return {
        "alias": {name: " ".join(targets) for name, targets in declared.aliases.items()},
        "local_part": {name: " ".join(targets) for name, targets in declared.local_parts.items()},
        "domain": dict.fromkeys(declared.domains, ""),
        "transport": dict(declared.transport),
        "removed": {
            name: json.dumps((gone.at, gone.nexthop)) for name, gone in one.removed.items()
        },
    }


@settings(max_examples=30, deadline=None)
@given(LISTS, LISTS, GONE, st.booleans())
def test_what_version_1_wrote_is_loaded(tmp_path_factory, one, two, gone, marked):
    """
    Lists, etags, marks and removed addresses of all servers are there, and can be replaced.
    """
    folder = tmp_path_factory.mktemp("store")
    kept = [
        Stored(ServerList("one", one, gone, 1e9), "https://one", Etags('"a"', '"t"'), marked),
        Stored(ServerList("two", two, {}, 5.5), "https://two"),
        Stored(ServerList("three"), marked=True),
    ]
    write_version_1(folder / FILE_NAME, *kept)
    store = Store(str(folder))
    assert kept == [store.load(name) for name in ("one", "two", "three")]
    assert all(store.knows("one", address) for address in (*one.entries, *gone))
    store.save(kept[1])
    assert kept == [Store(str(folder)).load(name) for name in ("one", "two", "three")]
    shutil.rmtree(folder)


@pytest.mark.parametrize("value", ["", "no json", "{}", "5", "null", "[]", "[1]", b"\xff"])
def test_a_removed_address_that_cannot_be_read_is_left_out(tmp_path, value):
    """
    A row that version 1 would have called damage does not keep the others from being used.
    """
    kept = Stored(ServerList("odoo", LIST, {"gone@x": Removed(1.0, "")}, 1e9))
    write_version_1(tmp_path / FILE_NAME, kept)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE entry SET value = ? WHERE kind = 'removed'", (value,))
    assert Stored(ServerList("odoo", LIST, {}, 1e9)) == Store(str(tmp_path)).load("odoo")


def test_a_crash_while_a_file_is_brought_up_to_date(tmp_path):
    """
    The file as a crash leaves it is one of version 1, and is brought up to date again.
    """
    kept = Stored(ServerList("odoo", LIST, {}, 1e9))
    write_version_1(tmp_path / FILE_NAME, kept)
    before = (tmp_path / FILE_NAME).read_bytes()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("ALTER TABLE entry RENAME COLUMN value TO content")  # breaks it midway
    with pytest.raises(TemporaryError, match="value"):
        Store(str(tmp_path))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        assert (1,) == connection.execute("PRAGMA user_version").fetchone()
        assert 1 == len(connection.execute("SELECT * FROM server").fetchall())
        connection.execute("ALTER TABLE entry RENAME COLUMN content TO value")
    assert len(before) == (tmp_path / FILE_NAME).stat().st_size
    assert kept == Store(str(tmp_path)).load("odoo")


def test_only_the_rows_that_change_are_written(tmp_path):
    """
    A trigger counts them: one address of a thousand is one row.
    """
    names = [f"{number}@x" for number in range(1000)]
    declared = AliasList({name: (name,) for name in names}, whole=True)
    store = Store(str(tmp_path))
    revision = store.save(Stored(ServerList("odoo", declared, {}, 1.0)))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("CREATE TABLE written (name TEXT)")
        for event, row in (("INSERT", "NEW"), ("DELETE", "OLD"), ("UPDATE", "NEW")):
            connection.execute(
                f"CREATE TRIGGER on_{event} AFTER {event} ON address"
                f" BEGIN INSERT INTO written VALUES ({row}.name); END"
            )
    changes = Changes({"new@x": ((), None, 0), "7@x": None}, whole=True)
    after = ServerList("odoo", declared.changed(changes), {}, 2.0, revision=revision)
    store.save(Stored(after), changes, {"7@x": Removed(2.0, "")})
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        written = sorted(name for (name,) in connection.execute("SELECT name FROM written"))
    assert ["7@x", "new@x"] == written
    assert after.declared == store.load("odoo").server_list.declared
    assert {"7@x": Removed(2.0, "")} == store.load("odoo").server_list.removed


def test_revisions_differ(tmp_path):
    """
    Each list that is stored has one of its own, never that of none.
    """
    store = Store(str(tmp_path))
    found = [store.save(Stored(ServerList("odoo", LIST))) for _ in range(20)]
    assert 20 == len(set(found))
    assert 0 not in found
