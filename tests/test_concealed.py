"""
Tests for mailer.concealed.
"""

from hypothesis import given
from hypothesis import strategies as st

from mailer.concealed import MASK, Concealed

WORD = b"secret-token"


@given(st.lists(st.sampled_from([b"", b"x", WORD, WORD[:5], WORD[5:], WORD[:-1]]), max_size=12))
def test_a_word_is_masked_wherever_it_is_cut(pieces):
    """
    The text is the same as if it had been in one piece, each time it is read.
    """
    concealed = Concealed(pieces, [WORD])
    expected = b"".join(pieces).replace(WORD, MASK)
    assert [expected, expected] == [b"".join(concealed), b"".join(concealed)]


@given(st.lists(st.binary(max_size=3)))
def test_without_words_nothing_changes(pieces):
    """
    Where there is nothing to be masked, the text comes as it is.
    """
    assert b"".join(pieces) == b"".join(Concealed(pieces, []))
