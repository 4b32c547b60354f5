"""
Tests for mailer.web: bodies that are too large, too deep or too clever.
"""

import pytest

from mailer import web
from mailer.alias_list import AliasList

YAML = {"Content-Type": "application/yaml"}
OLD = AliasList(transport={"old@example.com": ""})
BODY = b"odoo@example.com: [info, sales@example.org]\n"


@pytest.fixture
def desk(fakes, tmp_path, sites):
    """
    The site over one server.
    """
    return sites.Desk(fakes, tmp_path)


@pytest.fixture
def small(monkeypatch):
    """
    A limit of a hundred octets.
    """
    monkeypatch.setattr(web, "MAX_BODY", 100)


def chunked(body):
    """
    Return a body in chunks of ten octets.
    """
    pieces = [body[i : i + 10] for i in range(0, len(body), 10)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("size", "code"), [(100, 200), (101, 413), (5000, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_beyond_the_limit_is_refused(desk, size, code, is_chunked):
    """
    413, with Content-Length or without, and the list stays.
    """
    body = BODY + b"#" * (size - len(BODY))
    if is_chunked:
        response = desk.post(chunked(body), {**YAML, "Transfer-Encoding": "chunked"})
    else:
        response = desk.post(body)
    assert code == response.code
    assert (code == 413) == (OLD == desk.declared())


@pytest.mark.usefixtures("small")
def test_a_body_beyond_the_limit_needs_the_token_too(desk):
    """
    401 comes first.
    """
    assert desk.post(b"#" * 1000, token="wrong").code == 401


@pytest.mark.usefixtures("small")
def test_a_body_of_a_form_beyond_the_limit_is_refused(desk):
    """
    Twisted's own parsing of forms does not get in the way.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert desk.post(b"a=b&" * 1000, headers).code == 413


def test_an_alias_bomb_is_refused_in_no_time(desk):
    """
    Nine levels of nine references are not expanded.
    """
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    lines.append("odoo@example.com: *a9")
    assert desk.post("\n".join(lines).encode()).code == 422
    lines[0] = "odoo@example.com: &a0 [x, x]"
    assert desk.post("\n".join(lines).encode()).code == 422
    assert OLD == desk.declared()


def test_an_address_of_references_is_not_written_out(desk):
    """
    The reason of a refusal does not grow with what an anchor stands for.
    """
    key = ", ".join(["*long"] * 300)
    body = f"odoo@example.com: &long {'x' * 100_000}\n? [{key}]\n: x\n"
    response = desk.post(body.encode())
    assert response.code == 422
    assert len(response.body) < 1000


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "{a: ", "[[]", '{"a":'])
def test_deep_nesting_is_refused(desk, opening):
    """
    Neither the parser nor the process comes to harm.
    """
    assert desk.post((opening * 500).encode()).code == 422
    assert OLD == desk.declared()


@pytest.mark.parametrize(
    "body",
    [
        b'{"odoo@example.com": NaN}',
        b'{"odoo@example.com": [Infinity, -Infinity]}',
        b'{"odoo@example.com": [1e999]}',
        b'{"odoo@example.com": ' + b"9" * 100_000 + b"}",
        b'{"odoo@example.com": [' + b"9" * 5000 + b"]}",
        b'{"odoo@example.com": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"odoo@example.com": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"odoo@example.com": [], "odoo@example.com": []}',
        b'{"a@example.com": {"b": 1, "b": 2}}',
    ],
)
def test_odd_json_is_refused(desk, body):
    """
    Numbers that are none or without end, nesting and repeated keys.
    """
    assert desk.post(body).code == 422
    assert OLD == desk.declared()


def test_a_flat_list_that_is_repeated_is_refused(desk):
    """
    A text of some kilobytes is not made a list of millions.
    """
    names = ", ".join(f"n{n}" for n in range(1000))
    body = f"a0@example.com: &l [{names}]\n"
    body += "".join(f"a{n}@example.com: *l\n" for n in range(1, 200))
    response = desk.post(body.encode())
    assert (422, b"line 101: aliases (*) repeat too much\n") == (response.code, response.body)
