"""
What is changed of a message before Odoo sees it, and how it is told from others.

Odoo routes on the header, never on the envelope: ``Delivered-To`` must name
the recipients of this transaction and no others, ``Return-Path`` its sender.

Source: RFC 5322 2.2 and 3.6.4, RFC 5321 4.4; a line ends and a header ends
here where Python's email parser, which Odoo uses, sees it end.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mailer.address import decode, encode, fold
from mailer.visible import one_line

MAX_HEADER = 262_144  # octets; fields beyond are left as they are
MAX_RECEIVED = 4096  # octets of a field Received that are searched; Postfix's own has fewer

# A "From " line goes with what stands before it: Python's parser skips it, with the
# continuation lines behind it.
_NAME = rb"[\x21-\x39\x3b-\x7e]*+:"
_MORE = rb"[\t ]|From "
_REST_OF_LINE = rb"[^\r\n]*+(?:\r\n|\n|\r)?"
_HEADER = re.compile(rb"(?:(?:%b|%b)%b)*+" % (_NAME, _MORE, _REST_OF_LINE))
_LEAD = re.compile(rb"(?:(?:%b)%b)*+" % (_MORE, _REST_OF_LINE))
_REST_OF_FIELD = re.compile(rb"%b(?:(?:%b)%b)*+" % (_REST_OF_LINE, _MORE, _REST_OF_LINE))
_TO_LAST_FIELD = re.compile(rb"(?s:.*[\r\n])?(?=%b)" % _NAME)
_FROM_LINE = re.compile(rb"[\r\n]From ")
_QUEUE_ID = re.compile(rb"\(Postfix[^)]*\)(?:\s+with\s+\S+)?\s+id\s+([0-9A-Za-z]{5,40})\b")


@dataclass(frozen=True, slots=True)
class Header:
    """
    The header of a message as it was received.

    Args:
        lead: Lines before the first field, which belong to none of them.
        kept: Its fields in order, line ends included, without ``Delivered-To``
            and ``Return-Path``.
        length: Octets from the beginning of the message that both stand for.
        delivered_to: The values of the removed ``Delivered-To`` fields, folded.
        message_id: Value of the first ``Message-ID``, empty where there is none.
        queue_id: Postfix's, from the top ``Received`` field; empty where unknown.
        newline: The line end that the message uses.
    """

    lead: bytes
    kept: bytes
    length: int
    delivered_to: frozenset[str]
    message_id: bytes
    queue_id: str
    newline: bytes


def parse_header(beginning: bytes) -> Header:
    """
    Read the header; what it costs depends on the fields that matter, not on how many there are.

    Args:
        beginning: The first ``MAX_HEADER`` octets of the message, or all of it.
    """
    header = beginning[: _HEADER.match(beginning).end()]  # type: ignore[union-attr]
    tail = _last_line_of_body(header)
    lead = header[: min(tail, _LEAD.match(header).end())]  # type: ignore[union-attr]
    start, end = len(lead), len(header)
    if start < end == MAX_HEADER:  # the last field is perhaps only the beginning of one
        end = tail if tail < end else _TO_LAST_FIELD.match(header).end()  # type: ignore[union-attr]
    fields = _Fields(header, start, tail if start < tail < end else end)
    delivered = list(fields.places(b"delivered-to"))
    removed = sorted([*delivered, *fields.places(b"return-path")])
    edges = [start, *(edge for place in removed for edge in place), end]
    kept = b"".join(header[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
    # A bare CR before the LF of an empty line would make one line end of both.
    joint = b"\n" if kept[-1:] == b"\r" and beginning[end : end + 1] == b"\n" else b""
    return Header(
        lead=lead if not lead or lead.endswith((b"\r", b"\n")) else lead + b"\n",
        kept=kept + joint,
        length=end,
        delivered_to=frozenset(fold(decode(_value(header[a:b]))).strip("<>") for a, b in delivered),
        message_id=fields.first(b"message-id"),
        queue_id=_queue_id(fields.first(b"received")),
        newline=fields.newline,
    )


def new_beginning(
    header: Header, sender: str | None, recipients: Iterable[str], digest: str
) -> bytes:
    """
    Return what takes the place of the first ``header.length`` octets of the message.

    Args:
        sender: Reverse path, empty for the null one; None adds no ``Return-Path``.
        recipients: Those of this transaction, one ``Delivered-To`` each.
        digest: Of the message as received; a message without Message-ID gets
            one of it, the same on every try.
    """
    lines = [] if sender is None else [b"Return-Path: <%b>" % encode(one_line(sender))]
    lines += [b"Delivered-To: %b" % encode(one_line(recipient)) for recipient in recipients]
    if not header.message_id:
        lines.append(b"Message-ID: <%b@odoo-mailer.invalid>" % digest.encode("ascii"))
    return header.lead + b"".join(line + header.newline for line in lines) + header.kept


class _Fields:
    """
    The fields of a header, found by their names.
    """

    def __init__(self, header: bytes, start: int, end: int) -> None:
        self._header = header
        self._start = start
        self._end = end
        # Every line end is one LF here, octets stay where they are; the first line has one, too.
        self._lines = b"\n" + header[start:end].lower().replace(b"\r", b"\n")

    @property
    def newline(self) -> bytes:
        """The line end of the first field, CRLF where there is none."""
        first = self._header[self._start : self._end_of(self._start)]
        return b"\n" if first and not first.endswith(b"\r\n") else b"\r\n"

    def places(self, name: bytes) -> Iterator[tuple[int, int]]:
        """
        Yield where the fields of a name begin and end.
        """
        needle = b"\n%b:" % name
        at = self._lines.find(needle)
        while at >= 0:
            end = self._end_of(self._start + at)
            yield self._start + at, end
            at = self._lines.find(needle, end - self._start)

    def first(self, name: bytes) -> bytes:
        """
        Return the value of the first field of a name, empty where there is none.
        """
        for start, end in self.places(name):
            return _value(self._header[start:end])
        return b""

    def _end_of(self, start: int) -> int:
        return _REST_OF_FIELD.match(self._header, start, self._end).end()  # type: ignore[union-attr]


def _last_line_of_body(header: bytes) -> int:
    """
    Return where a "From " line begins that is the last but not the only one, else the end.

    Python's parser takes it for a part of the body.
    """
    end = len(header)
    stop = end - 2 if header.endswith(b"\r\n") else end - header.endswith((b"\r", b"\n"))
    last = max(header.rfind(b"\r", 0, stop), header.rfind(b"\n", 0, stop)) + 1
    return last if last and header.startswith(b"From ", last) else end


def _value(field: bytes) -> bytes:
    return b" ".join(_FROM_LINE.split(field.partition(b":")[2], 1)[0].split())


def _queue_id(received: bytes) -> str:
    match = _QUEUE_ID.search(received, 0, MAX_RECEIVED)
    return match[1].decode("ascii") if match else ""
