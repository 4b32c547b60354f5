"""
Tests for mailer.odoo: whole lists, and what has changed of them.

Source: RFC 3229 (delta encoding in HTTP).
"""

import pytest

from mailer.concealed import MASK
from mailer.config import Token
from mailer.errors import TemporaryError
from mailer.odoo import MAX_JOINED
from mailer.pages import Page, Pages

PATCH = b'{"count": 1}'
USED = 'IM: merge-patch\r\nDelta-Base: "1"\r\nETag: "2"\r\n'
NO_TRANSPORT = Page(None, "")


async def whole(_):
    """
    Say that every page is the whole list.
    """
    return True


async def not_whole(_):
    """
    Say that none is.
    """
    return False


def test_a_whole_list_is_one_page(connect):
    """
    The page of transport is not asked for, nor the aliases again.
    """
    wire = connect()
    call = wire.fetch(is_whole=whole)
    wire.answer(200, b"{}", 'ETag: "1"\r\n')
    assert Pages(Page(b"{}", '"1"'), NO_TRANSPORT) == call.value
    assert call.value.changed


def test_an_unchanged_whole_list_is_one_304(connect):
    """
    There is one etag for all of it.
    """
    wire = connect()
    call = wire.fetch('"1"', is_whole=whole, patch=True)
    assert '"1"' == wire.request()[1]["if-none-match"]
    wire.answer(304)
    assert Pages(Page(None, '"1"'), NO_TRANSPORT) == call.value
    assert not call.value.changed


def test_a_list_that_is_whole_no_longer(connect):
    """
    Its page of transport is fetched as ever.
    """
    wire = connect()
    call = wire.fetch('"1"', is_whole=not_whole)
    wire.answer(200, b"{}", 'ETag: "2"\r\n')
    assert "GET /mail_delivery/transport HTTP/1.1" == wire.request()[0]
    wire.answer(200, b"a@x", 'ETag: "3"\r\n')
    wire.answer(304)
    assert Pages(Page(b"{}", '"2"'), Page(b"a@x", '"3"')) == call.value


@pytest.mark.parametrize(
    ("etags", "patch", "asked"),
    [((), True, False), (('"1"',), False, False), (('"1"',), True, True)],
)
def test_a_patch_is_asked_for_where_it_can_be_used(connect, etags, patch, asked):
    """
    It needs an etag that it changes the page of, and a list that can be patched.
    """
    wire = connect()
    wire.fetch(*etags, patch=patch)
    assert ("merge-patch" if asked else None) == wire.request()[1].get("a-im")


def test_a_patch(connect):
    """
    226 brings what has changed, with the etag of the page after it; nothing else is fetched.
    """
    wire = connect()
    call = wire.fetch('"1"', is_whole=not_whole, patch=True)
    wire.answer(226, PATCH, USED)
    assert Pages(Page(PATCH, '"2"', is_patch=True), NO_TRANSPORT) == call.value


@pytest.mark.parametrize(
    "fields",
    [
        "",
        USED.replace("merge-patch", "vcdiff"),
        USED.replace("IM: merge-patch\r\n", ""),
        USED.replace('Delta-Base: "1"', 'Delta-Base: "0"'),
        USED.replace('Delta-Base: "1"\r\n', ""),
        USED.replace('ETag: "2"\r\n', ""),
        USED.replace('ETag: "2"\r\n', "ETag: \xe9\r\n"),
    ],
)
def test_a_patch_of_which_anything_is_in_doubt(connect, fields):
    """
    The whole page is asked for at once, without a word of etags and patches.
    """
    wire = connect()
    call = wire.fetch('"1"', is_whole=whole, patch=True)
    wire.answer(226, PATCH, fields)
    line, headers, _ = wire.request()
    assert "GET /mail_delivery/aliases HTTP/1.1" == line
    assert not {"a-im", "if-none-match"} & headers.keys()
    wire.answer(200, b"{}", 'ETag: "2"\r\n')
    assert Pages(Page(b"{}", '"2"'), NO_TRANSPORT) == call.value


def test_a_patch_without_the_mark(connect):
    """
    It is not Odoo's, where Odoo marks its answers.
    """
    wire = connect(marked=True)
    call = wire.fetch('"1"', is_whole=whole, patch=True)
    wire.answer(226, PATCH, USED)
    assert "if-none-match" not in wire.request()[1]
    wire.answer(200, b"{}", "X-Mail-Delivery: 1\r\n")
    assert Pages(Page(b"{}", ""), NO_TRANSPORT) == call.value


def test_a_server_that_only_ever_patches(connect):
    """
    An answer that was not asked for is no list.
    """
    wire = connect()
    call = wire.fetch(is_whole=whole)
    wire.answer(226, PATCH, USED)
    wire.answer(226, PATCH, USED)
    with pytest.raises(TemporaryError, match="226"):
        _ = call.value


def test_a_large_page_shows_no_token(connect):
    """
    It is not joined, but what Odoo may have echoed is masked as it is read.
    """
    token = "a-very-secret-token"
    wire = connect(token=Token(token))
    body = b"# " + b"x" * MAX_JOINED + token.encode() + b"\na@x\n"
    call = wire.fetch(is_whole=whole)
    wire.answer(200, body, 'ETag: "1"\r\n')
    content = call.value.aliases.content
    assert not isinstance(content, bytes)
    assert body.replace(token.encode(), MASK) == b"".join(content)
