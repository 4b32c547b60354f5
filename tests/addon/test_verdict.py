"""
Tests for logic.verdict.
"""

import json
from email.errors import HeaderParseError, MessageError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logic.verdict import (
    DELIVERED,
    MAX_TEXT,
    VERDICTS,
    Verdict,
    is_content_fault,
    is_no_route,
    one_line,
    storable,
    verdict_of,
)
from mailer.reply import Reply
from mailer.verdict import Answer, replies_for

# Text with much of what replies cannot carry; sometimes longer than they may be.
TEXTS = st.text() | st.text(st.sampled_from("ab \r\n\t\u00e9\u2019\u0301\ud800\x00."), max_size=500)
NUL = "A string literal cannot contain NUL (0x00) characters."


def error_of(function, *args):
    """
    Return what a function raises.
    """
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the test is of what it is
        function(*args)
    return caught.value


@pytest.mark.parametrize(
    ("outcome", "code", "status"),
    [
        ("stored", 250, "2.0.0"),
        ("duplicate", 250, "2.0.0"),
        ("processed", 250, "2.0.0"),
        ("refused", 550, "5.7.1"),
        ("unknown", 550, "5.1.1"),
        ("unparsable", 550, "5.6.0"),
        ("loop_notice", 550, "5.4.6"),
        ("loop", 451, "4.7.1"),
        ("failed", 451, "4.3.0"),
        ("busy", 451, "4.3.2"),
    ],
)
def test_each_outcome_has_its_reply(outcome, code, status):
    """
    The table of replies is this one.
    """
    verdict = verdict_of(outcome)

    assert (code, status) == (verdict.code, verdict.status)
    assert verdict.text


def test_there_are_no_other_outcomes():
    """
    The table above has every outcome.
    """
    assert 10 == len(VERDICTS)


def test_delivered_is_what_is_answered_250():
    """
    A receipt counts as delivered if, and only if, its mailer was told 250.
    """
    assert DELIVERED == {outcome for outcome, verdict in VERDICTS.items() if verdict.code == 250}


@given(st.sampled_from(sorted(VERDICTS)), TEXTS)
@example("refused", "\r\n250 2.0.0 stored")
@example("refused", "\u0301")
def test_odoo_mailer_takes_each_verdict_for_what_it_is(outcome, text):
    """
    Whatever its text, a verdict is one for odoo-mailer, with this code and status.
    """
    verdict = verdict_of(outcome, text)
    body = json.dumps({"recipients": {"Info@X": verdict.as_json()}}).encode()
    reply = replies_for(Answer(200, marked=True, body=body), ["info@x"], True)["info@x"]

    assert (VERDICTS[outcome].code, VERDICTS[outcome].status) == (reply.code, reply.status)
    assert reply == Reply(verdict.code, verdict.status, verdict.text)
    assert verdict.text


@given(TEXTS)
@example("a" * MAX_TEXT + "b")
def test_a_text_becomes_one_line_of_printable_ascii(text):
    """
    Of any text there remains what a reply can carry, and no more than that.
    """
    line = one_line(text)

    assert len(line) <= MAX_TEXT
    assert all(" " <= char <= "~" for char in line)
    assert "  " not in line


@given(TEXTS)
@example("a" * (MAX_TEXT - 1) + " b")
def test_one_line_stays_as_it_is(text):
    """
    A line has no space at either end, so that odoo-mailer sends it as it is.
    """
    line = one_line(text)

    assert line == line.strip()
    assert line == one_line(line)
    assert line == Reply(250, "2.0.0", line).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" \r\n\t", ""),
        ("as it is", "as it is"),
        ("two\r\nlines", "two lines"),
        ("  many \u00a0 spaces ", "many spaces"),
        ("d\u00e9j\u00e0 vu, \u00dcbung", "deja vu, Ubung"),
        ("don\u2019t", "don't"),
        ("\ufb01ne \u2460", "fine 1"),
        ("stra\u00dfe", "stra e"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", ""),
        ("bell\x07 and \x7f", "bell and"),
        ("\ud800", ""),
    ],
)
def test_accents_go_and_words_stay(text, expected):
    """
    Letters lose their accents; whatever else is not ASCII becomes a space.
    """
    assert expected == one_line(text)


def test_a_text_of_its_own_takes_the_place_of_the_usual_one():
    """
    A refused sender is told what the alias says.
    """
    expected = Verdict(550, "5.7.1", "Only members may write here")

    assert expected == verdict_of("refused", "Only members\nmay write here")


@pytest.mark.parametrize("text", ["", " \n", "\u043f\u0440"])
def test_without_a_text_of_its_own_there_is_the_usual_one(text):
    """
    A text of which nothing remains is none.
    """
    assert VERDICTS["refused"] == verdict_of("refused", text)


def test_an_unknown_outcome_is_a_fault():
    """
    There is no reply for a word that is no outcome.
    """
    with pytest.raises(KeyError):
        verdict_of("delivered")


def test_a_verdict_shows_as_a_reply():
    """
    As a text, a verdict is the line that Postfix gets.
    """
    assert "250 2.0.0 stored in Odoo" == str(VERDICTS["stored"])


@given(TEXTS)
def test_storable_text_can_be_stored(text):
    """
    What remains is UTF-8 without NUL, and stays as it is.
    """
    stored = storable(text)

    assert "\0" not in stored
    assert stored == stored.encode().decode()
    assert stored == storable(stored)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_what_can_be_stored_is_stored_as_it_is(text):
    """
    Only NUL and lone surrogates are taken away.
    """
    assert text == storable(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("a\0b", "ab"), ("a\ud800b", "a?b"), ("\udcff\0", "?")]
)
def test_what_cannot_be_stored_is_taken_away(text, expected):
    """
    NUL goes, and a lone surrogate becomes a question mark.
    """
    assert expected == storable(text)


@pytest.mark.parametrize("parsing", [True, False])
@pytest.mark.parametrize("error", [error_of("\ud800".encode), ValueError(NUL)])
def test_text_that_cannot_be_stored_is_the_message_s_fault(error, parsing):
    """
    Nothing but the octets of a message brings NUL or a lone surrogate.
    """
    assert is_content_fault(error, parsing)


@pytest.mark.parametrize(
    "error",
    [
        error_of(b"a".decode, "x-unknown"),
        error_of(b"\xff".decode),
        error_of(b"xn--\xff".decode, "idna"),
        MessageError("header"),
        HeaderParseError("header"),
    ],
)
def test_what_cannot_be_read_counts_while_it_is_read(error):
    """
    Unknown charsets and undecodable text lie in the message if it was just parsed.
    """
    assert (True, False) == (is_content_fault(error, True), is_content_fault(error, False))


@pytest.mark.parametrize("parsing", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        KeyError("message_id"),
        IndexError("list index out of range"),
        ValueError("invalid literal for int() with base 10: 'x'"),
        error_of("\u00e9".encode, "ascii"),
        TypeError("NUL"),
        RecursionError(),
        OSError(28, "No space left on device"),
    ],
)
def test_a_fault_of_a_program_is_not_the_message_s(error, parsing):
    """
    Whatever may be mended without another message is no content fault.
    """
    assert not is_content_fault(error, parsing)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No possible route found for incoming message from a@x to b@y (Message-Id <1>:).", True),
        ("Invalid model name 'x'", False),
        ("", False),
    ],
)
def test_no_route_is_known_by_its_text(text, expected):
    """
    Odoo raises ValueError for several things; one of them is "no such address".
    """
    assert expected == is_no_route(ValueError(text))
