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

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)?")
_FIELD = re.compile(rb"From |[\x21-\x39\x3b-\x7e]*:|[\t ]")
_REMOVED = (b"delivered-to", b"return-path")
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
    Read the header.

    Args:
        beginning: The first ``MAX_HEADER`` octets of the message, or all of it.
    """
    lead, fields = _fields(beginning)
    length = min(len(lead) + sum(map(len, fields)), len(beginning))
    if fields and length == MAX_HEADER:
        length -= len(fields.pop())  # perhaps only the beginning of a field
    named = [(field.partition(b":")[0].lower(), field) for field in fields]
    kept = [(name, field) for name, field in named if name not in _REMOVED]
    # A bare CR before the LF of an empty line would make one line end of both.
    joint = b"\n" if kept and kept[-1][1][-1:] == b"\r" and beginning[length:][:1] == b"\n" else b""
    return Header(
        lead=lead,
        kept=b"".join(field for _, field in kept) + joint,
        length=length,
        delivered_to=frozenset(
            fold(decode(_value(field))).strip("<>")
            for name, field in named
            if name == b"delivered-to"
        ),
        message_id=_first(kept, b"message-id"),
        queue_id=_queue_id(_first(kept, b"received")),
        newline=b"\n" if fields and not fields[0].endswith(b"\r\n") else b"\r\n",
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


def _fields(beginning: bytes) -> tuple[bytes, list[bytes]]:
    """
    Return the lines before the first field, and the fields with their continuation lines.
    """
    groups: list[list[bytes]] = [[]]  # the first is what stands before the first field
    for line in _lines(beginning):
        if not _FIELD.match(line):
            break
        # A "From " line goes with what stands before it: Python's parser skips
        # it, and adds a continuation line behind it to the field before it.
        if line.startswith((b" ", b"\t", b"From ")):
            groups[-1].append(line)
        else:
            groups.append([line])
    if len(groups[-1]) > 1 and groups[-1][-1].startswith(b"From "):
        groups.append([groups[-1].pop()])  # as the last line it belongs to the body
    lead, *fields = (b"".join(lines) for lines in groups)
    if lead and not lead.endswith((b"\r", b"\n")):
        lead += b"\n"
    return lead, fields


def _lines(data: bytes) -> Iterator[bytes]:
    return (match[0] for match in _LINE.finditer(data))


def _value(field: bytes) -> bytes:
    return b" ".join(field.partition(b":")[2].split())


def _first(fields: list[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    return next((_value(field) for name, field in fields if name == wanted), b"")


def _queue_id(received: bytes) -> str:
    match = _QUEUE_ID.search(received)
    return match[1].decode("ascii") if match else ""
