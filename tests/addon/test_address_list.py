"""
Tests for logic.address_list.
"""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logic.address_list import (
    AddressList,
    Domain,
    is_address,
    is_clean,
    is_domain,
    is_local_part,
)
from mailer import address
from mailer.alias_list import OWN_NEXTHOP, AliasList, parse_aliases, parse_transport

VERSION = "0123456789abcdef"

# What the database writes behind each address of an entry; behind the last entry it does not.
SHAPES = {"text": (" ", "\n"), "transport": ("\n",), "json": ('":["', '"],"')}

ATOMS = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~."
# "#" begins a comment and "{" a JSON page: test_a_word_with_a_meaning_of_its_own_... has those.
PARTS = st.text(st.sampled_from(ATOMS), min_size=1, max_size=6).filter(lambda w: w[0] not in "#{")
LABELS = st.text(st.sampled_from("abz019-_"), min_size=1, max_size=4)
DOMAIN_NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
ODD = (st.text(max_size=6) | st.text(st.sampled_from('aB@.#{ \n"\\,:<'), max_size=6)).filter(
    lambda word: word.strip()[:1] not in ("#", "{")
)
NAMES = DOMAIN_NAMES | DOMAIN_NAMES.map(str.upper) | ODD
OWN = st.just("") | PARTS | st.builds("{}@{}".format, PARTS, DOMAIN_NAMES) | ODD
DOMAINS = st.builds(Domain, st.integers(1, 99), NAMES, OWN, OWN, OWN)
LISTS = st.builds(
    AddressList,
    st.lists(DOMAINS, max_size=3).map(tuple),
    st.lists(NAMES, max_size=3).map(tuple),
    st.lists(PARTS | ODD, unique=True, max_size=3).map(tuple),
)
ALIASES = st.lists(st.builds("{}@{}".format, PARTS, DOMAIN_NAMES), max_size=4)
# Of few values, so that two are often the same.
FEW = st.builds(
    Domain, st.just(1), *(st.sampled_from(words) for words in ("xy", "ab", "ab", ["", "c"]))
)
FACTS = st.tuples(
    st.lists(FEW, max_size=2, unique=True).map(tuple),
    st.lists(st.sampled_from("xy"), max_size=2, unique=True).map(tuple),
)


def joined(words, shape):
    """
    Return the entries of some addresses as the database writes them.
    """
    *between, joiner = SHAPES[shape]
    return joiner.join("".join((word, *(b + word for b in between))) for word in words).encode(
        "utf-8", "replace"
    )


def clean(words, shape):
    """
    Say whether the entries of some addresses hold nothing else.
    """
    texts = [text.encode() for text in SHAPES[shape]]
    return is_clean(joined(words, shape), texts, len(words))


def entries(words, shape):
    """
    Return the entries that go onto a page: all, or where one is no address, those that are.
    """
    return joined(words if clean(words, shape) else filter(is_address, words), shape)


def read(addresses, aliases=()):
    """
    Return what odoo-mailer reads from the three pages: text, JSON, transport.
    """
    parts = tuple(sorted(filter(is_local_part, addresses.local_parts)))
    taken = frozenset(addresses.service_addresses()) & {*aliases}
    addresses = replace(addresses, local_parts=parts, taken=taken)
    text = addresses.text_page(entries(aliases, "text"))
    document = addresses.json_page(
        entries(aliases, "json"), VERSION, addresses.members(len({*aliases}))
    )
    transport = addresses.transport_page(entries(aliases, "transport"))
    page = json.loads(document)
    assert (VERSION, True) == (page["version"], page["transport"])
    assert len(page["aliases"]) + len(page["local_parts"]) == page["count"]
    return parse_aliases(text), parse_aliases(document), parse_transport(transport)


def assert_agreement(addresses, aliases=()):
    """
    Check that the three pages are read, and say the same.
    """
    text, document, transport = read(addresses, aliases)
    honoured = {f"{part}@{name}" for part in document.local_parts for name in document.domains}

    assert all(targets == (name,) for name, targets in text.aliases.items())
    assert all(targets == (name,) for name, targets in document.aliases.items())
    assert all(targets == (name,) for name, targets in document.local_parts.items())
    assert set(text.aliases) == set(document.aliases) | honoured
    assert dict.fromkeys(text.aliases, OWN_NEXTHOP) == transport
    return text, document


@given(LISTS, ALIASES)
@example(AddressList((), ()), [])
@example(AddressList((Domain(1, "x", "b", "c", ""),), (), ("info",)), ["b@x"])
def test_the_three_pages_agree(addresses, aliases):
    """
    Whatever the domains, odoo-mailer reads each page, and finds the same addresses in it.
    """
    text, document = assert_agreement(addresses, aliases)

    assert set(addresses.service_addresses()) | set(aliases) <= set(text.aliases)
    assert set(addresses.local_domains()) == document.domains
    assert set(filter(is_local_part, addresses.local_parts)) == set(document.local_parts)


@pytest.mark.parametrize("where", ["local part", "bounce address"])
@pytest.mark.parametrize("part", ["#info", "{info}", "in#fo", "info{"])
def test_a_word_with_a_meaning_of_its_own_is_on_all_pages_or_on_none(part, where):
    """
    "#" begins a comment and "{" a JSON page, which must not take the place of an address.
    """
    bounce = (Domain(1, "x", part, "", ""),) if where == "bounce address" else ()
    parts = (part,) if where == "local part" else ()

    assert_agreement(AddressList(bounce, ("x",), parts), [])


@pytest.mark.parametrize("shape", SHAPES)
@given(words=ALIASES)
def test_addresses_are_clean(shape, words):
    """
    Entries that hold addresses alone go through, in each shape.
    """
    assert clean(words, shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "words",
    [
        ["a b@x"],
        ["a@x\nb@x"],
        ["a\n@x", "b@x"],
        ["a@x,b@x"],
        ['a"@x'],
        ['a@x":["b@x"],"c@x'],
        ["a\\@x"],
        ["A@x"],
        ["\u00e9@x"],
        ["a@\u00e9"],
        ["a\x00@x"],
        ["a\t@x", "b@x"],
        ["<a@x>"],
        ["a:@x"],
        ["a"],
        [""],
        ["a@x", ""],
        ["a@@x"],
        ["a@x", "b", "c@x"],
    ],
)
def test_what_is_no_address_is_not_clean(words, shape):
    """
    One row that would spoil the page, or pass for two, is found.
    """
    assert not clean(words, shape)


@pytest.mark.parametrize("shape", SHAPES)
@given(
    words=ALIASES,
    place=st.integers(0, 4),
    odd=st.characters(codec="utf-8"),  # as the database has them
    at=st.integers(0, 9),
)
def test_a_foreign_character_is_found(shape, words, place, odd, at):
    """
    One character that no address has makes the entries unclean, wherever it stands.
    """
    if odd in ATOMS or odd == "@":
        odd = "\u00e4"
    word = words[place] if place < len(words) else "a@x"
    spoilt = [*words[:place], word[:at] + odd + word[at:], *words[place + 1 :]]

    assert not clean(spoilt, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_missed(shape):
    """
    Entries of another number than counted are not clean: one of the rows was no text at all.
    """
    texts, lines = [text.encode() for text in SHAPES[shape]], joined(["a@x"], shape)

    assert is_clean(lines, texts, 1)
    assert not is_clean(lines, texts, 2)
    assert not is_clean(lines, texts, 0)
    assert is_clean(b"", texts, 0)
    assert not is_clean(b"", texts, 1)


@given(FACTS, FACTS)
def test_the_facts_tell_lists_apart(some, others):
    """
    Two lists have the same hash if, and only if, all but their aliases is the same.
    """

    def facts(addresses):
        return addresses.service_addresses(), addresses.local_domains()

    one, other = AddressList(*some), AddressList(*others)

    assert (facts(one) == facts(other)) == (one.facts() == other.facts())


@given(LISTS, st.randoms(use_true_random=False))
def test_order_does_not_matter_to_the_facts(addresses, random):
    """
    The same domains in another order, with other ids, are the same list.
    """
    domains = [replace(domain, id=domain.id + 1) for domain in addresses.domains]
    allowed = list(addresses.allowed)
    random.shuffle(domains)
    random.shuffle(allowed)
    other = AddressList(tuple(domains), tuple(allowed))

    assert addresses.facts() == other.facts()


@pytest.mark.parametrize("name", ["name", "bounce_alias", "catchall_alias", "default_from"])
def test_every_field_of_a_domain_is_in_the_facts(name):
    """
    A change of one field alone is another list.
    """
    domain = Domain(1, "x", "b", "c", "d")
    other = replace(domain, **{name: "other"})

    assert AddressList((domain,), ()).facts() != AddressList((other,), ()).facts()


@given(LISTS)
def test_facts_can_stand_in_a_header(addresses):
    """
    The hash is 16 hexadecimal digits, as an ETag has them.
    """
    assert re.fullmatch("[0-9a-f]{16}", addresses.facts())


def test_the_pages_of_an_example():
    """
    Service addresses come first, then local parts in every domain, then the aliases.
    """
    domain = Domain(1, "X.example", "bounce", "CatchAll", "notifications@mail.example")
    addresses = AddressList((domain,), ("also.example",), ("info",))

    assert addresses.text_page(b"sales@x.example sales@x.example") == (
        b"bounce@x.example bounce@x.example\n"
        b"catchall@x.example catchall@x.example\n"
        b"notifications@mail.example notifications@mail.example\n"
        b"info@also.example info@also.example\n"
        b"info@x.example info@x.example\n"
        b"sales@x.example sales@x.example\n"
    )
    assert addresses.transport_page(b"sales@x.example") == (
        b"bounce@x.example\n"
        b"catchall@x.example\n"
        b"notifications@mail.example\n"
        b"info@also.example\n"
        b"info@x.example\n"
        b"sales@x.example\n"
    )
    assert {
        "aliases": {
            "bounce@x.example": ["bounce@x.example"],
            "catchall@x.example": ["catchall@x.example"],
            "notifications@mail.example": ["notifications@mail.example"],
            "sales@x.example": ["sales@x.example"],
        },
        "local_parts": {"info": ["info"]},
        "domains": ["also.example", "x.example"],
        "transport": True,
        "version": VERSION,
        "count": 5,
    } == json.loads(addresses.json_page(b'sales@x.example":["sales@x.example', VERSION, 5))


def test_the_pages_of_nothing_are_empty_lists():
    """
    Without a domain and an alias each page is one that odoo-mailer reads as an empty list.
    """
    assert (AliasList(), AliasList(whole=True), {}) == read(AddressList((), ()))


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (("bounce", "catchall", "from"), ["bounce@x", "catchall@x", "from@x"]),
        (("Bounce", "", ""), ["bounce@x"]),
        (("", "", "me@Elsewhere"), ["me@elsewhere"]),
        (("a b", "\u00e9t\u00e9", '"quoted"'), []),
        (("a@b@c", "@", "me@"), []),
        (("same", "same", "same@X"), ["same@x"]),
        (("", "", ""), []),
    ],
)
def test_service_addresses_are_whole(own, expected):
    """
    A name without "@" is one of the domain; what is no address is left out.
    """
    assert expected == AddressList((Domain(1, "X", *own),), ()).service_addresses()


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("x.example", True),
        ("X.Example", True),
        ("under_score", True),
        ("", False),
        ("x..y", False),
        ("x y", False),
        ("x.", False),
        ("x\n", False),
        ("\u00e9t\u00e9.example", False),
        ("a@x", False),
    ],
)
def test_a_domain_that_is_none_is_left_out(name, usable):
    """
    A domain whose name cannot stand in a list has no addresses there.
    """
    domain = Domain(1, name, "bounce", "", "")
    addresses = AddressList((domain,), (name,), ("info",))

    assert usable == domain.usable
    assert usable == bool(addresses.service_addresses())
    assert usable == bool(addresses.local_domains())
    assert usable == bool(addresses.transport_page(b""))


@given(PARTS | DOMAIN_NAMES | ODD)
def test_what_is_an_address_here_is_one_for_odoo_mailer(word):
    """
    The checks of both sides differ only in that this one is the stricter.
    """
    assert address.is_local_part(word) or not is_local_part(word)
    assert address.is_domain(word) or not is_domain(word)
    assert address.is_address(word) or not is_address(word)
    assert is_address(f"a@{word}") == is_domain(word)
    assert is_address(f"{word}@x") == is_local_part(word)
