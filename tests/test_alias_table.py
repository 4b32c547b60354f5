"""
Tests for mailer.alias_table.
"""

import pytest

from mailer.alias_list import OWN_NEXTHOP, AliasList
from mailer.alias_table import (
    Entry,
    Removed,
    ServerList,
    merge,
)
from mailer.socketmap import NOTFOUND, PERM_NO_MAP, TEMP_NO_LIST, answer, netstring, parse_netstring

HOP = "lmtp:unix:private/odoo-lmtp"
OWN = OWN_NEXTHOP


def table(aliases=(), transport=(), local_parts=(), domains=(), **keywords):
    """
    Return the table of one server; transport may be given as bare addresses.
    """
    hops = transport if isinstance(transport, dict) else dict.fromkeys(transport, OWN)
    declared = AliasList(dict(aliases), dict(local_parts), frozenset(domains), hops)
    own = {"odoo": frozenset(keywords.pop("own_domains", ()))}
    server = ServerList("odoo", declared, keywords.pop("removed", {}))
    return merge([server], own, HOP, **keywords)


def ask(known, map_name, key, now=0.0):
    """
    Return the answer to a lookup, both as text.
    """
    reply, _ = answer(known, netstring(f"{map_name} {key}".encode()), now)
    return parse_netstring(reply).decode()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sales@x", "OK bob@y"),
        ("Sales@X", "OK bob@y"),
        ("sales+ext@x", "OK bob@y"),
        ("SALES+Ext@x", "OK bob@y"),
        ("team@x", "OK al@y,bob@y"),
        ("odd+name@x", "OK al@y"),
        ("odd+name+ext@x", "NOTFOUND "),
        ("self@x", "OK self@x"),
        ("Self@X", "OK Self@X"),
        ("self+Ext@X", "OK self+Ext@X"),
        ("bob@y", "OK bob@y"),
        ("Bob+Ext@Y", "OK Bob+Ext@Y"),
        ("nobody@x", "NOTFOUND "),
        ("sales@y", "NOTFOUND "),
        ("sales", "NOTFOUND "),
    ],
)
def test_aliases(key, value):
    """
    An alias answers its targets; one that is its own target answers the key as typed.
    """
    known = table(
        aliases={
            "sales@x": ("bob@y",),
            "team@x": ("al@y", "bob@y"),
            "odd+name@x": ("al@y",),
            "self@x": ("self@x",),
        },
        transport=["bob@y", "self@x"],
    )
    assert value == ask(known, "aliases", key)


@pytest.mark.parametrize(
    "key", ["", "*", "@", "x", "@x", "a@", "a@b@c", "a@@b", '"a@b"@x', " ", "a b@x", "\x00@x"]
)
@pytest.mark.parametrize("map_name", ["aliases", "transport"])
def test_hopeless_keys_are_not_found(map_name, key):
    """
    A key that cannot be an address is not there.
    """
    assert NOTFOUND.decode() == ask(table({"a@x": ("b@x",)}, ["b@x"]), map_name, key)


@pytest.mark.parametrize("key", [b"", b"*", b"a", b"a@b@c", b"\xff@x"])
def test_hopeless_keys_are_not_found_without_list_too(key):
    """
    No list is needed to know that they are not there: Postfix asks for * at its start.
    """
    reply, _ = answer(merge([ServerList("odoo")], {}, HOP), netstring(b"transport " + key), 0)
    assert NOTFOUND == parse_netstring(reply)


@pytest.mark.parametrize("map_name", ["", "alias", "ALIASES", "transports", "aliases\x00"])
def test_unknown_maps(map_name):
    """
    A map name that does not exist is answered PERM, with the names that do.
    """
    assert PERM_NO_MAP.decode() == ask(table(), map_name, "a@x")


def test_no_list_is_temporary():
    """
    As long as no list was ever loaded, nobody can say that an address is unknown.
    """
    known = merge([ServerList("odoo")], {}, HOP)
    assert ("odoo",) == known.missing
    assert TEMP_NO_LIST.decode() == ask(known, "aliases", "a@x")
    assert TEMP_NO_LIST.decode() == ask(known, "transport", "a@x")


def test_one_missing_list_hides_no_other():
    """
    Known addresses are answered, the others may be those of the missing server.
    """
    lists = [ServerList("one"), ServerList("two", AliasList({"a@x": ("b@x",)}))]
    known = merge(lists, {}, HOP)
    assert ("one",) == known.missing
    assert "OK b@x" == ask(known, "aliases", "a@x")
    assert TEMP_NO_LIST.decode() == ask(known, "aliases", "c@x")


def test_an_empty_list_is_a_list():
    """
    An address is not found in an empty list, which was loaded all the same.
    """
    assert NOTFOUND.decode() == ask(table(), "aliases", "a@x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sales@x", "OK bob@x"),
        ("Sales+Ext@X", "OK bob@x"),
        ("sales@own", "OK bob@x"),
        ("sales@z", "NOTFOUND "),
        ("jobs@x", "OK jobs@x"),
        ("Jobs+Ext@Own", "OK Jobs+Ext@Own"),
        ("Both+Ext@X", "OK both@x,bob@x"),
        ("@x", "NOTFOUND "),
    ],
)
def test_local_parts(key, value):
    """
    Local parts hold in Odoo's domains and in the daemon's own, nowhere else.
    """
    known = table(
        local_parts={"sales": ("bob@x",), "jobs": ("jobs",), "both": ("both", "bob@x")},
        domains=["x"],
        own_domains=["own"],
    )
    assert value == ask(known, "aliases", key)


def test_a_full_address_goes_before_a_local_part():
    """
    What is declared of the address itself counts.
    """
    known = table({"sales@x": ("al@x",)}, local_parts={"sales": ("bob@x",)}, domains=["x"])
    assert "OK al@x" == ask(known, "aliases", "sales@x")
    assert () == known.conflicts


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bob@y", f"OK {HOP}"),
        ("Bob+Ext@Y", f"OK {HOP}"),
        ("far@y", "OK smtp:[far]:25"),
        ("sales@x", f"OK {HOP}"),
        ("team@x", f"OK {HOP}"),
        ("distant@x", "OK smtp:[far]:25"),
        ("half@x", "NOTFOUND "),
        ("outside@x", "NOTFOUND "),
        ("self@x", "NOTFOUND "),
        ("jobs@x", f"OK {HOP}"),
        ("mixed@x", f"OK {HOP}"),
        ("outer@x", "NOTFOUND "),
        ("copy@x", f"OK {HOP}"),
        ("away@x", f"OK {HOP}"),
        ("nobody@x", "NOTFOUND "),
    ],
)
def test_transport(key, value):
    """
    Odoo's transport addresses go to it, and aliases all of whose targets are among them.

    An address of the transport list does so whatever alias it is besides: where an alias
    keeps a copy, the copy would bounce otherwise.
    """
    known = table(
        aliases={
            "copy@x": ("copy@x", "someone@elsewhere"),
            "away@x": ("someone@elsewhere",),
            "sales@x": ("bob@y",),
            "team@x": ("bob@y", "al@y"),
            "distant@x": ("far@y",),
            "half@x": ("bob@y", "someone@elsewhere"),
            "outside@x": ("someone@elsewhere",),
            "self@x": ("self@x",),
        },
        transport={
            "bob@y": OWN,
            "al@y": OWN,
            "copy@x": OWN,
            "away@x": OWN,
            "far@y": "smtp:[far]:25",
        },
        local_parts={"jobs": ("jobs",), "mixed": ("mixed", "bob@y"), "outer": ("o@elsewhere",)},
        domains=["x"],
    )
    assert value == ask(known, "transport", key)


def test_delimiters_can_be_turned_off():
    """
    With an empty recipient_delimiter an extension belongs to the address.
    """
    assert NOTFOUND.decode() == ask(table({"a@x": ("b@x",)}, delimiters=""), "aliases", "a+b@x")


def test_several_delimiters():
    """
    Any of the characters begins an extension.
    """
    known = table({"a@x": ("b@x",)}, delimiters="+-")
    assert "OK b@x" == ask(known, "aliases", "a-b@x") == ask(known, "aliases", "a+b@x")


@pytest.mark.parametrize(
    ("key", "now", "value"),
    [
        ("gone@x", 100.0, f"OK {HOP}"),
        ("Gone+Ext@X", 159.9, f"OK {HOP}"),
        ("gone@x", 160.0, "NOTFOUND "),
        ("gone@x", 50.0, f"OK {HOP}"),
        ("far@x", 100.0, "OK smtp:far"),
        ("moved@x", 100.0, f"OK {HOP}"),
        ("other@x", 100.0, "NOTFOUND "),
    ],
)
def test_removed_addresses_stay_in_transport(key, now, value):
    """
    For the time of grace mail for an address that left the list still goes to Odoo.
    """
    known = table(
        aliases={"moved@x": ("someone@elsewhere",)},
        removed={
            "gone@x": Removed(100.0, OWN),
            "far@x": Removed(100.0, "smtp:far"),
            "moved@x": Removed(100.0, OWN),
        },
        grace=60.0,
    )
    assert value == ask(known, "transport", key, now)


def test_removed_addresses_leave_aliases_at_once():
    """
    New mail for an address that left the list is not taken.
    """
    known = table(removed={"gone@x": Removed(100.0, OWN)}, grace=60.0)
    assert NOTFOUND.decode() == ask(known, "aliases", "gone@x", 100.0)
    assert known.find("gone@x") is None


def test_removed_addresses_hold_without_a_list():
    """
    What a server dropped is known even where its list is not.
    """
    server = ServerList("odoo", None, {"gone@x": Removed(5.0, OWN)})
    known = merge([server], {}, HOP, grace=60.0)
    assert f"OK {HOP}" == ask(known, "transport", "gone@x", 6.0)


def test_a_match_names_the_address_of_the_list():
    """
    From here on the address is folded and without its extension.
    """
    found = table(transport=["bob@x"]).find_deliverable("Bob+Ext@X", 0)
    assert ("bob@x", Entry("odoo", None, HOP)) == found
