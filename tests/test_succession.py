"""
Tests for mailer.declared, mailer.succession and alias_list.parse_patch: lists that follow.
"""

import itertools
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailer.alias_list import parse_aliases, parse_patch
from mailer.alias_table import ServerList, merge
from mailer.declared import USUAL, AliasList
from mailer.errors import ListError
from mailer.store import Store, Stored
from mailer.succession import Succession, deliverable, succeed, touched

HOP = "lmtp:unix:private/odoo-lmtp"
GRACE = 60.0
OWN = frozenset({"z"})
ADDRESSES = st.sampled_from(["a@x", "b@x", "c@y", "d@y", "a@z"])
TARGETS = st.lists(ADDRESSES, min_size=1, max_size=2, unique=True)
ALIASES = st.dictionaries(ADDRESSES, TARGETS, max_size=4)
PARTS = st.dictionaries(st.sampled_from("abc"), TARGETS | st.just([]), max_size=2)
DOMAINS = st.lists(st.sampled_from("xy"), unique=True)
PAGES = st.builds(lambda *page: dict(zip(("aliases", "local_parts", "domains"), page, strict=True)),
                  ALIASES, PARTS, DOMAINS)  # fmt: skip
KEYS = [f"{local}@{domain}" for local in "abcd" for domain in "xyz"]


def whole(page):
    """
    Return the list of a page that says all.
    """
    count = len(page["aliases"]) + len(page["local_parts"])
    return parse_aliases(json.dumps({**page, "transport": True, "count": count}).encode())


def two_pages(page):
    """
    Return the same list, read from two pages.
    """
    declared = parse_aliases(json.dumps(page).encode())
    lists = (*declared.aliases.values(), *declared.local_parts.values())
    targets = {target for targets in lists for target in targets if "@" in target}
    return declared.with_transport(dict.fromkeys(targets, ""))


def patch_of(old, new):
    """
    Return the merge patch that makes one page of another.
    """
    patch = {"count": len(new["aliases"]) + len(new["local_parts"])}
    for name in ("aliases", "local_parts"):
        before, after = old[name], new[name]
        gone = dict.fromkeys(before.keys() - after.keys())
        patch[name] = {k: v for k, v in after.items() if before.get(k, 0) != v} | gone
    if set(old["domains"]) != set(new["domains"]):
        patch["domains"] = new["domains"]
    return patch


def parsed(patch):
    """
    Return a patch as it is read.
    """
    return parse_patch(json.dumps(patch).encode())


def follow(before, changes, now):
    """
    Return the list of a server after some changes, and what they are.
    """
    succession = Succession.of(before.declared, changes, OWN)
    return succeed(before, succession, succession.removed(before.removed, now, GRACE), now)


def answers(server_lists, now):
    """
    Return what a table of these lists finds.
    """
    table = merge(server_lists, {one.server: OWN for one in server_lists}, HOP, grace=GRACE)
    return [(table.find(key), table.find_deliverable(key, now)) for key in KEYS]


@given(PAGES)
def test_a_whole_page_says_what_two_pages_say(page):
    """
    With every target delivered to Odoo, lookups find the same in both.
    """
    lists = (whole(page), two_pages(page))
    first, second = (answers([ServerList("odoo", one)], 0) for one in lists)
    assert first == second
    one, two = (dict(deliverable(one, OWN)) for one in lists)
    assert one == two


@given(PAGES, PAGES)
def test_a_patch_makes_of_one_page_the_other(old, new):
    """
    The patched list is the list of the new page, and has as many entries.
    """
    before, after = whole(old), whole(new)
    made = before.changed(parsed(patch_of(old, new)).changes_of(before))
    assert after == made
    assert (after.count, len(after)) == (made.count, len(made))


@given(PAGES, PAGES)
def test_a_patch_and_a_page_are_the_same_changes(old, new):
    """
    What a patch changes is what the two pages differ in, no more.
    """
    before = whole(old)
    changes = parsed(patch_of(old, new)).changes_of(before)
    difference = before.changes_to(whole(new))
    assert difference.entries == changes.entries
    assert difference.parts == changes.parts
    assert difference.domains == changes.domains


@given(st.lists(PAGES, min_size=2, max_size=4), st.booleans())
def test_lists_that_follow_by_patches_answer_as_those_read_anew(pages, from_two):
    """
    Table, removed addresses and shares are those of lists that are compared whole.
    """
    patched = ServerList("odoo", whole(pages[0]))
    compared = ServerList("odoo", two_pages(pages[0]) if from_two else whole(pages[0]))
    for number, (old, new) in enumerate(itertools.pairwise(pages), 1):
        now = 25.0 * number
        changes = parsed(patch_of(old, new)).changes_of(patched.declared)
        other = two_pages(new) if from_two else whole(new)
        one = Succession.of(patched.declared, changes, OWN)
        two = Succession.of(compared.declared, compared.declared.changes_to(other), OWN)
        assert two.lost == one.lost
        assert two.is_emptied() == one.is_emptied()
        assert two.dropped_share() == one.dropped_share()
        patched = follow(patched, changes, now)
        compared = follow(compared, compared.declared.changes_to(other), now)
        assert answers([compared], now + 1) == answers([patched], now + 1)


@given(PAGES, PAGES, st.floats(0, 1))
def test_a_share_is_exact_where_it_is_not_tolerated(old, new, tolerated):
    """
    The quick estimate never takes a list for one that drops more, or less, than is tolerated.
    """
    before = whole(old)
    succession = Succession.of(before, before.changes_to(whole(new)), OWN)
    exact = succession.dropped_share()
    assert (exact > tolerated) == (succession.dropped_share(tolerated) > tolerated)


@given(PAGES, PAGES, PAGES)
def test_conflicts_are_those_of_a_table_made_anew(one, two, other):
    """
    Of two servers, only what was touched is looked at again.
    """
    before = [ServerList("one", whole(other)), ServerList("two", whole(one))]
    domains = {"one": OWN, "two": OWN}
    table = merge(before, domains, HOP)
    for place in (0, 1):
        old = before[place].declared
        succession = Succession.of(old, old.changes_to(whole(two)), OWN)
        after = list(before)
        after[place] = ServerList(before[place].server, succession.declared)
        known = merge(after, domains, HOP, before=table, touched=touched(succession))
        assert set(merge(after, domains, HOP).conflicts) == set(known.conflicts)


@given(PAGES, PAGES, st.integers(-3, 8))
def test_a_patch_whose_count_does_not_fit_is_refused(old, new, count):
    """
    It was made for another list, or something is missing.
    """
    patch = patch_of(old, new)
    assume(count != patch["count"])
    with pytest.raises(ListError, match="do not make"):
        parsed({**patch, "count": count}).changes_of(whole(old))


@given(PAGES, st.integers(1, 300))
def test_a_page_that_is_cut_anywhere_is_refused(page, place):
    """
    No beginning of a page is a page.
    """
    text = json.dumps({**page, "transport": True}).encode()
    assume(place < len(text))
    with pytest.raises(ListError):
        parse_aliases(text[:place])


@pytest.mark.parametrize("given_count", [0, 2, "1", True, None, 1.0])
def test_a_page_of_another_count_is_refused(given_count):
    """
    A page that says how many entries it has, has them.
    """
    with pytest.raises(ListError, match="count"):
        parse_aliases(json.dumps({"aliases": {"a@x": []}, "count": given_count}).encode())


@pytest.mark.parametrize("transport", [None, 1, "true", [], {}])
def test_a_page_that_says_something_else_of_transport_is_refused(transport):
    """
    It is whole, or it is not.
    """
    with pytest.raises(ListError, match="transport"):
        parse_aliases(json.dumps({"aliases": {}, "transport": transport}).encode())


@pytest.mark.parametrize(
    ("page", "is_whole"), [({}, False), ({"transport": False}, False), ({"transport": True}, True)]
)
def test_a_page_says_whether_it_is_whole(page, is_whole):
    """
    What says nothing, needs the page of transport.
    """
    assert is_whole == parse_aliases(json.dumps({"aliases": {}, **page}).encode()).whole


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{", "{}", '{"count":"1"}', '{"count":true}', '{"count":1.0}',
        '{"count":1,"aliases":null}', '{"count":1,"aliases":[]}', '{"count":1,"local_parts":null}',
        '{"count":1,"domains":"x y"}', '{"count":1,"domains":[1]}', '{"count":1,"transport":null}',
        '{"count":1,"transport":false}', '{"count":1,"aliases":{"a":["b@x"]}}', '{"count":1} x',
        '{"count":1,"aliases":{"a@x":["b"]}}', '{"count":1,"aliases":{"a@x":{"b":1}}}',
        '{"count":1,}',
        '{"count":1,"aliases":{"a@x":null,"A@x":["a@x"]}}', '{"count":1,"count":1}', "<html>",
        '{"count":1,"local_parts":{"a@x":["a@x"]}}', '{"count":1,"aliases":{},"aliases":{}}',
    ],
)  # fmt: skip
def test_what_is_no_patch(text):
    """
    It is read as strictly as a page, and what is ambiguous is refused.
    """
    with pytest.raises(ListError):
        parse_patch(text.encode())


def test_what_a_patch_does_not_know_is_ignored():
    """
    Members of a later version do not matter, nor that nothing changes.
    """
    before = AliasList({"a@x": ("a@x",)}, whole=True)
    patch = parsed({"count": 1, "version": "2", "more": {"a": [1]}, "aliases": {"A@x": []}})
    assert not patch.changes_of(before)


@given(st.lists(PAGES, min_size=2, max_size=4), st.integers(0, 3))
def test_what_is_stored_by_changes_is_what_is_in_force(tmp_path_factory, pages, lost):
    """
    The stored list follows patch by patch; where it is not the one before, it is written whole.
    """
    folder = tmp_path_factory.mktemp("store")
    store = Store(str(folder))
    current = ServerList("odoo", whole(pages[0]), {}, 1.0)
    revision = store.save(Stored(current))
    for number, (old, new) in enumerate(itertools.pairwise(pages)):
        if number == lost:
            Store(str(folder)).save(Stored(ServerList("odoo", whole(pages[-1]), {}, 2.0)))
        changes = parsed(patch_of(old, new)).changes_of(current.declared)
        succession = Succession.of(current.declared, changes, OWN)
        now = 10.0 * (number + 1)
        removed = succession.removed(current.removed, now, GRACE)
        current = succeed(current, succession, removed, now)
        stored = Stored(ServerList("odoo", current.declared, current.removed, now, 0, revision))
        revision = store.save(stored, changes, removed)
        loaded = Store(str(folder)).load("odoo")
        assert stored == loaded
        assert revision == loaded.server_list.revision
    (folder / "odoo-mailer.sqlite3").unlink()


def test_what_is_usual_follows_the_kind_of_list():
    """
    A list that becomes whole, or is so no longer, costs no more than one that always was.
    """
    page = {"aliases": {"a@x": ["a@x"], "b@x": ["a@x", "c@y"]}, "local_parts": {"a": []},
            "domains": ["x"]}  # fmt: skip
    one, other = whole(page), two_pages(page)
    for before, after in ((one, other), (other, one), (AliasList(), one), (AliasList(), other)):
        made = before.changed(before.changes_to(after))
        assert after == made
        assert (USUAL[after.whole], 3) == (made.entries.usual, made.count)
        assert dict(after.entries.unusual()) == dict(made.entries.unusual())
