"""
Tests for mailer.odoo: what is sent, and what is made of answers.
"""

import gzip
from dataclasses import replace

import pytest

from mailer import __version__
from mailer.errors import NoAnswerError, TemporaryError
from mailer.odoo import FETCHES, Page, Pages
from mailer.store import Etags
from mailer.verdict import Answer

DIGEST = "ab" * 32
MARK = "X-Mail-Delivery: 1\r\n"


def test_list_requests(connect):
    """
    Aliases, then transport, each with the token and without a body.
    """
    wire = connect()
    wire.fetch()
    line, headers, body = wire.request()
    assert ("GET /mail_delivery/aliases HTTP/1.1", b"") == (line, body)
    assert "very-secret" == headers["x-mail-token"]
    assert "127.0.0.1:8069" == headers["host"]
    assert f"odoo-mailer/{__version__}" == headers["user-agent"]
    assert "application/json, text/plain;q=0.9" == headers["accept"]
    assert not {"if-none-match", "x-odoo-database", "authorization"} & headers.keys()
    wire.answer()
    line, headers, _ = wire.request()
    assert "GET /mail_delivery/transport HTTP/1.1" == line
    assert "very-secret" == headers["x-mail-token"]


def test_an_ipv6_address(connect):
    """
    A server without a name can be asked, too.
    """
    wire = connect(url="http://[::1]:8069/odoo")
    call = wire.fetch()
    line, headers, _ = wire.request()
    assert "GET /odoo/mail_delivery/aliases HTTP/1.1" == line
    assert "[::1]:8069" == headers["host"]
    assert not call.done


def test_pages(connect):
    """
    Both pages come back with their etags, octets untouched.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(200, b"\xff\x00 a@x\r\n", f'ETag: "one" \r\n{MARK}')
    assert not call.done
    wire.answer(200, b"", f"ETag: W/two\r\n{MARK}")
    assert not call.done
    assert '"one"' == wire.request()[1]["if-none-match"]
    wire.answer(304)
    expected = Pages(Page(b"\xff\x00 a@x\r\n", '"one"'), Page(b"", "W/two"))
    assert expected == call.value
    assert (Etags('"one"', "W/two"), True) == (expected.etags, expected.changed)


def test_etags_sent_again(connect):
    """
    Each page is asked for with its own etag, and kept where it has not changed.
    """
    wire = connect()
    call = wire.fetch('"one"', "W/two")
    assert '"one"' == wire.request()[1]["if-none-match"]
    wire.send(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    assert "W/two" == wire.request()[1]["if-none-match"]
    wire.send(b"HTTP/1.1 304 Not Modified\r\nETag: other\r\n\r\n")
    pages = call.value
    assert Pages(Page(None, '"one"'), Page(None, "W/two")) == pages
    assert (Etags('"one"', "W/two"), False) == (pages.etags, pages.changed)


@pytest.mark.parametrize("unchanged", ["aliases", "transport"])
def test_one_page_changed(connect, unchanged):
    """
    One page may have changed and the other not.
    """
    wire = connect()
    call = wire.fetch('"a"', '"t"')
    for name in ("aliases", "transport"):
        wire.answer(304 if name == unchanged else 200, headers='ETag: "new"\r\n')
    wire.answer(304)
    pages = call.value
    assert pages.changed
    assert getattr(pages, unchanged).content is None
    etags = Etags('"new"', '"new"')
    assert replace(etags, **{unchanged: f'"{unchanged[0]}"'}) == pages.etags


def test_the_pages_are_of_one_moment(connect):
    """
    Where aliases have changed while transport was fetched, both are fetched again.
    """
    wire = connect()
    call = wire.fetch()
    for number in range(2):
        wire.answer(200, b"a%d@x" % number, f'ETag: "a{number}"\r\n')
        wire.answer(200, b"t%d@x" % number, f'ETag: "t{number}"\r\n')
    line, headers, _ = wire.request()
    assert "GET /mail_delivery/aliases HTTP/1.1" == line
    assert '"a1"' == headers["if-none-match"]
    wire.answer(304)
    assert Pages(Page(b"a1@x", '"a1"'), Page(b"t1@x", '"t1"')) == call.value


def test_an_old_list_of_aliases_beside_a_new_transport(connect):
    """
    An address that was removed between the two answers is in neither page.
    """
    wire = connect()
    call = wire.fetch('"a0"', '"t0"')
    wire.answer(304)
    wire.answer(200, b"", 'ETag: "t1"\r\n')
    wire.answer(200, b"", 'ETag: "a1"\r\n')
    wire.answer(304)
    wire.answer(304)
    assert Pages(Page(b"", '"a1"'), Page(None, '"t0"')) == call.value


def test_a_list_that_never_rests(connect):
    """
    After some tries the list in force stays, until the next time.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(200, b"", 'ETag: "a"\r\n')
    for number in range(FETCHES):
        wire.answer(200, b"", 'ETag: "t"\r\n')
        wire.answer(200, b"", f'ETag: "a{number}"\r\n')
    assert "faster" in str(call.error)


def test_without_an_etag_the_pages_are_taken_as_they_are(connect):
    """
    A server that gives none is asked once for each page.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(200, b"a@x")
    wire.answer(200, b"a@x", 'ETag: "t"\r\n')
    assert call.value.changed


@pytest.mark.parametrize("page", ["aliases", "transport"])
def test_a_page_without_the_mark(connect, page):
    """
    From a server that marks its answers it is somebody else's, an empty one too.
    """
    wire = connect(marked=True)
    call = wire.fetch()
    if page == "transport":
        wire.answer(200, b"a@x", MARK)
    wire.answer(200, b"")
    assert f"{page}: an answer without the mark of mail_delivery" == str(call.error)


def test_not_modified_without_etag(connect):
    """
    A 304 that nobody asked for is no list.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(304)
    assert isinstance(call.error, TemporaryError)


def test_changed_etag_is_dropped(connect):
    """
    A page that comes without an etag leaves none for the next time.
    """
    wire = connect()
    call = wire.fetch('"one"', "")
    wire.answer(200, b"a@x\n")
    wire.answer(200, b"a@x\n")
    assert Etags("", "") == call.value.etags


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (401, "token"),
        (403, "token"),
        (404, "addon"),
        (405, "addon"),
        (500, "HTTP 500"),
        (503, "HTTP 503"),
        (204, "HTTP 204"),
        (206, "HTTP 206"),
    ],
)
@pytest.mark.parametrize("page", ["aliases", "transport"])
def test_no_list(connect, page, code, said):
    """
    Any other status is no list; page and status are told, what to do where that is known.
    """
    wire = connect()
    call = wire.fetch()
    if page == "transport":
        wire.answer(200, b"a@x\n")
    wire.answer(code, b"" if code == 204 else b"a@x\n", MARK)
    text = str(call.error)
    assert text.startswith(f"{page}: HTTP {code}")
    assert said in text


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["http://evil.example/mail_delivery/aliases", "/web/login", "https://127.0.0.1/"]
)
def test_redirects_of_a_list(connect, code, location):
    """
    A redirect is told and not followed: nobody gets the token.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(code, b"", f"Location: {location}\r\n")
    assert location in str(call.error)
    assert b"" == wire.transport.value()
    assert 1 == wire.connections


def test_redirect_of_a_delivery(connect):
    """
    A delivery does not follow a redirect either; its status is the answer.
    """
    wire = connect()
    call = wire.deliver()
    wire.answer(302, b"", "Location: http://evil.example/\r\n")
    assert Answer(302) == call.value
    assert (b"", 1) == (wire.transport.value(), wire.connections)


def test_token_in_a_redirect_is_not_shown(connect):
    """
    A server that puts the token into a Location does not bring it into an error.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(302, b"", "Location: /login?token=very-secret\r\n")
    assert "302" in str(call.error)


def test_token_in_an_echo_is_not_shown(connect):
    """
    A server that sends back what it got does not bring the token into an error.
    """
    wire = connect()
    call = wire.fetch()
    wire.request()
    wire.send(b"X-Mail-Token: very-secret HTTP/1.1\r\n\r\n")
    assert isinstance(call.error, NoAnswerError)


def test_delivery_request(connect):
    """
    A delivery is one POST with all that Odoo needs to know in its header.
    """
    wire = connect(database="prod")
    wire.deliver(b"From: a\r\n\r\n\x00\xff.\r\n", recipients=("a@x", "b@x"))
    line, headers, body = wire.request()
    assert "POST /mail_delivery/pipe HTTP/1.1" == line
    expected = {
        "x-mail-token": "very-secret",
        "x-mail-sender": "s@y",
        "x-mail-recipients": "a@x,b@x",
        "x-mail-digest": f"sha-256={DIGEST}",
        "x-mail-queue-id": "4F2k",
        "x-odoo-database": "prod",
        "content-type": "message/rfc822",
        "content-length": "16",
        "accept": "application/json",
    }
    assert expected == {name: headers.get(name) for name in expected}
    assert b"From: a\r\n\r\n\x00\xff.\r\n" == body
    assert "transfer-encoding" not in headers


@pytest.mark.parametrize(
    ("sender", "octets"),
    [
        ("", b""),
        ("é@münchen.example", "é@münchen.example".encode()),
        ("\udce9@x", b"\xe9@x"),
        ('"a b"@x', b'"a b"@x'),
    ],
)
def test_addresses_as_octets(connect, sender, octets):
    """
    Sender and recipients go out as UTF-8, or as the octets that came in.
    """
    wire = connect()
    wire.deliver(sender=sender, recipients=("é@x", "b@x"))
    _, headers, _ = wire.request()
    assert octets == headers["x-mail-sender"].encode("latin-1")
    assert "é@x,b@x".encode() == headers["x-mail-recipients"].encode("latin-1")


def test_nothing_known_of_the_envelope(connect):
    """
    Without recipients and queue id there are no such fields.
    """
    wire = connect()
    wire.deliver(recipients=(), queue_id="")
    assert not {"x-mail-recipients", "x-mail-queue-id"} & wire.request()[1].keys()


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_no_field_can_be_smuggled(connect, line_end):
    """
    A line end in an address does not begin a field.
    """
    wire = connect()
    wire.deliver(sender=f"a@x{line_end}X-Mail-Recipients: evil@x")
    _, headers, _ = wire.request()
    assert "a@x" == headers["x-mail-recipients"]
    assert "very-secret" == headers["x-mail-token"]


def test_large_body(connect):
    """
    A message in a temporary file goes out with its new beginning, octet for octet.
    """
    message = b"Old: 1\r\n\r\n" + bytes(range(256)) * 12_000
    wire = connect()
    call = wire.deliver(message, beginning=b"New: 1\r\n", offset=len(b"Old: 1\r\n"))
    _, headers, body = wire.request()
    wire.answer(200, b"{}", MARK)
    assert str(len(message)) == headers["content-length"]
    assert b"New: 1\r\n" + message[8:] == body
    assert Answer(200, True, b"{}") == call.value


@pytest.mark.parametrize(
    ("code", "headers", "answer"),
    [
        (200, MARK, Answer(200, True, b"body")),
        (200, "", Answer(200, False, b"body")),
        (200, "X-Mail-Delivery: 0\r\n", Answer(200, False, b"body")),
        (200, "X-Mail-Delivery:  1 \r\n", Answer(200, True, b"body")),
        (401, "", Answer(401, False, b"body")),
        (404, MARK, Answer(404, True, b"body")),
        (500, "", Answer(500, False, b"body")),
        (503, "Retry-After: 17\r\n", Answer(503, False, b"body", 17.0)),
        (429, "Retry-After: 99999\r\n", Answer(429, False, b"body", 300.0)),
        (503, "Retry-After: soon\r\n", Answer(503, False, b"body")),
    ],
)
def test_answers(connect, code, headers, answer):
    """
    Whatever the status, an answer is an answer, with mark, body and Retry-After.
    """
    wire = connect()
    call = wire.deliver()
    wire.answer(code, b"body", headers)
    assert answer == call.value


def test_mark_noted_once(connect):
    """
    The first mark is told, further ones are not.
    """
    wire = connect()
    wire.fetch()
    wire.answer(200, b"", MARK)
    wire.answer(200, b"", MARK)
    wire.deliver()
    wire.answer(200, b"{}", MARK)
    assert ["odoo"] == wire.marks
    assert wire.client.marked


def test_mark_known_before(connect):
    """
    A server that is known to mark is not noted again, and stays known.
    """
    wire = connect(marked=True)
    wire.deliver()
    wire.answer(200, b"{}", MARK)
    wire.deliver()
    wire.answer(200, b"a proxy's page")
    assert [] == wire.marks
    assert wire.client.marked


@pytest.mark.parametrize("code", [401, 500])
def test_mark_of_a_refusal(connect, code):
    """
    A mark counts on whatever answer it comes.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(code, b"", MARK)
    assert isinstance(call.error, TemporaryError)
    assert ["odoo"] == wire.marks


def test_no_mark(connect):
    """
    An answer without mark is not noted.
    """
    wire = connect()
    wire.deliver()
    wire.answer(200, b"ok")
    assert ([], False) == (wire.marks, wire.client.marked)


def test_compressed_page(connect):
    """
    No coding is asked for, and none is taken: nobody would notice the loss of a part of it.
    """
    wire = connect()
    call = wire.fetch()
    _, headers, _ = wire.request()
    assert "accept-encoding" not in headers
    wire.answer(200, gzip.compress(b"a@x\n" * 1000), "Content-Encoding: gzip\r\n")
    assert isinstance(call.error, NoAnswerError)


def test_a_coding_whose_body_never_comes(connect):
    """
    The connection is not kept for it, and what the server says is not repeated.
    """
    wire = connect()
    call = wire.fetch()
    echo = wire.server.token.value
    headers = f"Content-Encoding: {echo}\r\nContent-Length: 100\r\n"
    wire.answer(200, b"", headers, length=False)
    assert isinstance(call.error, NoAnswerError)
    assert wire.transport.disconnecting


def test_chunked_page(connect):
    """
    A page in chunks ends with its last one.
    """
    wire = connect()
    call = wire.fetch()
    wire.answer(200, b"2\r\na@\r\n", "Transfer-Encoding: chunked\r\n", length=False)
    wire.send(b"2\r\nx\n\r\n")
    wire.send(b"0\r\n\r\n")
    wire.answer(200)
    assert b"a@x\n" == call.value.aliases.content


def test_no_cookies(connect):
    """
    A session that Odoo offers is not taken: it would choose the database of later calls.
    """
    wire = connect()
    wire.fetch()
    wire.answer(200, b"", "Set-Cookie: session_id=abc; Path=/\r\n")
    assert "cookie" not in wire.request()[1]
