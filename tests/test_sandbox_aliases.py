"""
The alias file of the sandbox and its pages.
"""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.alias_list import parse_aliases, parse_transport
from mailer.errors import ListError
from mailer.reply import Reply
from mailer.sandbox_aliases import EXAMPLE, parse_file

FULL = """
aliases:
  Info@Example.com:
  team@example.com: [info@example.com, other@example.net]
local_parts:
  jobs: []
  help: [desk@example.net]
domains: [example.com, Two.example.org]
verdicts:
  Refused@example.com: {code: 550, status: 5.7.1, text: No}
"""


def test_address_without_targets_is_its_own():
    """
    An address with nothing behind it is folded and targets itself.
    """
    assert parse_file(FULL).declared.aliases["info@example.com"] == ("info@example.com",)


def test_text_page_expands_local_parts():
    """
    The text page has full addresses only, each local part once a domain.
    """
    aliases = parse_aliases(parse_file(FULL).text.body)

    assert aliases.aliases == {
        "info@example.com": ("info@example.com",),
        "team@example.com": ("info@example.com", "other@example.net"),
        "jobs@example.com": ("jobs@example.com",),
        "jobs@two.example.org": ("jobs@two.example.org",),
        "help@example.com": ("desk@example.net",),
        "help@two.example.org": ("desk@example.net",),
    }
    assert aliases.local_parts == {}


def test_json_page_keeps_local_parts_apart():
    """
    The JSON page is read back as what was declared.
    """
    page = parse_file(FULL)
    aliases = parse_aliases(page.json.body)

    assert page.declared.aliases == aliases.aliases
    assert aliases.local_parts == {"jobs": ("jobs",), "help": ("desk@example.net",)}
    assert {"example.com", "two.example.org"} == aliases.domains
    assert json.loads(page.json.body)["version"]


def test_alias_takes_precedence_over_local_part():
    """
    An address that is declared in full is not expanded a second time.
    """
    text = "{aliases: {a@b.c: x@y.z}, local_parts: {a: []}, domains: [b.c]}"

    assert parse_aliases(parse_file(text).text.body).aliases == {"a@b.c": ("x@y.z",)}


def test_transport_page_has_every_target():
    """
    Every target of an alias or local part is listed, and nothing twice.
    """
    page = parse_file(FULL).transport.body

    assert {
        "info@example.com",
        "other@example.net",
        "desk@example.net",
        "jobs@example.com",
        "jobs@two.example.org",
    } == set(parse_transport(page))
    assert len(page.split()) == len(set(page.split()))


def test_local_part_target_without_domains():
    """
    The target of a local part is on the transport page even if no domain is declared.
    """
    page = parse_file("local_parts: {help: desk@example.net}").transport.body

    assert page == b"desk@example.net\n"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("info@example.com", True),
        ("other@example.net", True),
        ("jobs@two.example.org", True),
        ("jobs@example.net", False),
        ("refused@example.com", False),
        ("jobs", False),
        ("", False),
        ("@", False),
    ],
)
def test_knows(address, expected):
    """
    Aliases, targets and local parts in their domains are known.
    """
    assert expected == parse_file(FULL).knows(address)


def test_local_part_holds_in_daemons_domains():
    """
    A domain of the daemon counts as one of the file.
    """
    assert parse_file(FULL).knows("jobs@example.net", {"example.net"})


def test_verdicts_are_folded_replies():
    """
    A verdict is found under the folded address.
    """
    assert {"refused@example.com": Reply(550, "5.7.1", "No")} == parse_file(FULL).verdicts


def test_etag_follows_content():
    """
    The same content has the same ETag; another content, another ETag and version.
    """
    first, again = parse_file(FULL), parse_file(FULL + "\n# a comment\n")
    other = parse_file(FULL.replace("other@", "new@"))

    assert first.text.etag == again.text.etag
    assert first.json.etag == again.json.etag
    assert first.text.etag != other.text.etag
    assert first.json.etag != other.json.etag
    assert first.transport.etag != other.transport.etag
    assert json.loads(first.json.body)["version"] != json.loads(other.json.body)["version"]


def test_forms_have_etags_of_their_own():
    """
    Text and JSON differ, so their ETags do.
    """
    aliases = parse_file(FULL)

    assert aliases.text.etag != aliases.json.etag


def test_example_is_good():
    """
    The example has the addresses that everyone tries first, and one refusal.
    """
    example = parse_file(EXAMPLE)

    for local in ("info", "sales", "catchall", "bounce", "jobs"):
        assert example.knows(f"{local}@example.com")
    assert example.verdicts["refused@example.com"].code == 550


def test_empty_mapping_is_an_empty_list():
    """
    A file without any address is a list without any.
    """
    aliases = parse_file("aliases:\n")

    assert len(parse_aliases(aliases.text.body)) == 0
    assert len(parse_aliases(aliases.json.body)) == 0
    assert aliases.transport.body == b""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a mapping with the keys aliases"),
        ("[a]", "expected a mapping with the keys aliases"),
        ("a: [", "line 1"),
        ("alias: {}", "unknown key 'alias'"),
        ("aliases: {nobody: []}", "'nobody' is not an address"),
        ("aliases: {a@b.c: nobody}", "'nobody' is not an address"),
        ("aliases: [a@b.c]", "mapping"),
        ("aliases: {a@b.c: 2020-01-01}", "names"),
        ("aliases: {[a]: []}", "a key that is a list"),
        ("&a aliases: &b {a@b.c: [*b]}", "something that it is a part of"),
        ("local_parts: {a@b.c: []}", "'a@b.c' is not a local part"),
        ("domains: [a b]", "'a b' is not a domain"),
        ("verdicts: [a@b.c]", "verdicts: expected a mapping"),
        ("verdicts: {nobody: {}}", "'nobody' is not an address"),
        ("verdicts: {a@b.c: 550}", "expected code, status and text"),
        ("verdicts: {a@b.c: {code: 550, status: 5.1.1}}", "expected code, status and text"),
        ("verdicts: {a@b.c: {code: yes, status: 5.1.1, text: a}}", "expected a code"),
        ("verdicts: {a@b.c: {code: 354, status: 3.1.1, text: a}}", "expected a code"),
        ("verdicts: {a@b.c: {code: 550, status: 5.1.1, text: [a]}}", "and a text"),
        ("verdicts: {a@b.c: {code: 550, status: '', text: a}}", "expected a status"),
        ("verdicts: {a@b.c: {code: 550, status: 4.1.1, text: a}}", "does not go with code 550"),
        ("verdicts: {a@b.c: {code: 99, status: 5.1.1, text: a}}", "99"),
    ],
)
def test_fault_is_named(text, reason):
    """
    A faulty file is refused with the reason.
    """
    with pytest.raises(ListError) as caught:
        parse_file(text)

    assert reason in str(caught.value)


@given(st.text())
def test_no_other_error(text):
    """
    Garbage raises ListError or nothing.
    """
    with suppress(ListError):
        parse_file(text)


WORDS = st.sampled_from(["a@b.c", "A@b.c", "x", "b.c", "550", "5.1.1", 550, None, True, 1.5])
VALUES = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from(["aliases", "local_parts", "domains", "verdicts"]), VALUES))
def test_no_other_error_of_wrong_values(document):
    """
    Values of the wrong kind anywhere raise ListError or nothing.
    """
    with suppress(ListError):
        parse_file(json.dumps(document))
