"""
What a mailer is told of changes that others commit.
"""

import json

import pytest
from api import Answer, Api
from odoo_server import OdooServer
from postfix import DOMAIN

JSON = {"Accept": "application/json, text/plain;q=0.9", "A-IM": "merge-patch"}


@pytest.fixture
def api(odoo: OdooServer) -> Api:
    """
    A mailer of its own.
    """
    return Api(odoo.port, odoo.connect_mailer("changes"))


def since(api: Api, answer: Answer) -> Answer:
    """
    Ask for what is new since an answer.
    """
    return api.get("aliases", {**JSON, "If-None-Match": answer.headers["ETag"]})


def test_change_in_odoo(odoo: OdooServer, api: Api) -> None:
    """
    A new alias is a patch of a few octets, and the next question is answered with 304.
    """
    whole = api.get("aliases", JSON)
    address = odoo.create_alias("patched")
    patch = since(api, whole)
    assert (whole.code, patch.code) == (200, 226)
    assert json.loads(patch.body)["aliases"] == {address: [address]}
    assert json.loads(patch.body)["count"] == json.loads(whole.body)["count"] + 1
    assert since(api, patch).code == 304


def test_change_by_sql(odoo: OdooServer, api: Api) -> None:
    """
    An alias that SQL renames, behind Odoo's back, is a patch as well.
    """
    odoo.create_alias("before-sql")
    whole = api.get("aliases", JSON)
    odoo.database.sql(
        f"""UPDATE mail_alias SET alias_name = 'after-sql',
                   alias_full_name = 'after-sql@{DOMAIN}'
             WHERE alias_name = 'before-sql'"""
    )
    patch = since(api, whole)
    assert patch.code == 226
    assert json.loads(patch.body)["aliases"] == {
        f"before-sql@{DOMAIN}": None,
        f"after-sql@{DOMAIN}": [f"after-sql@{DOMAIN}"],
    }


def test_change_of_a_domain(odoo: OdooServer, api: Api) -> None:
    """
    What is not about an alias alone brings the whole page.
    """
    whole = api.get("aliases", JSON)
    before = odoo.set_parameter("mail.catchall.domain.allowed", "changes.test")
    try:
        assert since(api, whole).code == 200
    finally:
        odoo.set_parameter("mail.catchall.domain.allowed", before)
    assert since(api, whole).code == 304
