"""
Tests for mailer.store: what is remembered, and how it is replaced.
"""

import shutil
import sqlite3
from collections import UserDict
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailer.alias_list import OWN_NEXTHOP, AliasList
from mailer.alias_table import Removed, ServerList
from mailer.errors import TemporaryError
from mailer.store import FILE_NAME, Etags, Store, Stored

DECLARED = AliasList(
    {"info@example.com": ("a@example.com", "b@example.org"), "a@example.com": ("a@example.com",)},
    {"jobs": ("jobs",), "team": ("a@example.com", "é@example.com")},
    frozenset({"example.com", "münchen.example"}),
    {"a@example.com": "", "b@example.org": "smtp:[relay]:2525"},
)
REMOVED = {"gone@example.com": Removed(1e9 + 0.25, ""), "moved@x": Removed(7.0, "lmtp:[y]")}
NAMES = st.from_regex(r"[a-zé]{1,3}", fullmatch=True)
ADDRESSES = st.builds("{}@{}".format, NAMES, NAMES)
TARGETS = st.lists(ADDRESSES | NAMES, min_size=1, max_size=3).map(tuple)
LISTS = st.builds(
    AliasList,
    st.dictionaries(ADDRESSES, TARGETS, max_size=4),
    st.dictionaries(NAMES, TARGETS, max_size=3),
    st.frozensets(NAMES, max_size=3),
    st.dictionaries(ADDRESSES, st.sampled_from(["", "lmtp:x", "smtp:[y]"]), max_size=4),
)
WHOLE = st.builds(
    AliasList,
    st.dictionaries(ADDRESSES, st.lists(ADDRESSES, min_size=1, max_size=2).map(tuple), max_size=4),
    st.dictionaries(NAMES, TARGETS, max_size=3),
    st.frozensets(NAMES, max_size=3),
    whole=st.just(True),
)
SECONDS = st.floats(0, 4e9)
GONE = st.dictionaries(ADDRESSES, st.builds(Removed, SECONDS, NAMES), max_size=3)
ETAGS = st.builds(Etags, st.text(max_size=5), st.text(max_size=5))


class Breaking(UserDict):
    """
    A mapping whose items break off at their end, as a crash in mid transaction would.
    """

    before_breaking = staticmethod(lambda: None)

    def items(self):
        yield from self.data.items()
        self.before_breaking()
        raise KeyboardInterrupt


def stored(server="odoo", declared=DECLARED, removed=REMOVED, loaded_at=1e9 + 0.5, **fields):
    """
    Return what is remembered of a server.
    """
    return Stored(ServerList(server, declared, removed, loaded_at, len(declared)), **fields)


def rows(folder, server="odoo"):
    """
    Return the names that the file holds of a server.
    """
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        tables = ("address", "local_part", "domain", "removed")
        query = " UNION ".join(f"SELECT name FROM {table} WHERE server = :one" for table in tables)
        return sorted(name for (name,) in connection.execute(query, {"one": server}))


@pytest.fixture
def store(tmp_path):
    """
    A store in a new folder.
    """
    return Store(str(tmp_path))


def test_new_folder(tmp_path):
    """
    The cache folder is made where it is missing, and closed to the world.
    """
    folder = tmp_path / "var" / "odoo-mailer"
    Store(str(folder))
    assert [FILE_NAME] == [path.name for path in folder.iterdir()]
    assert folder.stat().st_mode & 0o007 == 0


def test_unknown_server(store):
    """
    Of a server never seen there is no list, no etag and no mark.
    """
    assert Stored(ServerList("odoo")) == store.load("odoo")
    assert store.is_marked("odoo") is False
    assert store.knows("odoo", "a@example.com") is False


def test_survives_a_reopen(tmp_path, store):
    """
    List, grace entries, address, etags and mark are there again.
    """
    kept = stored(url="https://odoo.example.com", etags=Etags('"a"', 'W/"t"'), marked=True)
    store.save(kept)
    assert kept == Store(str(tmp_path)).load("odoo")


@settings(max_examples=50)
@given(LISTS | WHOLE, GONE, SECONDS, ETAGS, st.text(max_size=5), st.booleans())
@example(AliasList(domains=frozenset({"x"})), {}, 0.0, Etags(), "", False)
def test_whatever_is_saved_is_loaded(tmp_path_factory, declared, gone, at, etags, url, marked):
    """
    Any list comes back equal.
    """
    kept = stored("odoo", declared, gone, at, etags=etags, url=url, marked=marked)
    folder = tmp_path_factory.mktemp("store")
    Store(str(folder)).save(kept)
    assert kept == Store(str(folder)).load("odoo")
    shutil.rmtree(folder)


def test_empty_list_is_a_list(store):
    """
    A list that declares nothing is remembered as such, not as missing.
    """
    store.save(stored(declared=AliasList()))
    assert AliasList() == store.load("odoo").server_list.declared


def test_order_of_targets(store):
    """
    The targets of an alias keep their order.
    """
    declared = AliasList({"all@x": ("c@x", "a@x", "b@x")})
    store.save(stored(declared=declared))
    assert declared == store.load("odoo").server_list.declared


@pytest.mark.parametrize("whole", [True, False])
def test_what_most_entries_are_is_kept_apart(store, whole):
    """
    As in a list that was fetched: such an address costs no entry, and a lookup least.
    """
    hops = {} if whole else {"a@x": OWN_NEXTHOP}
    store.save(stored(declared=AliasList({"a@x": ("a@x",)}, transport=hops, whole=whole)))
    declared = store.load("odoo").server_list.declared
    assert [] == list(declared.entries.unusual())
    assert declared.entries.usual is declared.entries["a@x"]


def test_replaced_whole(tmp_path, store):
    """
    A list that takes the place of another leaves no row of it.
    """
    store.save(stored())
    kept = stored(declared=AliasList({"new@x": ("new@x",)}), removed={}, loaded_at=5.0)
    store.save(kept)
    assert kept == store.load("odoo")
    assert ["new@x"] == rows(tmp_path)


def test_servers_do_not_disturb_each_other(store):
    """
    Saving, marking and replacing one server leaves the other as it is.
    """
    other = stored("two", AliasList({"c@x": ("c@x",)}), url="https://two")
    store.save(stored("one", url="https://one"))
    store.save(other)
    store.save(stored("one", AliasList()))
    store.save_mark("one")
    assert other == store.load("two")
    assert AliasList() == store.load("one").server_list.declared


def test_mark_of_a_server_without_list(store):
    """
    A mark is remembered before there is any list, and does not stand for one.
    """
    store.save_mark("odoo")
    assert Stored(ServerList("odoo"), marked=True) == store.load("odoo")
    assert [True, False] == [store.is_marked("odoo"), store.is_marked("other")]


def test_mark_leaves_the_list(store):
    """
    A mark that is noted changes nothing else.
    """
    store.save(stored(etags=Etags("a", "t")))
    store.save_mark("odoo")
    store.save_mark("odoo")
    assert stored(etags=Etags("a", "t"), marked=True) == store.load("odoo")


def test_mark_stays(store):
    """
    A server that has sent the mark has sent it, whatever another process saves of it.
    """
    store.save_mark("odoo")
    store.save(stored(marked=False))
    assert store.is_marked("odoo")


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("info@example.com", True),
        ("b@example.org", True),
        ("gone@example.com", True),
        ("jobs@example.com", True),
        ("jobs@münchen.example", True),
        ("nobody@example.com", False),
        ("example.com", False),
        ("é@example.com", False),
        ("%@example.com", False),
        ("", False),
    ],
)
def test_knows(store, address, known):
    """
    Aliases, transport addresses, those gone lately, and local parts are known; targets are not.
    """
    store.save(stored())
    assert known == store.knows("odoo", address)
    assert not store.knows("other", address)


def test_local_part_of_another_domain(store):
    """
    A local part in a domain that the server does not honour is not its address.
    """
    store.save(stored("one", AliasList(local_parts={"info": ("info",)}, domains=frozenset({"x"}))))
    store.save(stored("two", AliasList({"info@y": ("info@y",)})))
    assert [False, True] == [store.knows("one", "info@y"), store.knows("two", "info@y")]


def test_known_no_longer(store):
    """
    An address that left the stored list is not known.
    """
    store.save(stored())
    store.save(stored(declared=AliasList(), removed={}))
    assert not store.knows("odoo", "info@example.com")


def test_error_in_mid_transaction(tmp_path, store):
    """
    A save that breaks off leaves the old list, its etags and its mark.
    """
    old = stored(etags=Etags("a", "t"), marked=True)
    store.save(old)
    new = AliasList({"new@x": ("new@x",)})
    with pytest.raises(KeyboardInterrupt):
        store.save(Stored(ServerList("odoo", new, Breaking(REMOVED), 2e9), "https://new"))
    assert old == store.load("odoo")
    assert old == Store(str(tmp_path)).load("odoo")


def test_crash_in_mid_transaction(tmp_path, store):
    """
    The files as a crash leaves them, part of the new list written, hold the old list.
    """
    store.save(stored())
    crashed = tmp_path / "crashed"
    many = {f"{number}@new.example.com": ("a" * 200,) for number in range(12_000)}
    broken = Breaking(REMOVED)
    broken.before_breaking = lambda: shutil.copytree(tmp_path, crashed)
    with pytest.raises(KeyboardInterrupt):
        store.save(Stored(ServerList("odoo", AliasList(many), broken, 2e9)))
    assert (crashed / FILE_NAME).stat().st_size > (tmp_path / FILE_NAME).stat().st_size
    assert stored() == Store(str(crashed)).load("odoo")


def test_refused_write(tmp_path, store):
    """
    A write that SQLite refuses is a TemporaryError, and the old list stays.
    """
    store.save(stored())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON removed"
            " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(TemporaryError, match="disk is full"):
        store.save(stored(declared=AliasList()))
    assert stored() == store.load("odoo")


def test_two_stores_at_once(tmp_path, store):
    """
    What one process writes another one sees at once.
    """
    other = Store(str(tmp_path))
    store.save(stored())
    assert stored() == other.load("odoo")
