"""
A large text without some words that must not be shown.
"""

from collections.abc import Iterable, Iterator, Sequence

MASK = b"***"


class Concealed:
    """
    Pieces of a text, in which the words are masked as it is read, as often as it is read.

    Args:
        words: None of them empty; they may lie across pieces.
    """

    def __init__(self, pieces: Sequence[bytes], words: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._words = tuple(words)
        self._held = max(map(len, self._words), default=1) - 1

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces:
            masked = self._masked(rest + piece)
            # What ends here may be the beginning of a word.
            sure = max(0, len(masked) - self._held)
            rest = masked[sure:]
            yield masked[:sure]
        yield rest

    def _masked(self, text: bytes) -> bytes:
        for word in self._words:
            text = text.replace(word, MASK)
        return text
