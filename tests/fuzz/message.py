"""
Fuzzing what is changed of a message, against Python's email parser, which Odoo uses.

The first octet says how long the sender is that follows it, the rest is the message. If it is over
127, the message begins with a field so long that its header is cut where the octet behind says.
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
    if length > 127:
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


def check(octets):
    """
    The parser finds our fields before any other of their names, none of those that stood in the
    header, and all else as it was.
    """
    sender, message = envelope(octets)
    header = parse_header(message[:MAX_HEADER])
    assert len(header.lead) + len(header.kept) <= header.length + 1
    assert header.length <= min(len(message), MAX_HEADER)
    new = new_beginning(header, sender, RECIPIENTS, "abc") + message[header.length :]
    assert new == new_beginning(header, sender, RECIPIENTS, "abc") + message[header.length :]
    for rules in (policy.compat32, policy.SMTP):
        others, (delivered_to, _, message_id), text = view(message, rules)
        others_now, (delivered_now, return_now, message_id_now), text_now = view(new, rules)
        count = len(RECIPIENTS)
        assert [name.encode() for name in RECIPIENTS] == delivered_now[:count]
        left = delivered_to if header.length > MAX_HEADER - 2000 else []
        assert delivered_now[count:] == left[len(left) - len(delivered_now) + count :]
        assert len(return_now) == 1 or len(left) or header.length > MAX_HEADER - 2000
        assert return_now[0].startswith(b"<")
        assert return_now[0].endswith(b">")
        assert message_id_now
        assert b"" != message_id_now[0]
        if not re.search(rb"[\r\n]From ", message):
            assert others == others_now
            assert text == text_now
            assert [one for one in message_id if one] == message_id_now or not any(message_id)
