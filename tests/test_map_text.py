"""
Tests for mailer.map_text.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.alias_list import AliasList, parse_aliases, parse_transport
from mailer.alias_table import Removed, ServerList, merge
from mailer.map_text import aliases_text, transport_text

HEAD = "# Written by odoo-mailer; changes made here are lost.\n"
HOP = "lmtp:unix:private/odoo-lmtp"
LOCALS = st.from_regex(r"[a-zé0-9][a-zéß0-9.+=/#'*_-]{0,5}", fullmatch=True).map(str.casefold)
DOMAINS = st.sampled_from(["example.com", "example.org", "münchen.example", "x"])
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS)
TARGETS = st.lists(ADDRESSES, min_size=1, max_size=3, unique=True).map(tuple)
HOPS = st.sampled_from(["", HOP, "smtp:[relay.example.net]:2525", "lmtp:inet:[::1]:24"])
LISTS = st.builds(
    AliasList,
    st.dictionaries(ADDRESSES, TARGETS, max_size=6),
    st.dictionaries(LOCALS, TARGETS, max_size=3),
    st.frozensets(DOMAINS, max_size=2),
    st.dictionaries(ADDRESSES, HOPS, max_size=6),
)


def transport_now(found):
    """
    Return the transport table at the beginning of time.
    """
    return transport_text(found, 0.0)


TEXTS = [aliases_text, transport_now]


def table(declared, **removed):
    """
    Return the table of one server.
    """
    return merge([ServerList("odoo", declared, removed)], {}, HOP, grace=1e9)


def everything(declared):
    """
    Return each full address that is declared, and its targets.
    """
    spread = {
        f"{part}@{domain}": targets
        for part, targets in declared.local_parts.items()
        for domain in declared.domains
    }
    return spread | {name: (name,) for name in declared.transport} | dict(declared.aliases)


def test_aliases():
    """
    One address and its targets a line, sorted by address.
    """
    declared = AliasList({"b@x": ("d@x", "c@x"), "a@x": ("a@x",)})
    assert f"{HEAD}a@x a@x\nb@x d@x, c@x\n" == aliases_text(table(declared))


def test_transport():
    """
    One address and its next hop a line, sorted; an alias has one if all its targets have.
    """
    declared = AliasList(
        {"all@x": ("b@x", "a@x"), "half@x": ("a@x", "else@y")},
        transport={"b@x": "", "a@x": "smtp:[relay]"},
    )
    assert f"{HEAD}a@x smtp:[relay]\nall@x {HOP}\nb@x {HOP}\n" == transport_text(
        table(declared), 0.0
    )


def test_transport_address_is_valid():
    """
    An address of the transport list that is no alias stands for itself in aliases.
    """
    assert f"{HEAD}a@x a@x\n" == aliases_text(table(AliasList(transport={"a@x": ""})))


def test_local_parts():
    """
    A local part has a line in each of its domains, and stands for the address itself.
    """
    declared = AliasList(local_parts={"jobs": ("jobs", "a@z")}, domains=frozenset({"x", "y"}))
    text = aliases_text(table(declared))
    assert f"{HEAD}jobs@x jobs@x, a@z\njobs@y jobs@y, a@z\n" == text


def test_address_before_local_part():
    """
    A full address wins over a local part in its domain.
    """
    declared = AliasList(
        {"jobs@x": ("a@x",)}, {"jobs": ("jobs",)}, frozenset({"x"}), {"a@x": "smtp:[relay]"}
    )
    assert f"{HEAD}a@x a@x\njobs@x a@x\n" == aliases_text(table(declared))
    expected = f"{HEAD}a@x smtp:[relay]\njobs@x smtp:[relay]\n"
    assert expected == transport_text(table(declared), 0.0)


def test_first_server_first():
    """
    Of a local part that two servers have in a domain the first server's is written.
    """
    lists = [
        ServerList(name, AliasList(local_parts={"jobs": (target,)}, domains=frozenset({"x"})))
        for name, target in (("one", "a@x"), ("two", "b@x"))
    ]
    assert f"{HEAD}jobs@x a@x\n" == aliases_text(merge(lists, {}, HOP))


def test_removed_addresses_keep_their_route():
    """
    An address that left the list is valid no more, but queued mail for it finds its way.
    """
    kept = table(AliasList(), **{"gone@x": Removed(0.0, "")})
    assert HEAD == aliases_text(kept)
    assert f"{HEAD}gone@x {HOP}\n" == transport_text(kept, kept.grace - 1)
    assert HEAD == transport_text(kept, kept.grace)


@pytest.mark.parametrize("text", TEXTS)
def test_empty(text):
    """
    An empty table is a file of one comment.
    """
    assert HEAD == text(table(AliasList()))


@given(LISTS)
def test_aliases_read_back(declared):
    """
    What is written for aliases is read as the same list.
    """
    assert AliasList(everything(declared)) == parse_aliases(aliases_text(table(declared)).encode())


@given(LISTS)
def test_transport_read_back(declared):
    """
    What is written for transport is read as what the table answers.
    """
    found = table(declared)
    answers = {name: found.find_deliverable(name, 0.0) for name in everything(declared)}
    expected = {name: entry.nexthop for name, (_, entry) in filter(all, answers.items())}
    assert expected == parse_transport(transport_text(found, 0.0).encode())


@given(LISTS)
def test_sorted_and_once(declared):
    """
    Lines are sorted and no address has two, so that two files can be compared.
    """
    for text in TEXTS:
        names = [line.split()[0] for line in text(table(declared)).splitlines()[1:]]
        assert sorted(set(names)) == names
