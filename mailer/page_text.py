"""
The text of a page, read a little at a time.

A page of a million addresses is some 60 MB; whoever decodes, splits or parses
that in one step of C lets nobody else do anything for seconds.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from mailer.errors import ListError

STEP = 65_536  # octets or characters

_NOT_JSON = "begins like JSON, but is not"
_SPACE = " \t\n\r"
_MARK = "\N{BYTE ORDER MARK}"
_decoder = json.JSONDecoder()


class NotJsonError(ListError):
    """
    A text is not JSON.
    """


def texts(page: bytes | Iterable[bytes]) -> Iterator[str]:
    """
    Yield the text of a page, given whole or in pieces, in pieces.

    Raises:
        ListError: It is not UTF-8, or an HTML page.
    """
    # Not utf-8-sig, whose decoder takes half a byte order mark for an empty text.
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_begun, begin, mark = False, 0, _MARK
    for octets in _ended(_pieces(page) if isinstance(page, bytes) else page):
        try:
            text = decoder.decode(octets, final=not octets)
        except UnicodeDecodeError as error:
            waiting = len(error.object) - len(octets)
            raise ListError(f"octet {begin - waiting + error.start} is not UTF-8 text") from None
        begin += len(octets)
        if text:
            text, mark = text.removeprefix(mark), ""
        if not is_begun and text.lstrip():
            is_begun = True
            if text.lstrip().startswith("<"):
                raise ListError("an HTML page, not a list")
        if text:
            yield text


def lines(texts: Iterable[str]) -> Iterator[str]:
    """
    Yield the lines of a text that comes in pieces, without their ends.
    """
    last = ""
    for text in texts:
        first, *more = text.split("\n")
        last += first
        if more:
            yield last
            *whole, last = more
            yield from whole
    yield last


class JsonText:
    """
    A JSON text that comes in pieces.

    Every method takes what it says from the text.

    Raises:
        NotJsonError: From each method.
    """

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self._text = ""
        self._at = 0
        self._tried = 0  # up to here members were already tried to be read together

    def members(self) -> Iterator[str]:
        """
        Yield the names of an object's members; the value of each is to be taken meanwhile.
        """
        self._take("{")
        if self._next() != "}":
            yield self._name()
            while self._next() == ",":
                self._at += 1
                yield self._name()
        self._take("}")

    def items(self) -> Iterator[tuple[str, Any]]:
        """
        Yield the members of an object.
        """
        self._take("{")
        if self._next() != "}":
            yield from self._some_items()
            while self._next() == ",":
                self._at += 1
                yield from self._some_items()
        self._take("}")

    def value(self) -> Any:
        """
        Return a value.
        """
        self._next()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise NotJsonError(_NOT_JSON) from None
            except ValueError:
                end = len(self._text)
            if end < len(self._text):
                self._at = end
                return value
            # It may go on, even a number. As much again is read: not one piece for each try.
            if not self._read(len(self._text) - self._at):
                return self._last_value()

    def begins_with(self, characters: str) -> bool:
        """
        Say whether one of these characters comes next; takes nothing.
        """
        if not self._next():
            raise NotJsonError(_NOT_JSON)
        return self._next() in characters

    def end(self) -> None:
        """
        Make sure that nothing follows.
        """
        if self._next():
            raise NotJsonError(_NOT_JSON)

    def _last_value(self) -> Any:
        try:
            value, self._at = _decoder.raw_decode(self._text, self._at)
        except (ValueError, RecursionError):
            raise NotJsonError(_NOT_JSON) from None
        return value

    def _some_items(self) -> Iterator[tuple[str, Any]]:
        """
        Take as many members as are worth it, at least one.

        Where a list ends and a comma follows, a member probably ends. If everything up to there
        is an object when a brace is put behind it, one does: JSON is read from left to right.
        """
        if len(self._text) - self._at < STEP:
            self._read(STEP)
        end = self._text.rfind("],", self._at, self._at + STEP) + 1
        if end > self._tried:
            self._tried = end
            members = _Members()
            with suppress(ValueError, RecursionError):
                text = self._text[self._at : end]
                json.loads(f"{{{text}}}", object_pairs_hook=members.note)
                self._at = end
                return iter(members.last)
        return iter([(self._name(), self.value())])

    def _name(self) -> str:
        if self._next() != '"':
            raise NotJsonError(_NOT_JSON)
        name = self.value()
        self._take(":")
        return str(name)

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise NotJsonError(_NOT_JSON)
        self._at += 1

    def _next(self) -> str:
        """
        Return the next character that is no white space, without taking it; empty at the end.
        """
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._read(1):
                return ""

    def _read(self, characters: int) -> bool:
        """
        Have more of the text at hand, as many characters at least; False if there is no more.
        """
        more: list[str] = []
        while characters > 0 and (text := next(self._texts, "")):
            more.append(text)
            characters -= len(text)
        if more:
            self._tried = max(0, self._tried - self._at)
            self._text = "".join((self._text[self._at :], *more))
            self._at = 0
        return bool(more)


class _Members:
    """
    The members of the object that ended last, with what stands twice in it.
    """

    def __init__(self) -> None:
        self.last: list[tuple[str, Any]] = []

    def note(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """
        Make an object of its members, as json would.
        """
        self.last = pairs
        return dict(pairs)


def _pieces(page: bytes) -> Iterator[bytes]:
    return (page[at : at + STEP] for at in range(0, len(page), STEP))


def _ended(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    Yield the pieces that are not empty, and an empty one at the end.
    """
    yield from filter(None, pieces)
    yield b""
