"""
Tests for mailer.web: the webhook.
"""

import pytest

from mailer.alias_list import AliasList
from mailer.errors import TemporaryError
from mailer.store import Store

YAML = {"Content-Type": "application/yaml"}
OLD = AliasList(transport={"old@example.com": ""})
BODY = b"odoo@example.com: [info, sales@example.org]\n"


@pytest.fixture
def desk(fakes, tmp_path, sites):
    """
    The site over one server.
    """
    return sites.Desk(fakes, tmp_path)


def test_a_mapping_is_in_force_and_stored_when_it_is_answered(desk, tmp_path):
    """
    200; aliases without @ take the domain of their account.
    """
    response = desk.post(BODY)
    new = AliasList(
        {"info@example.com": ("odoo@example.com",), "sales@example.org": ("odoo@example.com",)},
        transport={"odoo@example.com": ""},
    )
    assert (200, b"3 addresses in force\n") == (response.code, response.body)
    assert new == desk.declared()
    assert new == Store(str(tmp_path)).load("odoo").server_list.declared
    assert desk.directory.table.find("info@example.com") is not None
    assert desk.value("webhook_requests_total", code="200") == 1


def test_a_mapping_is_not_answered_before_it_is_in_force(desk):
    """
    While it is stored nothing is said.
    """
    slow = desk.thread = desk.fakes.SlowThread()
    connection = desk.send(BODY, headers=YAML)
    slow.finish()
    assert connection.received() == b""
    assert OLD == desk.declared()
    slow.finish()
    assert desk.fakes.http_response(connection.received()).code == 200
    assert OLD != desk.declared()


def test_json_is_yaml(desk):
    """
    The same mapping as JSON is taken too.
    """
    assert desk.post(b'{"odoo@example.com": ["info"]}').code == 200
    assert desk.directory.table.find("info@example.com") is not None


def test_an_empty_mapping_empties_the_list(desk):
    """
    A mapping is explicit, it is not held back.
    """
    assert desk.post(b"{}\n").code == 200
    assert AliasList() == desk.declared()


@pytest.mark.parametrize("content_type", ["application/yaml; charset=utf-8", "Application/YAML"])
def test_the_content_type_is_compared_without_case_and_parameters(desk, content_type):
    """
    As media types are.
    """
    assert desk.post(BODY, {"Content-Type": content_type}).code == 200


@pytest.mark.parametrize("headers", [{}, YAML, {"Content-Type": "text/plain"}])
def test_an_empty_body_has_the_list_fetched(desk, headers):
    """
    202 at once, whatever the type, and one fetch from Odoo.
    """
    assert desk.post(b"", headers).code == 202
    assert len(desk.clients["odoo"].waiting) == 1


def test_a_burst_of_empty_bodies_is_coalesced(desk):
    """
    A hundred calls during a fetch make one more.
    """
    assert [202] * 100 == [desk.post().code for _ in range(100)]
    desk.clients["odoo"].answer(desk.fakes.UNCHANGED)
    desk.clients["odoo"].answer(desk.fakes.UNCHANGED)
    assert [] == desk.clients["odoo"].waiting
    assert len(desk.clients["odoo"].calls) == 2


@pytest.mark.parametrize(
    "token", [None, "", "wrong", "odoo-toke", "odoo-token2", "odoo-tokén", "\xff\xfe", "ODOO-TOKEN"]
)
@pytest.mark.parametrize("body", [b"", BODY])
def test_without_the_token_nothing_happens(desk, token, body):
    """
    401, no fetch, and the list stays.
    """
    assert desk.post(body, token=token).code == 401
    assert OLD == desk.declared()
    assert [] == desk.clients["odoo"].calls
    assert desk.value("webhook_requests_total", code="401") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"])
def test_other_methods_are_not_allowed(desk, method):
    """
    405, and the answer says what is.
    """
    response = desk.post(BODY if method == "PUT" else b"", method=method)
    assert (405, "POST") == (response.code, response.headers["allow"])
    assert OLD == desk.declared()
    assert [] == desk.clients["odoo"].calls


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        "application/yamlx",
        ";",
    ],
)
def test_another_content_type_is_answered(desk, content_type):
    """
    415, and the list stays.
    """
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert desk.post(BODY, headers).code == 415
    assert OLD == desk.declared()


@pytest.mark.parametrize("parameter", ["", "; boundary=x"])
def test_a_form_with_a_file_is_answered(desk, parameter):
    """
    Twisted reads such a body itself and may say 400 before we say 415.
    """
    assert desk.post(BODY, {"Content-Type": f"multipart/form-data{parameter}"}).code in (400, 415)
    assert OLD == desk.declared()


@pytest.mark.parametrize(
    "body",
    [
        b"odoo@example.com: [info",
        b"\t- x",
        b"- odoo@example.com\n",
        b"odoo@example.com\n",
        b"~",
        b"# only a comment\n",
        b"42",
        b"odoo: [info]",
        b"odoo@example.com: {info: x}",
        b"odoo@example.com: [[info]]",
        b"odoo@example.com: [1]",
        b"odoo@example.com: 1",
        b"1: [info]",
        b"odoo@example.com: [info\xff]",
        b"\xff\xfe",
        b"# a comment that takes more than is read at once\n" * 2_000 + b"\xff",
        b"odoo@example.com: ['two words']",
        b"odoo@example.com: [a@b@c]",
        b"odoo@example.com: [info]\nodoo@example.com: [sales]",
        b"odoo@example.com: !!python/object/apply:os.system [id]",
        b"<html></html>",
        b"a: *nothing",
        b"%YAML 9.9\n---\n{}",
    ],
)
def test_what_is_no_mapping_of_addresses_is_refused_with_the_reason(desk, body):
    """
    422 with one line of text, and the list stays.
    """
    response = desk.post(body)
    assert response.code == 422
    assert len(response.body.strip().splitlines()) == 1
    assert OLD == desk.declared()
    assert desk.value("webhook_requests_total", code="422") == 1


@pytest.mark.parametrize(
    "body",
    [
        b'odoo@example.com: !!float ""',
        b'odoo@example.com: !!int ""',
        b'odoo@example.com: !!bool "maybe"',
        b'odoo@example.com: "\\UFFFFFFFF"',
        b'"\\ud800@example.com": [info]',
        b'{"odoo@example.com": ["\\ud800"]}',
    ],
)
def test_odd_yaml_is_refused_like_any_other(desk, body):
    """
    422 too: values that cannot be built, characters that cannot be stored.
    """
    assert desk.post(body).code == 422
    assert OLD == desk.declared()


def test_a_key_given_twice_is_refused_in_json_too(desk):
    """
    As in YAML: otherwise the aliases of the first would silently be gone.
    """
    assert desk.post(b'{"odoo@example.com": ["a"], "odoo@example.com": ["b"]}').code == 422
    assert OLD == desk.declared()


def test_a_refusal_never_shows_the_token(desk):
    """
    Neither the body nor the headers of an answer hold it.
    """
    connection = desk.send(b"odoo-token", headers=YAML, token="wrong")
    assert b"odoo-token" not in connection.received()


def test_a_store_that_fails_is_unavailable(fakes, tmp_path, sites):
    """
    503, and the list stays.
    """
    desk = sites.Desk(fakes, tmp_path, store=fakes.FailingStore(TemporaryError("disk full")))
    response = desk.post(BODY)
    assert (503, b"disk full\n") == (response.code, response.body)
    assert OLD == desk.declared()


def test_our_own_bug_is_told_without_details(fakes, tmp_path, logged, sites):
    """
    500, the cause is in the log, and the list stays.
    """
    desk = sites.Desk(fakes, tmp_path, store=fakes.FailingStore(ZeroDivisionError("secret")))
    response = desk.post(BODY)
    assert response.code == 500
    assert b"secret" not in response.body
    assert any("log_failure" in event for event in logged)
    assert OLD == desk.declared()


def test_the_token_tells_which_server_is_meant(fakes, tmp_path, sites):
    """
    Each of two servers replaces its own list.
    """
    desk = sites.Desk(fakes, tmp_path, ("one", "two"))
    assert desk.post(BODY, token="two-token").code == 200
    assert OLD == desk.declared("one")
    assert OLD != desk.declared("two")
    desk.post(token="one-token")
    assert [1, 0] == [len(desk.clients[name].calls) for name in ("one", "two")]


def test_a_client_that_leaves_before_the_answer_does_no_harm(desk, logged):
    """
    The list is in force, nothing is raised.
    """
    slow = desk.thread = desk.fakes.SlowThread()
    connection = desk.send(BODY, headers=YAML)
    connection.protocol.connectionLost(desk.fakes.Failure(ConnectionError()))
    slow.finish()
    slow.finish()
    assert OLD != desk.declared()
    assert not any(event.get("log_failure") for event in logged)
