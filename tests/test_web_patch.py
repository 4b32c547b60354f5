"""
Tests for mailer.web: what has changed of the list, posted to the webhook.
"""

import json

import pytest

from mailer.alias_list import AliasList
from mailer.store import Etags, Store

TYPE = "application/merge-patch+json"
PAGE = {"aliases": {"a@x": [], "b@x": []}, "transport": True}
FITTING = {"Content-Type": TYPE, "Delta-Base": '"1"', "ETag": '"2"'}
NEW = json.dumps({"aliases": {"new@x": ["new@x"]}, "count": 3}).encode()


@pytest.fixture
def desk(fakes, tmp_path, sites):
    """
    The site over one server, a whole list in force.
    """
    desk = sites.Desk(fakes, tmp_path)
    desk.clients["odoo"].marked = True
    desk.send(path="/refresh?force=1")
    desk.clients["odoo"].answer(fakes.make_whole(PAGE, '"1"'))
    desk.clients["odoo"].calls.clear()
    assert desk.declared().whole
    return desk


@pytest.mark.parametrize("content_type", [TYPE, f"{TYPE}; charset=utf-8", TYPE.upper()])
def test_changes_are_in_force_and_stored_when_they_are_answered(desk, tmp_path, content_type):
    """
    200; nothing is fetched.
    """
    response = desk.post(NEW, {**FITTING, "Content-Type": content_type})
    new = AliasList({name: (name,) for name in ("a@x", "b@x", "new@x")}, whole=True)
    assert (200, b"the changes are in force\n") == (response.code, response.body)
    assert new == desk.declared() == Store(str(tmp_path)).load("odoo").server_list.declared
    assert desk.directory.table.find_deliverable("new@x", 0) is not None
    assert [] == desk.clients["odoo"].calls
    assert Etags('"2"') == Store(str(tmp_path)).load("odoo").etags


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"Delta-Base": '"0"'}, NEW),
        ({"Delta-Base": ""}, NEW),
        ({"ETag": ""}, NEW),
        ({}, json.dumps({"count": 7}).encode()),
        ({}, json.dumps({"aliases": {"a@x": None, "b@x": None}, "count": 0}).encode()),
    ],
)
def test_where_there_is_any_doubt_the_list_is_fetched(desk, changes, body):
    """
    202, and nothing is applied: another base, a count that does not fit, too much that goes.
    """
    before = desk.declared()
    response = desk.post(body, {**FITTING, **changes})
    assert 202 == response.code
    assert before is desk.declared()
    assert [Etags('"1"')] == desk.clients["odoo"].calls


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b"\xff", b'{"aliases":{"a":[]},"count":1}'])
def test_what_is_no_patch_is_told(desk, body):
    """
    422 with the reason; nothing is applied, and nothing fetched.
    """
    before = desk.declared()
    assert 422 == desk.post(body, FITTING).code
    assert before is desk.declared()
    assert [] == desk.clients["odoo"].calls


def test_a_wrong_token_changes_nothing(desk):
    """
    401 as for every list.
    """
    before = desk.declared()
    assert 401 == desk.post(NEW, FITTING, token="wrong-token").code
    assert before is desk.declared()


def test_an_empty_body_of_this_type_is_a_call(desk):
    """
    202; the list is fetched.
    """
    assert 202 == desk.post(b"", FITTING).code
    assert 1 == len(desk.clients["odoo"].calls)
