"""
Tests for mailer.alias_list.
"""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.address import fold
from mailer.alias_list import (
    OWN_NEXTHOP,
    AliasList,
    parse_aliases,
    parse_json_mapping,
    parse_mapping,
    parse_transport,
)
from mailer.errors import ListError
from mailer.page_text import NotJsonError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["a@b", "info"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a@b", "info", "x"]) | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)
LIST_TEXT = st.text(st.sampled_from("aB@.,#: \t\r\n{[\u00e9\u2028"), max_size=60)


def page(**document):
    """
    Return a JSON page.
    """
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("text", "aliases"),
    [
        ("", {}),
        ("# nothing\n\n   \n  # at all\n", {}),
        ("a@x t@y\n", {"a@x": ("t@y",)}),
        ("a@x t@y", {"a@x": ("t@y",)}),
        ("a@x\tt@y\r\nb@x  u@y\r\n", {"a@x": ("t@y",), "b@x": ("u@y",)}),
        ("A@X T@Y\n", {"a@x": ("t@y",)}),
        ("a@x t@y, u@y,v@y w@y\n", {"a@x": ("t@y", "u@y", "v@y", "w@y")}),
        ("a@x t@y\n  u@y\n\tv@y\nb@x w@y\n", {"a@x": ("t@y", "u@y", "v@y"), "b@x": ("w@y",)}),
        ("a@x t@y\n# a comment\n\n  u@y\n", {"a@x": ("t@y", "u@y")}),
        ("  a@x t@y\n", {"a@x": ("t@y",)}),
        ("a@x\n", {"a@x": ("a@x",)}),
        ("a@x t@y\na@x u@y\n", {"a@x": ("t@y", "u@y")}),
        ("a@x t@y T@Y\n", {"a@x": ("t@y",)}),
        ("\ufeffa@x t@y\n", {"a@x": ("t@y",)}),
        ("\u00e9t\u00e9@x t@y\n", {"\u00e9t\u00e9@x": ("t@y",)}),
    ],
)
def test_text_pages(text, aliases):
    """
    Comments, continuation lines, commas and repeated keys are read as virtual(5) says.
    """
    assert AliasList(aliases) == parse_aliases(text.encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "octet 0 is not UTF-8 text"),
        (b"a@x \xe9", "octet 4 is not UTF-8 text"),
        (b"<html><body>Login</body></html>", "an HTML page, not a list"),
        (b"\n <!DOCTYPE html>", "an HTML page, not a list"),
        (b"a@x t@y\n\nInternal Server Error\n", "line 3: 'Internal' is not an address"),
        (b"a@x t@y\n  here\n", "line 1: 'here' is not an address"),
        (b"@x t@y\n", "line 1: '@x' is not an address"),
        (b"a@x " + b"t" * 70, "line 1: '" + "t" * 60 + "…' is not an address"),
        (b"{", "begins like JSON, but is not"),
        (b"[" * 100_000, "begins like JSON, but is not"),
        (b"[]", 'JSON of another kind: no mapping "aliases" in it'),
        (b'{"error": "denied"}', 'JSON of another kind: no mapping "aliases" in it'),
        (page(aliases=["a@x"]), 'JSON of another kind: no mapping "aliases" in it'),
        (page(aliases={"a": []}), "'a' is not an address"),
        (page(aliases={"a@x": ["t"]}), "'t' is not an address"),
        (page(aliases={"a@x": 3}), "'a@x': a list of names was expected, not a int"),
        (page(aliases={"a@x": [3]}), "'a@x': a list of names was expected, not a list"),
        (page(aliases={"a@x": {"t": 1}}), "'a@x': a list of names was expected, not a mapping"),
        (page(aliases={}, local_parts=[]), '"local_parts" is a list, a mapping was expected'),
        (page(aliases={}, local_parts=None), '"local_parts" is nothing, a mapping was expected'),
        (page(aliases={}, local_parts="a"), '"local_parts" is a text, a mapping was expected'),
        (page(aliases={}, local_parts={"a@x": []}), "'a@x' is not a local part"),
        (page(aliases={}, local_parts={"a": ["b"]}), "'b' is not an address"),
        (page(aliases={}, domains=["a b"]), "'a b' is not a domain"),
        (page(aliases={}, domains=[1]), "'domains': a list of names was expected, not a list"),
    ],
)
def test_pages_that_are_no_list(data, reason):
    """
    One wrong word refuses the whole page, and the error says where and why.
    """
    with pytest.raises(ListError) as caught:
        parse_aliases(data)
    assert reason == str(caught.value)


def test_json_page():
    """
    JSON carries local parts and domains besides the aliases; all is folded.
    """
    declared = parse_aliases(
        page(
            aliases={"Info@X.example": ["Bob@Y", "bob@y", "al@y"], "self@x": [], "one@x": "t@y"},
            local_parts={"Sales": ["sales", "t@y"], "jobs": None},
            domains=["X.Example", "y"],
            version="7",
        )
    )
    aliases = {"info@x.example": ("bob@y", "al@y"), "self@x": ("self@x",), "one@x": ("t@y",)}
    local_parts = {"sales": ("sales", "t@y"), "jobs": ("jobs",)}
    assert AliasList(aliases, local_parts, frozenset({"x.example", "y"})) == declared


def test_json_page_with_aliases_alone():
    """
    Local parts and domains may be missing.
    """
    assert AliasList({"a@x": ("t@y",)}) == parse_aliases(page(aliases={"a@x": ["t@y"]}))


def test_a_target_may_be_what_a_key_may_be():
    """
    A name whose folded form has a combining mark is good on either side.
    """
    name = "a@\u0130.example"
    aliases = {fold(name): (fold(name),), "b@x": (fold(name),)}
    assert aliases == parse_aliases(page(aliases={name: [name], "b@x": [name]})).aliases


def test_json_keys_that_differ_in_case_are_one():
    """
    As on a text page, no target is lost where a key stands twice.
    """
    declared = parse_aliases(page(aliases={"A@x": ["t@y"], "a@x": ["u@y"]}))
    assert {"a@x": ("t@y", "u@y")} == declared.aliases


@pytest.mark.parametrize(
    "document",
    [
        {"aliases": {"\ud800@x": ["t@y"]}},
        {"aliases": {"a@x": ["\ud800@y"]}},
        {"aliases": {}, "local_parts": {"\ud800": []}},
    ],
)
def test_half_a_surrogate_pair_is_no_address(document):
    """
    What cannot be sent as UTF-8 refuses the page.
    """
    with pytest.raises(ListError):
        parse_aliases(page(**document))


@given(
    st.one_of(st.binary(), LIST_TEXT.map(str.encode), JSON_VALUES.map(json.dumps).map(str.encode))
)
def test_any_page_of_aliases_is_a_list_or_a_list_error(data):
    """
    Nothing but ListError is raised; what is read is folded and has targets.
    """
    with suppress(ListError):
        for address, targets in parse_aliases(data).aliases.items():
            assert fold(address) == address
            assert targets


@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
@example({"a@b": ["\ud800@b"]}, {}, [])
def test_any_json_of_aliases_is_a_list_or_a_list_error(aliases, local_parts, domains):
    """
    Nothing but ListError is raised; what is read can be sent as UTF-8.
    """
    with suppress(ListError):
        declared = parse_aliases(page(aliases=aliases, local_parts=local_parts, domains=domains))
        for name, targets in (*declared.aliases.items(), *declared.local_parts.items()):
            assert " ".join((name, *targets)).encode()


@pytest.mark.parametrize(
    ("text", "transport"),
    [
        ("", {}),
        ("# none\n", {}),
        ("a@x\n", {"a@x": OWN_NEXTHOP}),
        ("A@X b@x, c@x\nd@x\n", dict.fromkeys(["a@x", "b@x", "c@x", "d@x"], OWN_NEXTHOP)),
        ("a@x\n  b@x\n", {"a@x": OWN_NEXTHOP, "b@x": OWN_NEXTHOP}),
        ("a@x lmtp:unix:/tmp/socket\n", {"a@x": "lmtp:unix:/tmp/socket"}),
        ("a@x b@x smtp:[h]:25 c@x\n", {"a@x": "smtp:[h]:25", "b@x": "smtp:[h]:25", "c@x": ""}),
        ("a@x smtp:h b@x lmtp:i:24\n", {"a@x": "smtp:h", "b@x": "lmtp:i:24"}),
        ("a@x error:\n", {"a@x": "error:"}),
        ("a@x\na@x smtp:h\n", {"a@x": "smtp:h"}),
    ],
)
def test_transport_pages(text, transport):
    """
    Addresses go to the next hop behind them on their line, else to the daemon's own.
    """
    assert transport == parse_transport(text.encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "octet 0 is not UTF-8 text"),
        (b"<html>", "an HTML page, not a list"),
        (b"a@x\nnobody\n", "line 2: 'nobody' is not an address"),
        (b"smtp:h\n", "line 1: 'smtp:h' is no next hop for an address"),
        (b"a@x smtp:h lmtp:i\n", "line 1: 'lmtp:i' is no next hop for an address"),
        (b"a@x :h\n", "line 1: ':h' is no next hop for an address"),
        ("a@x smtp\u00e9:h\n".encode(), "line 1: 'smtp\u00e9:h' is no next hop for an address"),
        (b"a@x b@y:c\n", "line 1: 'b@y:c' is no next hop for an address"),
        (b'{"error": "denied"}', "line 1: '{\"error\":' is no next hop for an address"),
    ],
)
def test_pages_that_are_no_transport_list(data, reason):
    """
    One wrong word refuses the whole page.
    """
    with pytest.raises(ListError) as caught:
        parse_transport(data)
    assert reason == str(caught.value)


@given(st.one_of(st.binary(), LIST_TEXT.map(str.encode)))
def test_any_page_of_transport_is_a_list_or_a_list_error(data):
    """
    Nothing but ListError is raised; a next hop is empty or names a transport.
    """
    with suppress(ListError):
        for address, nexthop in parse_transport(data).items():
            assert fold(address) == address
            assert nexthop == OWN_NEXTHOP or ":" in nexthop


def test_posted_mapping():
    """
    Accounts are the transport list; aliases without @ take the domain of their account.
    """
    declared = parse_mapping(
        {"Bob@X": ["Sales", "info@Y", "sales"], "al@x": ["info@y"], "cy@z": None, "di@z": "jobs"}
    )
    aliases = {"sales@x": ("bob@x",), "info@y": ("bob@x", "al@x"), "jobs@z": ("di@z",)}
    transport = dict.fromkeys(["bob@x", "al@x", "cy@z", "di@z"], OWN_NEXTHOP)
    assert AliasList(aliases, transport=transport) == declared


def test_posted_empty_mapping():
    """
    An empty mapping is an empty list.
    """
    assert AliasList() == parse_mapping({})


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        (None, "a mapping was expected, not nothing"),
        ([], "a mapping was expected, not a list"),
        ("a@x", "a mapping was expected, not a text"),
        (3, "a mapping was expected, not a int"),
        ({"a": []}, "'a' is not an address"),
        ({3: []}, "'3' is not an address"),
        ({"a@x": {"b": "c"}}, "'a@x': a list of names was expected, not a mapping"),
        ({"a@x": [None]}, "'a@x': a list of names was expected, not a list"),
        ({"a@x": ["b c"]}, "'b c@x' is not an address"),
        ({"a@x": ["@x"]}, "'@x' is not an address"),
        ({"a@x": [""]}, "'@x' is not an address"),
        ({"a@x": False}, "'a@x': a list of names was expected, not a bool"),
        ({"a@x": {}}, "'a@x': a list of names was expected, not a mapping"),
    ],
)
def test_posted_values_that_are_no_mapping(mapping, reason):
    """
    The error says where and why.
    """
    with pytest.raises(ListError) as caught:
        parse_mapping(mapping)
    assert reason == str(caught.value)


@given(JSON_VALUES)
def test_any_posted_value_is_a_list_or_a_list_error(value):
    """
    Nothing but ListError is raised; every target is an account.
    """
    with suppress(ListError):
        declared = parse_mapping(value)
        assert {t for ts in declared.aliases.values() for t in ts} <= declared.transport.keys()


NAMES = st.sampled_from(["a@x", "A@X", "b@x", "info", "c@y", "no name", ""])


@given(st.lists(st.tuples(NAMES, st.none() | st.lists(NAMES, max_size=2) | NAMES), max_size=4))
def test_a_posted_mapping_is_the_same_as_json(pairs):
    """
    Read piece by piece; what stands twice, which YAML refuses, is refused.
    """
    members = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs)
    text = f"{{{', '.join(members)}}}".encode()
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    try:
        declared = parse_json_mapping(pieces)
    except ListError:
        is_repeated = len(pairs) > len(dict(pairs))
        if not is_repeated:
            with pytest.raises(ListError):
                parse_mapping(dict(pairs))
    else:
        assert parse_mapping(dict(pairs)) == declared
        assert len(pairs) == len(dict(pairs))


@pytest.mark.parametrize("text", [b"a@x: [b]", b"{a@x: [b]}", b'{"a@x": ["b"]} x', b"", b"[]"])
def test_a_posted_text_that_is_no_json(text):
    """
    It may be YAML.
    """
    with pytest.raises(NotJsonError):
        parse_json_mapping(text)


class Counted(str):
    """
    A text that counts how often texts of its kind are looked up.
    """

    lookups = 0

    def __hash__(self):
        Counted.lookups += 1
        return super().__hash__()


def spelt(word, number):
    """
    Return a word with letters large and small, in as many ways as there are numbers.
    """
    return "".join(c.upper() if number >> n & 1 else c for n, c in enumerate(word))


@pytest.mark.parametrize(
    "read",
    [
        lambda names: parse_aliases(b"".join(b"all@x %b\n" % name.encode() for name in names)),
        lambda names: parse_aliases(
            page(aliases={spelt("everyone", n) + "@x": [t] for n, t in enumerate(names)})
        ),
        lambda names: parse_mapping({name: ["all@x"] for name in names}),
    ],
    ids=["text", "json", "mapping"],
)
def test_an_alias_in_many_places_costs_no_more_than_many_aliases(monkeypatch, read):
    """
    Its targets are not gone through again at each of them.
    """
    monkeypatch.setattr("mailer.alias_list.fold", lambda word: Counted(fold(word)))
    monkeypatch.setattr(Counted, "lookups", 0)
    declared = read([f"t{n}@x" for n in range(200)])
    assert 200 == sum(map(len, declared.aliases.values()))
    assert 200 <= Counted.lookups < 20 * 200  # some for each, not some for each pair


def test_names_are_counted_once():
    """
    The length is the number of different names, wherever they are declared.
    """
    declared = AliasList(
        {"a@x": ("t@x",), "t@x": ("t@x",)}, {"sales": ("sales",)}, transport={"t@x": OWN_NEXTHOP}
    )
    assert {"a@x", "t@x", "sales"} == {*declared.entries, *declared.parts}
    assert 3 == len(declared)
