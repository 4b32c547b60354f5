"""
Tests for mailer.page_text.
"""

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.errors import ListError
from mailer.page_text import STEP, JsonText, lines, texts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=6)
CUTS = st.lists(st.integers(0, 200), max_size=4)
BROKEN = [
    "", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{"a" 1}', "{a:1}", '{"a":1} x',
    '{"a":["x"],}', '{"a":["x"],"b"}', '{"a":["x"]', '{"a":["x"],1:2}', '{"a":tru}', '{"a":"x}',
    '{,"a":1}', '{"a":["x"]]}', '{"a":["x"],"b":["y"}',
]  # fmt: skip


def cut(data, places):
    """
    Return the pieces of something that is cut at these places.
    """
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


def read_items(text):
    """
    Return the members of an object, all at once.
    """
    items = list(text.items())
    text.end()
    return items


def read_members(text):
    """
    Return the members of an object, one after the other.
    """
    members = [(name, text.value()) for name in text.members()]
    text.end()
    return members


@given(st.text(), CUTS)
@example("\ufeffa", [1])
def test_text_comes_as_it_is(text, places):
    """
    Wherever the octets are cut, the text is the same; the mark of its coding is none of it.
    """
    data = text.encode("utf-8", "replace")
    expected = data.decode("utf-8-sig")
    if expected.lstrip().startswith("<"):
        return
    assert expected == "".join(texts(cut(data, places)))
    assert expected == "".join(texts(data))


@given(st.binary(max_size=12), CUTS)
@example(b"\xef\xbb", [])
@example(b"\xef\xbb\xbf\xff", [2])
def test_octets_that_are_no_text(data, places):
    """
    The error names the same octet, wherever they are cut; half a byte order mark is one, too.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        # Where several are wrong together, their first.
        pattern = f"octet {error.start}( |$)"
        with pytest.raises(ListError, match=pattern):
            list(texts(cut(data, places)))


@pytest.mark.parametrize("page", [b"<html>", b"\n \xef\xbb\xbf <", b"  <!DOCTYPE"])
def test_html_is_no_list(page):
    """
    A page of HTML is told as such, also where it comes octet by octet.
    """
    if page.startswith(b"\n"):
        page = page.replace(b"\xef\xbb\xbf", b"")
    for pieces in (page, cut(page, range(20))):
        with pytest.raises(ListError, match="HTML"):
            list(texts(pieces))


@given(st.text("a\n ", max_size=30), CUTS)
def test_lines(text, places):
    """
    Lines are those of the whole text.
    """
    assert text.split("\n") == list(lines(cut(text, places)))


@pytest.mark.parametrize("read", [read_items, read_members])
@given(OBJECTS, CUTS, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" , ", " : ")]))
def test_an_object_is_read_as_json_reads_it(read, document, places, indent, separators):
    """
    Wherever the text is cut, the members are those that json finds.
    """
    text = json.dumps(document, indent=indent, separators=separators, ensure_ascii=False)
    assert list(document.items()) == read(JsonText(iter(cut(text, places))))


@pytest.mark.parametrize("read", [read_items, read_members])
@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_object(read, text):
    """
    Whatever json refuses is refused.
    """
    with pytest.raises(ListError, match="is not"):
        read(JsonText(iter(cut(text, range(40)))))


@pytest.mark.parametrize("read", [read_items, read_members])
@given(st.text('{}[]",:\\a1 ', max_size=20), CUTS)
@example('{"],":["a"],"b\\"],":["c"]}', [])
def test_it_takes_what_json_takes(read, text, places):
    """
    What is an object to json is one here, with the same members, and nothing else is.
    """
    pairs = []
    try:
        document = json.loads(text, object_pairs_hook=lambda found: pairs.append(found) or {})
    except ValueError:
        document = None
    if document != {}:
        with pytest.raises(ListError):
            read(JsonText(iter(cut(text, places))))
    else:
        names = [name for name, _ in pairs[-1]]
        assert names == [name for name, _ in read(JsonText(iter(cut(text, places))))]


@pytest.mark.parametrize("read", [read_items, read_members])
def test_a_long_object(read):
    """
    An object of many steps, one long value among them, is read whole and in order.
    """
    document = {f"{number}],": [f'"{number}"'] for number in range(5000)}
    document["long"] = "x" * (3 * STEP)
    document.update((f"{number} more", [number]) for number in range(5000))
    text = json.dumps(document)
    assert list(document.items()) == read(JsonText(iter(cut(text, range(0, len(text), STEP)))))


def test_too_deep():
    """
    Brackets without end are no list, and no reason to fall over.
    """
    with pytest.raises(ListError, match="is not"):
        read_members(JsonText(iter(['{"a":' + "[" * 200_000])))


def test_what_begins():
    """
    The next character is told and stays.
    """
    text = JsonText(iter([" ", "{}"]))
    assert text.begins_with("{[")
    assert not text.begins_with("[")
    assert [] == read_items(text)
    with pytest.raises(ListError):
        text.begins_with("{")
