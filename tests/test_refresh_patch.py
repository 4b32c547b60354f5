"""
Tests for mailer.refresh, mailer.replacement and mailer.reading: lists that change by patches.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.alias_list import AliasList, Patch, parse_patch
from mailer.errors import ListError, RefusedError, TemporaryError
from mailer.store import Etags

FOUR = {f"{part}@x": [f"{part}@x"] for part in "abcd"}
PAGE = {"aliases": FOUR, "transport": True}
NEW = {"aliases": {"new@x": ["new@x"]}, "count": 5}


@pytest.fixture
def whole(lists):
    """
    One server, a whole list in force.
    """
    assert fetch(lists, lists.fakes.make_whole(PAGE, '"1"')).result == "changed"
    return lists


def fetch(lists, *answers, force=False):
    """
    Have the list fetched; return the outcome.
    """
    outcome = lists.refreshers["odoo"].refresh("command", force)
    for answer in answers:
        lists.clients["odoo"].answer(answer)
    return lists.fakes.result_of(outcome)


def stored(lists):
    """
    Return the stored list.
    """
    return lists.store.load("odoo").server_list.declared


def test_a_whole_list_is_stored_with_its_etag(whole):
    """
    After a start it can be patched as before.
    """
    entry = whole.store.load("odoo")
    assert (Etags('"1"'), True) == (entry.etags, entry.server_list.declared.whole)
    assert whole.finds("a@x")
    assert whole.delivers("a@x")


@pytest.mark.parametrize("known", ["whole", "lists", "loaded"])
def test_only_a_whole_list_is_asked_to_be_patched(request, known):
    """
    Where there is none, or one of two pages, the whole is asked for.
    """
    site = request.getfixturevalue(known)
    site.refreshers["odoo"].refresh("command")
    assert (known == "whole") == site.clients["odoo"].patch


def test_a_patch_is_taken_and_stored(whole):
    """
    It changes the list in force, the etag, and the stored list.
    """
    before = whole.directory["odoo"].declared
    outcome = fetch(whole, whole.fakes.make_whole(NEW, '"2"', is_patch=True))
    assert ("changed", 5) == (outcome.result, outcome.count)
    assert whole.finds("new@x")
    assert stored(whole) == whole.directory["odoo"].declared != before
    assert Etags('"2"') == whole.refreshers["odoo"].etags == whole.store.load("odoo").etags


def test_a_removed_address_is_remembered(whole):
    """
    It is delivered for the time of grace, as if the page had lost it; an own target comes back.
    """
    patch = {"aliases": {"a@x": None}, "count": 3}
    assert fetch(whole, whole.fakes.make_whole(patch, '"2"', is_patch=True)).is_good
    assert (False, True) == (whole.finds("a@x"), whole.delivers("a@x"))
    assert {"a@x"} == set(whole.store.load("odoo").server_list.removed)
    patch = {"aliases": {"a@x": []}, "count": 4}
    assert fetch(whole, whole.fakes.make_whole(patch, '"3"', is_patch=True)).is_good
    declared = whole.directory["odoo"].declared
    assert "a@x" not in dict(declared.entries.unusual())
    assert declared.entries.usual is declared.entries["a@x"]
    assert {} == whole.directory["odoo"].removed == whole.store.load("odoo").server_list.removed


@pytest.mark.parametrize(
    "patch",
    [
        {**NEW, "count": 6},
        {**NEW, "count": None},
        {**NEW, "aliases": None},
        {**NEW, "transport": False},
        {"aliases": {"no address": []}, "count": 5},
        {},
        [],
    ],
)
def test_a_patch_that_does_not_fit_is_followed_by_the_whole_list(whole, patch):
    """
    Nothing of it is taken; the list is asked for without etags, at once.
    """
    page = {**PAGE, "aliases": {**FOUR, "other@x": []}}
    answers = (
        whole.fakes.make_whole(patch, '"2"', is_patch=True),
        whole.fakes.make_whole(page, '"3"'),
    )
    outcome = fetch(whole, *answers)
    assert "changed" == outcome.result
    assert (Etags(), False) == (whole.clients["odoo"].calls[-1], whole.clients["odoo"].patch)
    assert (True, False) == (whole.finds("other@x"), whole.finds("new@x"))
    assert stored(whole) == whole.directory["odoo"].declared


def test_a_patch_that_drops_too_much_is_refused_until_forced(whole):
    """
    It is judged as the page would be.
    """
    patch = {"aliases": dict.fromkeys(["a@x", "b@x", "c@x"]), "count": 1}
    pages = whole.fakes.make_whole(patch, '"2"', is_patch=True)
    outcome = fetch(whole, pages)
    assert "refused" == outcome.result
    assert "75% of 4 addresses" in outcome.reason
    assert whole.finds("a@x")
    assert "changed" == fetch(whole, pages, force=True).result
    assert not whole.finds("a@x")


def test_a_list_that_is_whole_no_longer(whole):
    """
    It is read from two pages again, and not patched.
    """
    pages = whole.fakes.make_pages(b"a@x\nb@x\nc@x\n", b"a@x b@x c@x", ('"a"', '"t"'))
    assert "changed" == fetch(whole, pages).result
    assert not whole.directory["odoo"].declared.whole
    assert whole.delivers("d@x")  # for its time of grace
    whole.refreshers["odoo"].refresh("command")
    assert not whole.clients["odoo"].patch


def apply(lists, patch, base='"1"', etag='"2"'):
    """
    Have a patch applied that Odoo sent.
    """
    lists.fakes.run(lists.refreshers["odoo"].apply(patch, base, etag))


def test_a_patch_that_was_sent_is_applied(whole):
    """
    It counts as a refresh of the webhook's, and the next fetch begins with its etag.
    """
    apply(whole, Patch(5, {"new@x": ("new@x",)}))
    assert whole.finds("new@x")
    assert stored(whole) == whole.directory["odoo"].declared
    assert whole.value("refresh_total", server="odoo", trigger="webhook", result="changed") == 1
    whole.refreshers["odoo"].refresh("command")
    assert Etags('"2"') == whole.clients["odoo"].calls[-1]


@pytest.mark.parametrize(
    ("base", "etag", "patch", "error"),
    [
        ('"0"', '"2"', Patch(5, {"new@x": ("new@x",)}), TemporaryError),
        ("", '"2"', Patch(5, {"new@x": ("new@x",)}), TemporaryError),
        ('"1"', "", Patch(5, {"new@x": ("new@x",)}), TemporaryError),
        ('"1"', '"2"', Patch(6, {"new@x": ("new@x",)}), ListError),
        ('"1"', '"2"', Patch(0, dict.fromkeys(FOUR)), RefusedError),
    ],
)
def test_a_patch_that_was_sent_and_does_not_fit_changes_nothing(whole, base, etag, patch, error):
    """
    Neither the list in force nor the stored one, nor the etag.
    """
    before = whole.directory["odoo"].declared
    with pytest.raises(error):
        apply(whole, patch, base, etag)
    assert before is whole.directory["odoo"].declared
    assert before == stored(whole)
    assert Etags('"1"') == whole.refreshers["odoo"].etags


def test_a_list_of_two_pages_is_not_patched(loaded, sites):
    """
    Nobody knows what a patch means for its page of transport.
    """
    loaded.fetch(sites.page_of(sites.TEN), etags=('"1"', '"t"'))
    with pytest.raises(TemporaryError):
        apply(loaded, Patch(11, {"new@x": ("new@x",)}))
    assert not loaded.finds("new@x")


def test_a_page_that_was_overtaken_by_a_patch_is_fetched_again(whole):
    """
    Nobody can tell which of both is newer; that is no failure.
    """
    outcome = whole.refreshers["odoo"].refresh("command")
    apply(whole, Patch(5, {"new@x": ("new@x",)}))
    page = {**PAGE, "aliases": {**FOUR, "late@x": []}}
    whole.clients["odoo"].answer(whole.fakes.make_whole(page, '"1a"'))
    assert Etags('"2"') == whole.clients["odoo"].calls[-1]
    assert whole.finds("new@x")
    page["aliases"]["new@x"] = []
    whole.clients["odoo"].answer(whole.fakes.make_whole(page, '"3"'))
    assert "changed" == whole.fakes.result_of(outcome).result
    assert (True, True) == (whole.finds("new@x"), whole.finds("late@x"))


def test_what_is_patched_after_the_store_was_lost_is_stored_whole(whole, tmp_path):
    """
    The file that takes the place of a damaged one has the whole list, not the changes alone.
    """
    (tmp_path / "odoo-mailer.sqlite3").write_bytes(b"no database at all" * 100)
    assert fetch(whole, whole.fakes.make_whole(NEW, '"2"', is_patch=True)).is_good
    assert stored(whole) == whole.directory["odoo"].declared
    assert 5 == len(stored(whole))


def test_many_changes_at_once(whole):
    """
    A list of which very much changes is in force as any other.
    """
    for turn in (1, 2):
        addresses = {f"{turn}-{number}@x": [] for number in range(10_000)}
        page = {"aliases": addresses, "transport": True}
        assert fetch(whole, whole.fakes.make_whole(page, f'"{turn + 1}"'), force=True).is_good
        assert len(addresses) == len(whole.directory["odoo"].declared)
        assert whole.finds(f"{turn}-0@x")
        assert not whole.finds(f"{3 - turn}-0@x")
        assert AliasList({name: (name,) for name in addresses}, whole=True) == stored(whole)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from([*FOUR, "new@x", "odd"]), st.none() | st.just([])),
       st.sampled_from(['"0"', '"1"', '"3"']), st.integers(3, 6))  # fmt: skip
def test_whatever_is_sent_the_list_is_the_right_one(
    fakes, sites, tmp_path_factory, changes, base, count
):
    """
    A patch of another base or count, or none at all, never changes the list.
    """
    lists = sites.Lists(fakes, tmp_path_factory.mktemp("lists"))
    fetch(lists, fakes.make_whole(PAGE, '"1"'))
    before = lists.directory["odoo"].declared
    expected = {**FOUR, **changes}
    names = {name for name, targets in expected.items() if targets is not None}
    try:
        patch = parse_patch(fakes.json.dumps({"aliases": changes, "count": count}).encode())
        apply(lists, patch, base)
    except (ListError, TemporaryError):
        assert before is lists.directory["odoo"].declared
    else:
        assert (base, count) == ('"1"', len(names))
        assert names == set(lists.directory["odoo"].declared.entries)
    assert lists.directory["odoo"].declared == stored(lists)
