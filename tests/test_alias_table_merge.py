"""
Tests for mailer.alias_table: several servers, and lists that follow each other.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.address import fold
from mailer.alias_list import OWN_NEXTHOP, AliasList
from mailer.alias_table import (
    AliasTable,
    Entry,
    Removed,
    ServerList,
    merge,
)
from mailer.socketmap import answer, netstring, parse_netstring
from mailer.succession import Succession

HOP = "lmtp:unix:private/odoo-lmtp"
OWN = OWN_NEXTHOP
NAMES = st.sampled_from(["a@x", "b@x", "c@y", "d@y"])
LISTS = st.builds(
    AliasList,
    st.dictionaries(NAMES, st.lists(NAMES, min_size=1, unique=True).map(tuple)),
    st.dictionaries(st.sampled_from("ab"), st.sampled_from([("a",), ("a@x",), ("b", "c@y")])),
    st.frozensets(st.sampled_from("xy")),
    st.dictionaries(NAMES, st.sampled_from([OWN, "smtp:other"])),
)


def ask(known, map_name, key, now=0.0):
    """
    Return the answer to a lookup, both as text.
    """
    reply, _ = answer(known, netstring(f"{map_name} {key}".encode()), now)
    return parse_netstring(reply).decode()


TWO_SERVERS = [
    ServerList(
        "one",
        AliasList(
            {"a@x": ("t@one",)},
            {"sales": ("t@one",)},
            frozenset({"x"}),
            {"t@one": OWN},
        ),
        {"gone@x": Removed(1.0, "smtp:one")},
    ),
    ServerList(
        "two",
        AliasList(
            {"a@x": ("t@two",), "b@x": ("t@two",)},
            {"sales": ("t@two",), "jobs": ("t@two",)},
            frozenset({"x", "y"}),
            {"t@two": OWN},
        ),
        {"gone@x": Removed(1.0, "smtp:two")},
    ),
]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a@x", "OK t@one"),
        ("b@x", "OK t@two"),
        ("sales@x", "OK t@one"),
        ("sales@y", "OK t@two"),
        ("jobs@x", "OK t@two"),
    ],
)
def test_the_first_server_keeps_an_address(key, value):
    """
    Of two servers that claim an address the first in the list has it.
    """
    assert value == ask(merge(TWO_SERVERS, {}, HOP), "aliases", key)


def test_conflicts_are_named():
    """
    Each address that two servers claim is reported with its keeper and the other.
    """
    known = merge(TWO_SERVERS, {}, HOP)
    assert {("a@x", "one", "two"), ("sales@x", "one", "two")} == set(known.conflicts)


def test_the_first_server_keeps_a_removed_address():
    """
    The same holds during the time of grace.
    """
    found = merge(TWO_SERVERS, {}, HOP, grace=9.0).find_deliverable("gone@x", 2.0)
    assert ("gone@x", Entry("one", None, "smtp:one")) == found


@pytest.mark.parametrize("local_part_first", [True, False])
def test_a_local_part_of_one_server_conflicts_with_an_address_of_another(local_part_first):
    """
    The first server in the list keeps the address whichever way it claims it.
    """
    local = AliasList({}, {"info": ("t@x",)}, frozenset({"x"}))
    full = AliasList({"info@x": ("t@x",)})
    first, second = (local, full) if local_part_first else (full, local)
    known = merge([ServerList("one", first), ServerList("two", second)], {}, HOP)
    assert "one" == known.find("info@x")[1].server
    assert (("info@x", "one", "two"),) == known.conflicts


def test_own_domains_belong_to_their_server():
    """
    Local parts hold only in the domains that the daemon has for that server.
    """
    declared = AliasList({}, {"info": ("t@x",)})
    lists = [ServerList("one", declared), ServerList("two", declared)]
    known = merge(lists, {"two": frozenset({"y"})}, HOP)
    assert "two" == known.find("info@y")[1].server
    assert () == known.conflicts


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_usual_is_found_like_all_else(whole):
    """
    An address that is its own target is the list's own, however that is kept.
    """
    declared = AliasList({"a@x": ("a@x",)}, whole=whole, transport={} if whole else {"a@x": ""})
    unusual = declared.entries.with_usual(None)
    kept = AliasList.of(unusual, declared.parts, declared.domains, whole, declared.alias_count)
    for each in (declared, kept):
        known = merge([ServerList("odoo", each)], {}, HOP)
        assert ("a@x", Entry("odoo", None, HOP)) == known.find("a@x")
        assert known.find("nobody@x") is None


def test_an_empty_table_knows_nothing():
    """
    The table before any server is known finds nothing.
    """
    assert AliasTable().find_deliverable("a@x", 0) is None


def test_what_leaves_the_list_is_remembered(fakes):
    """
    Transport addresses, deliverable aliases and local parts are kept with their next hop.
    """
    old = AliasList(
        {"a@x": ("t@x",), "far@x": ("f@x",), "out@x": ("o@elsewhere",)},
        {"info": ("info",), "outer": ("o@elsewhere",)},
        frozenset({"x"}),
        {"t@x": OWN, "f@x": "smtp:far"},
    )
    own = frozenset({"own"})
    removed = fakes.successor_of(ServerList("odoo", old), AliasList(), own, 5.0, 60.0).removed
    gone = {
        "t@x": OWN,
        "f@x": "smtp:far",
        "a@x": OWN,
        "far@x": "smtp:far",
        "info@x": OWN,
        "info@own": OWN,
    }
    assert {address: Removed(5.0, hop) for address, hop in gone.items()} == removed


def test_removed_addresses_are_forgotten_after_grace(fakes):
    """
    What is older than the time of grace is dropped, the rest keeps its time.
    """
    known = {"old@x": Removed(1.0, OWN), "late@x": Removed(2.0, OWN)}
    before = ServerList("odoo", None, known)
    after = fakes.successor_of(before, AliasList(), now=61.0, grace=60.0)
    assert {"late@x": Removed(2.0, OWN)} == after.removed


@pytest.mark.parametrize(
    ("new", "remembered"),
    [
        (AliasList(transport={"a@x": OWN}), False),
        (AliasList({"a@x": ("t@x",)}, transport={"t@x": OWN}), False),
        (AliasList({}, {"a": ("a",)}, frozenset({"x"})), False),
        (AliasList({"a@x": ("o@elsewhere",)}), True),
    ],
)
def test_an_address_that_came_back_is_not_removed(fakes, new, remembered):
    """
    Only an address whose mail no longer goes to Odoo is remembered.
    """
    old = ServerList("odoo", AliasList(transport={"a@x": OWN}), {"a@x": Removed(1.0, OWN)})
    assert remembered == ("a@x" in fakes.successor_of(old, new, now=2.0, grace=60.0).removed)


@pytest.mark.parametrize(
    ("old", "new", "share"),
    [
        ([], [], 0.0),
        ([], ["a@x"], 0.0),
        (["a@x"], [], 1.0),
        (["a@x", "b@x"], ["a@x", "c@x"], 0.5),
        (["a@x", "b@x", "c@x", "d@x"], ["a@x", "b@x", "c@x", "d@x", "e@x"], 0.0),
    ],
)
def test_dropped_share(old, new, share):
    """
    The part of the old list that is missing counts, additions do not.
    """
    before, after = (AliasList(dict.fromkeys(names, ("t@x",))) for names in (old, new))
    succession = Succession.of(before, before.changes_to(after), frozenset())
    assert share == succession.dropped_share()


@given(LISTS, LISTS, st.sampled_from(["A@x", "b+e@X", "c@y", "d@y", "a@y"]))
def test_no_removed_address_falls_out_of_transport(fakes, old, new, key):
    """
    Whatever replaces a list: what went to Odoo before still does, to the same server.
    """
    own = frozenset({"y"})
    before = ServerList("odoo", old)
    after = fakes.successor_of(before, new, own, 5.0, 60.0)
    was, now_is = (
        merge([lst], {"odoo": own}, HOP, grace=60.0).find_deliverable(key, 6.0)
        for lst in (before, after)
    )
    if was is not None:
        assert was[0] == now_is[0]


@given(LISTS, LISTS, st.sampled_from(["a@x", "B+e@x", "c@y", "d@y", "a@y"]))
def test_two_servers_know_what_one_knows(one, two, key):
    """
    The table of two servers finds what either finds, and the first one's entry if it has one.
    """
    lists = [ServerList("one", one), ServerList("two", two)]
    alone = [merge([each], {}, HOP).find(key) for each in lists]
    assert (alone[0] or alone[1]) == merge(lists, {}, HOP).find(key)


@given(LISTS, st.text() | st.sampled_from(["a@x", "B+e@x", "c@y", "d@y", "a@y"]))
def test_any_key_is_found_or_not(declared, key):
    """
    No text raises anything; a match is for the folded key or what is left without extension.
    """
    found = merge([ServerList("odoo", declared)], {}, HOP).find(key)
    if found is not None:
        assert fold(key).startswith(found[0].partition("@")[0])
