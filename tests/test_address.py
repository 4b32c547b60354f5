"""
Tests for mailer.address.
"""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.address import (
    decode,
    encode,
    fold,
    is_address,
    is_domain,
    is_local_part,
    parse_path,
    without_extension,
)
from mailer.errors import ProtocolError


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("Info@Example.COM", "info@example.com"),
        ("STRASSE@x.de", "strasse@x.de"),
        ("stra\u00dfe@x.de", "strasse@x.de"),
        ("\u00c9t\u00e9@x.fr", "\u00e9t\u00e9@x.fr"),
    ],
)
def test_both_parts_are_folded(typed, folded):
    """
    Case counts in neither part, beyond ASCII too.
    """
    assert folded == fold(typed)


@given(st.text())
def test_folding_twice_is_folding_once(text):
    """
    A folded address stays as it is.
    """
    assert fold(text) == fold(fold(text))


@pytest.mark.parametrize(
    "word",
    [
        "info@example.com",
        "a@b",
        "first.last+tag@sub.example.co.uk",
        "o'brien/x=y@example.com",
        "{odd}#!$%&*?^`|~@example.com",
        "\u00e9t\u00e9@\u00e9t\u00e9.example",
        "x@under_score.example",
    ],
)
def test_full_addresses(word):
    """
    What Odoo can hold as an address is one.
    """
    assert is_address(word)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "@",
        "info",
        "@example.com",
        "info@",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a@b.",
        "a@.b",
        "a@b..c",
        "a@b\n",
        "a\x00@b",
        "a\x7f@b",
        "<a@b>",
        '"a b"@c',
        "a,b@c",
        "a:b@c",
        "a;b@c",
        "a\\b@c",
        "a@[127.0.0.1]",
        "a@b/c",
    ],
)
def test_words_that_are_no_address(word):
    """
    Half an address, two, quoting, literals, white space and controls are none.
    """
    assert not is_address(word)


@given(st.text())
def test_an_address_has_two_good_parts(text):
    """
    Any text is an address exactly if one @ joins a local part and a domain.
    """
    local, _, domain = text.partition("@")
    assert (is_local_part(local) and is_domain(domain)) == is_address(text)


@pytest.mark.parametrize("word", ["info", "first.last", "a+b", "\u00e9"])
def test_local_parts(word):
    """
    A bare name is a local part.
    """
    assert is_local_part(word)


@pytest.mark.parametrize("word", ["", "a@b", "a b", "a,b", "a\n", "<a>"])
def test_words_that_are_no_local_part(word):
    """
    An address, white space and brackets are no local part.
    """
    assert not is_local_part(word)


@pytest.mark.parametrize(
    "word",
    [
        "localhost",
        "example.com",
        "xn--bcher-kva.example",
        "b\u00fccher.example",
        # Devanagari: the vowel signs are combining marks, not letters.
        "\u0909\u0926\u093e\u0939\u0930\u0923.\u092a\u0930\u0940\u0915\u094d\u0937\u093e",
    ],
)
def test_domains(word):
    """
    A name of labels is a domain, in any script.
    """
    assert is_domain(word)


@pytest.mark.parametrize("word", ["", ".", "a.", ".a", "a..b", "a b", "a@b", "[::1]", "a/b", "a\n"])
def test_words_that_are_no_domain(word):
    """
    Empty labels, literals and white space make no domain.
    """
    assert not is_domain(word)


@pytest.mark.parametrize(
    ("address", "delimiters", "bare"),
    [
        ("user+ext@d", "+", "user@d"),
        ("user+ext+more@d", "+", "user@d"),
        ("user+@d", "+", "user@d"),
        ("user-a+b@d", "+-", "user@d"),
        ("user+a-b@d", "+-", "user@d"),
        ("user@d+e", "+", None),
        ("user@d", "+", None),
        ("user+ext@d", "", None),
        ("user+ext@d", "-", None),
        ("+ext@d", "+", None),
        ("+a+b@d", "+", None),
        ("-a+b@d", "+-", None),
        ('"user+e x t"@d', "+", "user@d"),
        (r'"user+e\"x\\t"@d', "+", "user@d"),
        (r'"us\er+ext"@d', "+", "user@d"),
        ('"user ext"@d', "+", None),
        ('"+ext"@d', "+", None),
        ('"user+ext"x@d', "+", None),
        ('"user+ext@d', "+", None),
        ("user+e x t@d", "+", None),
        ("user+e,x@d", "+", None),
        ("user+e:x@d", "+", None),
    ],
)
def test_extensions(address, delimiters, bare):
    """
    The first delimiter begins the extension; one at the very beginning leaves nothing to take off.
    """
    assert bare == without_extension(address, delimiters)


@pytest.mark.parametrize("local", ["mailer-daemon", "double-bounce", "postmaster"])
def test_reserved_addresses_have_no_extension(local):
    """
    Postfix never splits these, so neither do we.
    """
    assert without_extension(f"{local}@d", "-abcdefghijklmnopqrstuvwxyz") is None


@given(st.text(), st.text())
def test_without_extension_takes_any_text(address, delimiters):
    """
    The result has the same domain, a shorter and not empty local part, or there is none.
    """
    bare = without_extension(address, delimiters)
    if bare is not None:
        assert address.rpartition("@")[2] == bare.rpartition("@")[2]
        assert 0 < len(bare.rpartition("@")[0]) < len(address.rpartition("@")[0])


@given(st.text(st.sampled_from('ab+", \\')), st.text(st.sampled_from('ab+", \\')))
def test_quotes_make_no_difference_to_what_an_extension_is_of(user, ext):
    """
    Any text in quotes, with a backslash before what needs one.
    """
    local = f"{user}+{ext}"
    quoted = local.replace("\\", "\\\\").replace('"', '\\"')
    assert without_extension(f'"{quoted}"@d', "+") == (
        f"{user.partition('+')[0]}@d" if user.partition("+")[0] else None
    )


@pytest.mark.parametrize(
    ("data", "mailbox", "rest"),
    [
        (b"<>", "", b""),
        (b"<a@b>", "a@b", b""),
        (b"<A+x@B> SIZE=3", "A+x@B", b" SIZE=3"),
        (b"<postmaster>", "postmaster", b""),
        (b"<@relay:a@b>", "a@b", b""),
        (b"<@relay,@other:a@b>x", "a@b", b"x"),
        (b'<"john doe"@b>', '"john doe"@b', b""),
        (b'<"a>b"@c>', '"a>b"@c', b""),
        (b'<"a\\"b@x"@c>', '"a\\"b@x"@c', b""),
        (b"<a@[IPv6:::1]>", "a@[IPv6:::1]", b""),
        ("<\u00e9t\u00e9@b\u00fccher>".encode(), "\u00e9t\u00e9@b\u00fccher", b""),
        (b"<a\xff@b>", "a\udcff@b", b""),
    ],
)
def test_paths(data, mailbox, rest):
    """
    The mailbox is given as typed, without its source route, and what follows the path.
    """
    assert (mailbox, rest) == parse_path(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a@b",
        b"<a@b",
        b" <a@b>",
        b"<a b@c>",
        b"<a@b@c>",
        b"<a@>",
        b'<"a@b>',
        b'<"a\r\n"@b>',
        b"<a\x00@b>",
        b"<a\r@b>",
        b"<a\n@b>",
        b"<<a@b>>",
    ],
)
def test_what_is_no_path(data):
    """
    Missing brackets, spaces, line ends and NUL make no path.
    """
    with pytest.raises(ProtocolError):
        parse_path(data)


def test_a_path_may_be_long():
    """
    What Postfix takes is taken.
    """
    longest = b"<" + b"a" * 4000 + b"@b>"
    assert (longest[1:-1].decode(), b" X") == parse_path(longest + b" X")


@given(st.one_of(st.binary(), st.from_regex(rb'<[@a:"\\ .>\xc3]{0,20}>', fullmatch=True)))
@example(b'<"' + b"\\" * 500)
def test_any_octets_are_a_path_or_a_protocol_error(data):
    """
    What was taken as mailbox stands in the octets, what is left is their end.
    """
    with suppress(ProtocolError):
        mailbox, rest = parse_path(data)
        assert data.endswith(encode(mailbox) + b">" + rest)


@given(st.binary())
def test_encode_undoes_decode(data):
    """
    Octets that are not UTF-8 come back as they were.
    """
    assert data == encode(decode(data))
