"""
Fuzzing what is changed of a message, against Python's email parser, which Odoo uses.

The first octet says how long the sender is that follows it, the rest is the message. From 240
on, the message begins with a field so long that its header is cut where the octet behind says.
"""

import email
import re
from email import policy

from mailer.address import parse_path
from mailer.errors import ProtocolError
from mailer.message import MAX_HEADER, new_beginning, parse_header

MAX_LENGTH = 1500  # octets

RECIPIENTS = ["a@x", "\u00e9@y"]
OURS = ("delivered-to", "return-path", "message-id")
FILLER = b"Message-ID: <1@y>\r\nX: "


def envelope(octets):
    """
    Return sender and message that the octets stand for.
    """
    length = octets[0] if octets else 0
    if length >= 240:
        beyond = octets[1] if len(octets) > 1 else 0
        size = MAX_HEADER - len(FILLER) - beyond - 2
        return "s@y", FILLER + b"y" * size + b"\r\n" + octets[2:]
    try:
        sender, _ = parse_path(b"<" + octets[1 : 1 + length] + b">")
    except ProtocolError:
        sender = "s@y"
    return sender, octets[1 + length :]


def view(message, rules):
    """
    Return the fields that the parser sees, but for ours; those of ours; and the body.
    """
    parsed = email.message_from_bytes(message, policy=rules)
    items = [(name.lower(), raw(value)) for name, value in parsed.raw_items()]
    others = [item for item in items if item[0] not in OURS]
    own = [[value for name, value in items if name == ours] for ours in OURS]
    return others, own, body(parsed)


def body(parsed):
    """
    Return the body that the parser sees; of a message of several parts, theirs.
    """
    payload = parsed.get_payload()
    if isinstance(payload, list):
        return [([*part.raw_items()], body(part)) for part in payload]
    return payload


def raw(value):
    """
    Return the octets of a field's value, unfolded.
    """
    return b" ".join(value.encode("utf-8", "surrogateescape").split())


def check_view(old, new, is_cut):
    """
    Check what the parser sees of our fields, see ``view``.

    Args:
        is_cut: The header may go on beyond its limit, with fields that are left as they are.
    """
    _, (delivered_to, _, message_id), _ = old
    _, (delivered_now, return_now, message_id_now), _ = new
    left = delivered_now[len(RECIPIENTS) :]
    assert [name.encode() for name in RECIPIENTS] == delivered_now[: len(RECIPIENTS)]
    assert left == (delivered_to[len(delivered_to) - len(left) :] if is_cut else [])
    assert len(return_now) == 1 or is_cut
    assert re.fullmatch(rb"<.*>", return_now[0], re.DOTALL)
    assert message_id_now[0]
    assert message_id[:1] == message_id_now[:1] or not any(message_id[:1])


def check(octets):
    """
    The parser finds our fields before any other of their names, none of those that stood in the
    header, and all else as it was; of what is made of it we see the same.
    """
    sender, message = envelope(octets)
    header = parse_header(message[:MAX_HEADER])
    assert len(header.lead) + len(header.kept) <= header.length + 1
    assert header.length <= min(len(message), MAX_HEADER)
    new = new_beginning(header, sender, RECIPIENTS, "abc") + message[header.length :]
    assert {*RECIPIENTS} <= parse_header(new[:MAX_HEADER]).delivered_to
    for rules in (policy.compat32, policy.SMTP):
        seen, seen_now = view(message, rules), view(new, rules)
        check_view(seen, seen_now, len(message) >= MAX_HEADER)
        if not re.search(rb"[\r\n]From ", message):
            assert seen[0] == seen_now[0]
            assert seen[2] == seen_now[2]
