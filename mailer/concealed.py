"""
A large text without some words that must not be shown.
"""

from collections.abc import Iterable, Iterator

MASK = b"***"


class Concealed:
    """
    Pieces of a text, in which the words are masked as it is read.

    Args:
        pieces: Taken out as they are read, so that a page of 60 MB is given back little by
            little while its list is made. So it is read once.
        words: None of them empty; they may lie across pieces.

    Raises:
        ValueError: From ``iter``: it has been read before.
    """

    def __init__(self, pieces: list[bytes], words: Iterable[bytes]) -> None:
        self._pieces: list[bytes] | None = pieces
        self._words = tuple(words)
        self._held = max(map(len, self._words), default=1) - 1

    def __iter__(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            raise ValueError("a text that has been read")
        return self._read(pieces)

    def _read(self, pieces: list[bytes]) -> Iterator[bytes]:
        pieces.reverse()
        rest = b""
        while pieces:
            masked = self._masked(rest + pieces.pop())
            # What ends here may be the beginning of a word.
            sure = max(0, len(masked) - self._held)
            rest = masked[sure:]
            yield masked[:sure]
        yield rest

    def _masked(self, text: bytes) -> bytes:
        for word in self._words:
            text = text.replace(word, MASK)
        return text
