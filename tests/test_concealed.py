"""
Tests for mailer.concealed.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.concealed import MASK, Concealed

WORD = b"secret-token"


@given(st.lists(st.sampled_from([b"", b"x", WORD, WORD[:5], WORD[5:], WORD[:-1]]), max_size=12))
def test_a_word_is_masked_wherever_it_is_cut(pieces):
    """
    The text is the same as if it had been in one piece.
    """
    expected = b"".join(pieces).replace(WORD, MASK)
    assert expected == b"".join(Concealed(pieces, [WORD]))


@given(st.lists(st.binary(max_size=3)))
def test_without_words_nothing_changes(pieces):
    """
    Where there is nothing to be masked, the text comes as it is.
    """
    assert b"".join(pieces) == b"".join(Concealed(pieces.copy(), []))


def test_what_has_been_read_is_let_go_of():
    """
    Piece by piece; a second reader is told, instead of taking nothing for the text.
    """
    pieces = [b"a", b"b", b"c"]
    concealed = Concealed(pieces, [])
    reading = iter(concealed)
    assert (b"a", 2) == (next(reading), len(pieces))
    assert b"bc" == b"".join(reading)
    assert [] == pieces
    with pytest.raises(ValueError, match="has been read"):
        next(iter(concealed))
