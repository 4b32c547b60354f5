"""
The two lists.
"""

import json

import pytest

from mailer.alias_list import parse_aliases, parse_transport

FORMS = ["text/plain", "application/json"]


def test_text_is_a_list(odoo):
    """
    The text form is read without a fault, and has the known address.
    """
    answer = odoo.get("aliases", Accept="text/plain")

    assert answer.headers.get_content_type() == "text/plain"
    assert odoo.address in parse_aliases(answer.body).aliases


def test_text_is_the_default(odoo):
    """
    Who says nothing of JSON gets the text.
    """
    assert odoo.get("aliases").body == odoo.get("aliases", Accept="text/plain").body


def test_json_is_a_list(odoo):
    """
    The JSON form is read without a fault, and has all that was promised.
    """
    answer = odoo.get("aliases", Accept="application/json")
    document = json.loads(answer.body)

    assert answer.headers.get_content_type() == "application/json"
    assert document.keys() >= {"aliases", "local_parts", "domains", "version"}
    assert isinstance(document["version"], str)
    assert len(parse_aliases(answer.body)) > 0


def test_forms_agree(odoo):
    """
    The text has the aliases of the JSON, and its local parts in each of its domains.
    """
    text = parse_aliases(odoo.get("aliases", Accept="text/plain").body)
    found = parse_aliases(odoo.get("aliases", Accept="application/json").body)
    expanded = {}
    for part, targets in found.local_parts.items():
        for domain in found.domains:
            own = f"{part}@{domain}"
            expanded[own] = tuple(own if target == part else target for target in targets)

    assert text.aliases == {**expanded, **found.aliases}


@pytest.mark.parametrize("form", FORMS)
def test_known_etag_is_304(odoo, form):
    """
    Who has the list already gets 304, marked and empty, for as long as nothing changes.
    """
    etag = odoo.get("aliases", Accept=form).headers["ETag"]
    for _ in range(2):
        answer = odoo.get("aliases", Accept=form, If_None_Match=etag)

        assert answer.code == 304
        assert answer.marked
        assert answer.body == b""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", ['"another"', 'W/"another"', "another", '""'])
def test_other_etag_is_200(odoo, form, value):
    """
    Who has another list gets this one.
    """
    answer = odoo.get("aliases", Accept=form, If_None_Match=value)

    assert answer.code == 200
    assert answer.headers["ETag"].removeprefix("W/").startswith('"')
    assert parse_aliases(answer.body)


def test_etag_of_one_form_is_none_of_the_other(odoo):
    """
    A change of the form brings the list anew, or else the daemon keeps the wrong one.
    """
    etag = odoo.get("aliases", Accept="text/plain").headers["ETag"]

    assert odoo.get("aliases", Accept="application/json", If_None_Match=etag).code == 200


@pytest.mark.parametrize("form", FORMS)
def test_every_target_is_in_transport(odoo, form):
    """
    Whatever an alias leads to is delivered to Odoo.
    """
    found = parse_aliases(odoo.get("aliases", Accept=form).body)
    targets = {target for targets in found.aliases.values() for target in targets}
    targets |= {t for targets in found.local_parts.values() for t in targets if "@" in t}
    answer = odoo.get("transport")

    assert answer.headers.get_content_type() == "text/plain"
    assert targets - parse_transport(answer.body).keys() == set()
