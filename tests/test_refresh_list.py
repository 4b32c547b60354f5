"""
Tests for mailer.refresh: which list is taken, and which is not.
"""

import json

import pytest

from mailer.errors import TemporaryError
from mailer.store import Etags

TEN = [f"a{n}@example.com" for n in range(10)]


@pytest.mark.parametrize("page", [b"", b"# nothing\n", b"\n\n", b'{"aliases": {}}'])
def test_a_list_that_would_be_emptied_is_refused(loaded, page):
    """
    An empty list does not take the place of one with addresses, and says how to force it.
    """
    outcome = loaded.fetch(page, b"")
    assert outcome.result == "refused"
    assert "100% of 10 addresses" in outcome.reason
    assert "odoo-mailer refresh --force" in outcome.reason
    assert loaded.finds("a0@example.com")


def test_the_transport_page_may_not_be_emptied_either(loaded, sites):
    """
    An address in aliases that is gone from transport would bounce: such a list is refused.
    """
    outcome = loaded.fetch(sites.page_of(TEN), b"")
    assert outcome.result == "refused"
    assert loaded.directory["odoo"].declared.transport


def test_the_domains_of_local_parts_may_not_be_emptied_either(lists):
    """
    Without its domains a list of local parts holds no address any more.
    """
    document = {"aliases": {}, "local_parts": {"info": []}, "domains": ["example.com"]}
    lists.fetch(json.dumps(document).encode(), b"")
    assert lists.finds("info@example.com")
    outcome = lists.fetch(json.dumps({**document, "domains": []}).encode(), b"")
    assert outcome.result == "refused"
    assert lists.finds("info@example.com")


@pytest.mark.parametrize(("kept", "result"), [(5, "changed"), (4, "refused"), (1, "refused")])
def test_a_list_may_shrink_by_max_shrink(loaded, kept, result, sites):
    """
    Half of the list may go at once, more may not.
    """
    assert result == loaded.fetch(sites.page_of(TEN[:kept])).result
    assert (result == "refused") == loaded.finds("a9@example.com")


def test_other_addresses_do_not_make_up_for_those_that_are_gone(loaded, sites):
    """
    A list of as many addresses, but others, is a shrunk one.
    """
    outcome = loaded.fetch(sites.page_of(f"b{n}@example.com" for n in range(50)))
    assert outcome.result == "refused"


def test_a_refused_list_stays_refused_until_forced(loaded, sites):
    """
    Polls refuse the same list again and again, force takes it.
    """
    results = [loaded.fetch(sites.page_of(TEN[:1])).result for _ in range(3)]
    assert ["refused"] * 3 == results
    assert loaded.fetch(sites.page_of(TEN[:1]), force=True).result == "changed"
    assert not loaded.finds("a9@example.com")
    assert loaded.fetch(sites.page_of(TEN[:1])).is_good
    assert loaded.value("refresh_total", server="odoo", trigger="command", result="refused") == 3


def test_a_refused_list_is_asked_for_again(loaded, sites):
    """
    Its validators are not remembered: a 304 would make it pass for the list in force.
    """
    loaded.fetch(sites.page_of(TEN[:1]), etags=('"new"', '"new"'))
    loaded.fetch(sites.page_of(TEN[:1]), etags=('"new"', '"new"'))
    assert Etags() == loaded.clients["odoo"].calls[-1]


def test_a_list_may_be_emptied_by_force(loaded):
    """
    Force accepts even the empty list.
    """
    assert loaded.fetch(b"", force=True).result == "changed"
    assert not loaded.finds("a0@example.com")
    assert () == loaded.directory.table.missing


def test_a_first_empty_answer_without_mark_is_refused(lists):
    """
    A blank page of some proxy is not taken for a list.
    """
    outcome = lists.fetch(b"", marked=False)
    assert outcome.result == "refused"
    assert "not marked" in outcome.reason
    assert ("odoo",) == lists.directory.table.missing


def test_a_first_empty_answer_with_mark_is_a_list(lists):
    """
    An addon that declares no address is believed.
    """
    lists.clients["odoo"].marked = True
    assert lists.fetch(b"").result == "changed"
    assert () == lists.directory.table.missing


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (b"<!DOCTYPE html><html><body>Welcome</body></html>", "HTML"),
        (b"\n  <html><form action='/web/login'><input name='password'></form></html>", "HTML"),
        (b'{"jsonrpc": "2.0", "error": {"code": 200}}', "JSON of another kind"),
        (b'["info@example.com"]', "JSON of another kind"),
        (b'{"aliases": ["info@example.com"]}', "JSON of another kind"),
        (b'{"aliases": ', "is not"),
        (b"Please log in to continue", "'Please' is not an address"),
        (b"404 page not found", "'404' is not an address"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "not UTF-8"),
        (b"\x00\x01\x02", "is not an address"),
    ],
)
def test_a_page_that_is_no_list_is_refused_with_the_reason(loaded, page, reason):
    """
    Login pages, other JSON and binary leave the list in force; the outcome says what came.
    """
    outcome = loaded.fetch(page, b"")
    assert outcome.result == "failed"
    assert reason in outcome.reason
    assert loaded.finds("a0@example.com")
    assert outcome.count == 10


@pytest.mark.parametrize("page", [b"<html></html>", b"\xff", b"smtp:relay", b"odoo"])
def test_a_transport_page_that_is_none_is_refused(loaded, page, sites):
    """
    A good alias page does not count without a good transport page.
    """
    outcome = loaded.fetch(sites.page_of([*TEN, "new@example.com"]), page)
    assert outcome.result == "failed"
    assert not loaded.finds("new@example.com")


def test_a_lone_surrogate_in_json_is_refused_with_the_reason(lists):
    """
    What cannot be written as UTF-8 is no address, and no internal error.
    """
    outcome = lists.fetch(b'{"aliases": {"\\ud800@example.com": []}}', b"")
    assert outcome.result == "failed"
    assert "is not an address" in outcome.reason


def test_a_list_is_stored_before_it_counts(lists, sites):
    """
    While the list is being stored, the old one answers; then both are the new one.
    """
    lists.thread = lists.fakes.SlowThread()
    outcome = lists.refreshers["odoo"].refresh("command")
    lists.clients["odoo"].answer(lists.fakes.make_pages(sites.page_of(TEN)))
    lists.thread.finish()  # the page is read
    assert len(lists.store.load("odoo").server_list.declared) == 10
    assert not lists.finds("a0@example.com")
    lists.thread.finish()
    assert lists.finds("a0@example.com")
    assert lists.fakes.result_of(outcome).result == "changed"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TemporaryError("disk full"), "disk full"), (MemoryError(), "internal error, see the log")],
)
def test_a_list_that_cannot_be_stored_does_not_count(loaded, error, reason, sites):
    """
    A store that fails leaves the old list in force, the outcome failed, the next try free.
    """
    store = loaded.fakes.FailingStore(error)
    loaded.refreshers["odoo"] = loaded.make_refresher("odoo", store=store)
    outcome = loaded.fetch(sites.page_of([*TEN, "new@example.com"]), etags=('"n"', '"n"'))
    assert ("failed", reason) == (outcome.result, outcome.reason)
    assert not loaded.finds("new@example.com")
    loaded.fetch(sites.page_of([*TEN, "new@example.com"]))
    assert Etags() == loaded.clients["odoo"].calls[-1]
    loaded.refreshers["odoo"] = loaded.make_refresher("odoo")
    assert loaded.fetch(sites.page_of([*TEN, "new@example.com"])).result == "changed"


def test_one_changed_page_is_joined_with_the_known_other(loaded):
    """
    Where one page has not changed, its part of the list stays.
    """
    page = b'{"aliases": {"info@example.com": ["a0@example.com"]}}'
    outcome = loaded.refreshers["odoo"].refresh("command")
    loaded.clients["odoo"].answer(loaded.fakes.make_pages(page, None))
    assert loaded.fakes.result_of(outcome).result == "changed"
    declared = loaded.directory["odoo"].declared
    assert {"info@example.com": ("a0@example.com",)} == declared.aliases
    assert set(TEN) == set(declared.transport)


def test_the_same_list_without_validators_is_unchanged(loaded, sites):
    """
    A server without ETags sends the list each time, which is then only confirmed.
    """
    loaded.clock.advance(10)
    assert loaded.fetch(sites.page_of(TEN)).result == "unchanged"
    assert loaded.fakes.NOW + 10 == loaded.directory["odoo"].loaded_at


def test_removed_addresses_are_taken_for_the_grace_time(loaded, sites):
    """
    An address that left the list is not valid any more, but queued mail for it is taken.
    """
    loaded.fetch(sites.page_of(TEN[:9]))
    assert not loaded.finds("a9@example.com")
    assert loaded.delivers("a9@example.com")
    loaded.clock.advance(sites.GRACE - 1)
    assert loaded.delivers("a9@example.com")
    loaded.clock.advance(1)
    assert not loaded.delivers("a9@example.com")


def test_an_address_that_comes_back_is_no_longer_removed(loaded, sites):
    """
    Its grace time begins anew when it leaves again.
    """
    loaded.fetch(sites.page_of(TEN[:9]))
    loaded.clock.advance(sites.GRACE - 1)
    loaded.fetch(sites.page_of(TEN))
    loaded.fetch(sites.page_of(TEN[:9]))
    loaded.clock.advance(sites.GRACE - 1)
    assert loaded.delivers("a9@example.com")


@pytest.mark.parametrize("local_parts", [{}, {"jobs": []}])
@pytest.mark.parametrize("etags", [('"a"', '"t"'), ('"a"', "")])
def test_one_page_of_two_may_change_again_and_again(lists, local_parts, etags):
    """
    What the page says that stays holds on, and what leaves the other is remembered.
    """
    hops = ["a@example.com", "b@example.com", "c@example.com"]
    page = {"aliases": {}, "local_parts": local_parts, "domains": ["example.com"]}
    aliases = json.dumps(page).encode()
    assert lists.fetch(aliases, " ".join(hops).encode(), etags=etags).result == "changed"
    for kept in (hops[:2], hops, hops[1:]):
        assert lists.fetch(None, " ".join(kept).encode(), etags=etags).result == "changed"
        assert bool(local_parts) == lists.delivers("jobs@example.com")
    assert lists.delivers("a@example.com")
    assert lists.fetch(None, " ".join(hops[1:]).encode(), etags=etags).result == "unchanged"
    assert bool(local_parts) == lists.delivers("jobs@example.com")
    page = {**page, "aliases": {"new@example.com": []}}
    transport = " ".join(hops[1:]).encode()
    outcome = lists.fetch(json.dumps(page).encode(), transport, etags=('"other"', etags[1]))
    assert outcome.result == "changed"
    assert lists.finds("new@example.com")
    assert bool(local_parts) == lists.finds("jobs@example.com")
