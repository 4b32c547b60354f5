"""
Tests for mailer.refresh: mappings of the webhook, and several servers.
"""

import pytest

from mailer.alias_list import AliasList
from mailer.errors import ListError, TemporaryError
from mailer.store import Etags

TEN = [f"a{n}@example.com" for n in range(10)]


def test_an_installed_mapping_is_not_held_back(loaded):
    """
    What the webhook brought replaces the list at once, however much it drops.
    """
    declared = AliasList(transport={"only@example.com": ""})
    loaded.fakes.run(loaded.refreshers["odoo"].install(declared.twin()))
    assert loaded.finds("only@example.com")
    assert not loaded.finds("a0@example.com")
    assert declared == loaded.store.load("odoo").server_list.declared
    assert loaded.value("refresh_total", server="odoo", trigger="webhook", result="changed") == 1


def test_an_installed_mapping_is_replaced_at_the_next_poll(loaded, sites):
    """
    The poll asks without validators, so that Odoo's own list takes the mapping's place.
    """
    loaded.fetch(sites.page_of(TEN), etags=('"a"', '"t"'))
    loaded.fakes.run(loaded.refreshers["odoo"].install(AliasList(transport={TEN[0]: ""})))
    assert loaded.fetch(sites.page_of(TEN), etags=('"a"', '"t"')).result == "changed"
    assert Etags() == loaded.clients["odoo"].calls[-1]
    assert loaded.finds("a9@example.com")


def test_a_mapping_that_cannot_be_stored_is_not_in_force(loaded):
    """
    install fails, and the old list stays.
    """
    store = loaded.fakes.FailingStore(TemporaryError("disk full"))
    refresher = loaded.make_refresher("odoo", store=store)
    with pytest.raises(TemporaryError, match="disk full"):
        loaded.fakes.run(refresher.install(AliasList()))
    assert loaded.finds("a0@example.com")


def test_a_mapping_during_a_fetch_is_not_overwritten_by_it_unnoticed(loaded, sites):
    """
    Whatever order they end in, store and table hold the same list.
    """
    slow = loaded.thread = loaded.fakes.SlowThread()
    outcome = loaded.refreshers["odoo"].refresh("command")
    loaded.clients["odoo"].answer(
        loaded.fakes.make_pages(sites.page_of(TEN), " ".join(TEN).encode() + b" x@example.com")
    )
    slow.finish()  # the page is read
    installing = loaded.fakes.Deferred.fromCoroutine(
        loaded.refreshers["odoo"].install(AliasList(transport={"y@example.com": ""}))
    )
    while slow.waiting:
        slow.finish()
    assert loaded.fakes.result_of(outcome).result == "changed"
    loaded.fakes.result_of(installing)
    stored = loaded.store.load("odoo").server_list.declared
    assert stored == loaded.directory["odoo"].declared
    assert {"y@example.com": ""} == stored.transport


def test_a_page_fetched_before_a_mapping_is_not_joined_with_it(loaded, sites):
    """
    A half that stands for the list before the mapping is not mixed with the mapping.
    """
    loaded.fetch(sites.page_of(TEN), etags=('"a"', '"t"'))
    outcome = loaded.refreshers["odoo"].refresh("command")
    mapping = AliasList(transport={"y@example.com": ""})
    loaded.fakes.run(loaded.refreshers["odoo"].install(mapping.twin()))
    loaded.clients["odoo"].answer(loaded.fakes.make_pages(sites.page_of(TEN), None, ('"b"', '"t"')))
    assert not loaded.fakes.result_of(outcome).is_good
    assert mapping == loaded.directory["odoo"].declared


def test_a_list_is_not_confirmed_that_is_no_longer_in_force(loaded, sites):
    """
    That Odoo's list has not changed says nothing of the mapping that took its place meanwhile.
    """
    loaded.fetch(sites.page_of(TEN), etags=('"a"', '"t"'))
    outcome = loaded.refreshers["odoo"].refresh("command")
    loaded.fakes.run(loaded.refreshers["odoo"].install(AliasList(transport={"y@example.com": ""})))
    loaded.clients["odoo"].answer(loaded.fakes.UNCHANGED)
    assert "failed" == loaded.fakes.result_of(outcome).result
    assert loaded.finds("y@example.com")


def test_an_installed_mapping_is_freed_slowly(loaded):
    """
    Whoever sent it has nothing left of it that would be freed at once.
    """
    declared = AliasList(transport={"only@example.com": ""})
    loaded.fakes.run(loaded.refreshers["odoo"].install(declared))
    assert 0 == len(declared)
    assert loaded.finds("only@example.com")


@pytest.mark.parametrize("etags", [("", ""), ('"a"', '"t"')])
@pytest.mark.parametrize("known", [True, False])
def test_a_list_fetched_before_a_mapping_does_not_replace_it(lists, sites, known, etags):
    """
    It is older; the refresh has failed, and the next one, which is soon, brings Odoo's list.
    """
    refresher, client = lists.refreshers["odoo"], lists.clients["odoo"]
    refresher.startService()
    if known:
        client.answer(lists.fakes.make_pages(sites.page_of(TEN), TEN[0].encode(), etags))
        lists.clock.advance(60)
    newer = lists.fakes.make_pages(sites.page_of([*TEN, "x@example.com"]), TEN[0].encode(), etags)
    mapping = AliasList(transport={TEN[0]: ""})
    lists.fakes.run(refresher.install(mapping.twin()))
    client.answer(newer)
    assert mapping == lists.directory["odoo"].declared
    assert mapping == lists.store.load("odoo").server_list.declared
    trigger = "poll" if known else "start"
    assert lists.value("refresh_total", server="odoo", trigger=trigger, result="failed") == 1
    lists.clock.advance(1)
    client.answer(newer)
    assert Etags() == client.calls[-1]
    assert lists.finds("x@example.com")


def test_two_servers_that_claim_one_address_are_reported(fakes, tmp_path, logged, sites):
    """
    The first keeps it; log and metric name the second.
    """
    lists = sites.Lists(fakes, tmp_path, ("one", "two"))
    lists.fetch(sites.page_of(["info@example.com"]), name="one")
    lists.fetch(sites.page_of(["info@example.com", "b@example.com"]), name="two")
    assert lists.directory.table.find("info@example.com")[1].server == "one"
    assert lists.directory.table.find("b@example.com")[1].server == "two"
    assert lists.value("address_conflicts", server="two") == 1
    assert lists.value("address_conflicts", server="one") == 0
    claims = [e for e in logged if "is claimed by" in e.get("log_format", "")]
    assert [("info@example.com", "one", "two")] == [
        (event["address"], event["keeper"], event["loser"]) for event in claims
    ]


def test_a_failure_of_one_server_leaves_the_other_alone(fakes, tmp_path, sites):
    """
    Each server has its own list and its own schedule.
    """
    lists = sites.Lists(fakes, tmp_path, ("one", "two"))
    lists.fetch(sites.page_of(TEN), name="one")
    outcome = lists.refreshers["two"].refresh("command")
    lists.clients["two"].answer(ListError("no list"))
    assert fakes.result_of(outcome).result == "failed"
    assert lists.finds("a0@example.com")
