"""
Changes of the list: RFC 3229 with RFC 7396, for who has an earlier list.
"""

import json

import pytest

from mailer.alias_list import parse_aliases, parse_transport

JSON = "application/json, text/plain;q=0.9"
EDITS = {"sales@example.com:": "new@example.com:", "  jobs:\n": ""}


def ask(odoo, etag=None):
    """
    Ask as a daemon does that has a list already.
    """
    known = {"If-None-Match": etag} if etag else {}
    return odoo.request("GET", "aliases", {"Accept": JSON, "A-IM": "merge-patch", **known})


def test_count_is_that_of_the_members(odoo):
    """
    Where the page has a count, it is that of aliases and local parts together.
    """
    page = json.loads(ask(odoo).body)

    assert page.get("count", len(page["aliases"]) + len(page["local_parts"])) == len(
        page["aliases"]
    ) + len(page["local_parts"])


def test_transport_says_what_the_other_page_has(odoo):
    """
    "transport": true stands for the page with every target, and no next hop but the daemon's own.
    """
    page = json.loads(ask(odoo).body)
    if page.get("transport") is not True:
        pytest.skip("the server has next hops of its own")
    targets = {target for targets in page["aliases"].values() for target in targets}
    for part, words in page["local_parts"].items():
        targets |= {f"{part}@{name}" for name in page["domains"] if part in words}
        targets |= {word for word in words if "@" in word}

    assert parse_transport(odoo.get("transport").body) == dict.fromkeys(targets, "")


def test_who_has_the_list_gets_304(odoo):
    """
    Nothing has changed, whether a patch would be taken or not.
    """
    etag = ask(odoo).headers["ETag"]
    answer = ask(odoo, etag)

    assert (answer.code, answer.body) == (304, b"")
    assert answer.marked


@pytest.mark.parametrize("etag", ['"unknown"', '""', 'W/"unknown"', None])
def test_who_has_an_unknown_list_gets_all(odoo, etag):
    """
    A list that the server does not know is answered with the whole page.
    """
    answer = ask(odoo, etag)

    assert answer.code == 200
    assert "IM" not in answer.headers
    assert odoo.address in parse_aliases(answer.body).aliases


def test_who_has_an_earlier_list_gets_the_changes(odoo, edit, fakes):
    """
    The patch leads from the list of Delta-Base to that of ETag, count and version included.
    """
    first = ask(odoo)
    edit(EDITS)
    answer = ask(odoo, first.headers["ETag"])
    whole = ask(odoo)

    assert answer.code == 226
    assert answer.marked
    assert answer.headers["IM"] == "merge-patch"
    assert answer.headers["Delta-Base"] == first.headers["ETag"]
    assert answer.headers["ETag"] == whole.headers["ETag"]
    assert answer.headers.get_content_type() == "application/merge-patch+json"
    patch = json.loads(answer.body)
    assert patch["aliases"] == {"sales@example.com": None, "new@example.com": ["new@example.com"]}
    assert patch["local_parts"] == {"jobs": None}
    assert fakes.patched(json.loads(first.body), patch) == json.loads(whole.body)


def test_who_takes_no_patch_gets_all(odoo, edit):
    """
    Without A-IM a change brings the whole page, as text as well.
    """
    etag = ask(odoo).headers["ETag"]
    edit(EDITS)

    assert odoo.get("aliases", Accept=JSON, If_None_Match=etag).code == 200
    assert odoo.get("aliases", If_None_Match=etag, A_IM="merge-patch").code == 200
