"""
Tests for mailer.visible.
"""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.visible import one_line, visible, visible_lines

NASTY = st.text(st.characters() | st.sampled_from("\r\n\t\x00\x1b\x7f\x85\x9b\u2028\u202e\udc80"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[2J\x9b2J\x07", "\\x1b[2J\\x9b2J\\x07"),
        ("a\u2028b\x85c\u2029", "a\\u2028b\\x85c\\u2029"),
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("\udc80", "\\udc80"),
        (
            "J\u00f6rg \u65e5\u672c \U0001f600 \u05d0 \u200d",
            "J\u00f6rg \u65e5\u672c \U0001f600 \u05d0 \u200d",
        ),
        ("back\\slash", "back\\slash"),
    ],
)
def test_shown(text, shown):
    """
    What does not show itself is written out, letters of every language stay.
    """
    assert shown == visible(text)


@given(NASTY)
def test_nothing_moves_the_cursor_or_ends_the_line(text):
    """
    Whatever the text, it is one line of characters that can be written.
    """
    found = visible(text)
    assert not {c for c in found if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")}
    assert len(found.splitlines()) <= 1
    assert not {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2069"} & set(found)
    found.encode("utf-8")


@given(st.lists(NASTY))
def test_lines_stay_lines(texts):
    """
    There are as many as before, each of them visible.
    """
    text = "\n".join(texts)
    assert [visible(line) for line in text.split("\n")] == visible_lines(text).split("\n")


@given(NASTY)
def test_an_address_stays_on_its_line(text):
    """
    Of the same length, for every reader that knows some end of a line.
    """
    found = one_line(text)
    assert len(text) == len(found)
    assert len(found.splitlines()) <= 1
    assert "\x00" not in found


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_an_ordinary_address_is_left_as_it_is(text):
    """
    Blanks and quotes, too.
    """
    assert text == one_line(text) == visible(text)
