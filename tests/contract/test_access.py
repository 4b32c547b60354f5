"""
Who may ask, how, and that every answer is marked.
"""

import pytest

POINTS = [("GET", "aliases"), ("GET", "transport"), ("POST", "pipe")]


def post_or_get(odoo, method, point, message, token=""):
    """
    Send what the point expects.
    """
    if method == "GET":
        return odoo.request(method, point, token=token)
    headers = {
        "Content-Type": "message/rfc822",
        "X-Mail-Recipients": odoo.address,
        "X-Mail-Digest": message.digest,
    }
    return odoo.request(method, point, headers, message.octets, token=token)


@pytest.mark.parametrize(
    "token",
    [None, "wrong", " ", b"\xe4\xf6\xfc", "tökén".encode(), b"contract-token\xff"],
    ids=["missing", "wrong", "blank", "latin-1", "utf-8", "longer"],
)
@pytest.mark.parametrize(("method", "point"), POINTS)
def test_wrong_token_is_401(odoo, method, point, token):
    """
    A missing or wrong token gets 401 from the addon itself.
    """
    answer = post_or_get(odoo, method, point, odoo.message(odoo.address), token)

    assert answer.code == 401
    assert answer.marked


def test_wrong_token_stores_nothing(odoo, mails):
    """
    What was refused for its token is not kept.
    """
    message = odoo.message(odoo.address)
    post_or_get(odoo, "POST", "pipe", message, "wrong")

    assert mails.copies(message) == []


def test_refusal_is_not_remembered(odoo):
    """
    A message refused for its token is taken with the right one.
    """
    message = odoo.message(odoo.address)
    post_or_get(odoo, "POST", "pipe", message, "wrong")

    assert odoo.pipe(message, odoo.address).verdicts() == {odoo.address: (250, "2.0.0")}


@pytest.mark.parametrize(
    ("method", "point"),
    [("POST", "aliases"), ("PUT", "transport"), ("DELETE", "aliases"), ("GET", "pipe")],
)
def test_wrong_method_is_405(odoo, method, point):
    """
    Another method is refused; Odoo's router may do so before the addon can mark it.
    """
    assert odoo.request(method, point).code == 405


@pytest.mark.parametrize("accept", ["text/plain", "application/json", "*/*"])
@pytest.mark.parametrize("point", ["aliases", "transport"])
def test_lists_are_marked(odoo, point, accept):
    """
    A list is marked in every form.
    """
    answer = odoo.get(point, Accept=accept)

    assert answer.code == 200
    assert answer.marked


def test_verdicts_are_marked(odoo):
    """
    An answer with verdicts is marked, and keeps no session.
    """
    answer = odoo.pipe(odoo.message(odoo.nobody()), odoo.nobody())

    assert answer.marked
    assert "Set-Cookie" not in answer.headers
