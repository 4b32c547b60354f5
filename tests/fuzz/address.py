"""
Fuzzing the paths of MAIL and RCPT against a reader that goes from octet to octet.

Source: RFC 5321 4.1.2 (Path, Quoted-string), and 4.1.1.3 for the source route.
"""

from mailer.address import decode, encode, fold, parse_path, without_extension
from mailer.errors import ProtocolError

MAX_LENGTH = 2048  # octets: the longest line

SPACE = frozenset(b" \t\n\r\x0b\x0c")
NEVER = frozenset(b"@<>") | SPACE | frozenset(range(0x20)) | {0x7F}
PRINTABLE = frozenset(range(0x20, 0x7F))


def end_of_quoted(data, place):
    """
    Return where a quoted string ends that begins at the place; None if it does not.
    """
    place += 1
    while place < len(data):
        if data[place] == ord('"'):
            return place + 1
        if data[place] in b"\r\n":
            return None
        if data[place] == ord("\\"):
            place += 1
            if place == len(data) or data[place] not in PRINTABLE:
                return None
        place += 1
    return None


def begin_of_mailbox(data):
    """
    Return where the mailbox begins: behind a source route, if there is one.
    """
    place = 2
    while data[1:2] == b"@" and place < len(data) and data[place] not in SPACE | set(b'<>":'):
        place += 1
    return place + 1 if place > 2 and data[place : place + 1] == b":" else 1


def end_of_mailbox(data, place):
    """
    Return where the mailbox ends that begins at the place; None if it does not.
    """
    while place < len(data) and (data[place] == ord('"') or data[place] not in NEVER):
        place = end_of_quoted(data, place) if data[place] == ord('"') else place + 1
        if place is None:
            return None
    if data[place : place + 1] == b"@":
        place += 1
        domain = place
        while place < len(data) and data[place] not in NEVER:
            place += 1
        if place == domain:
            return None
    return place if data[place : place + 1] == b">" else None


def read(data):
    """
    Return the octets of the mailbox and what follows the path; None if it is no path.
    """
    if data[:1] != b"<":
        return None
    # What looks like a source route may be a mailbox without local part, which is taken, too.
    for begin in (begin_of_mailbox(data), 1):
        end = end_of_mailbox(data, begin)
        if end is not None:
            return data[begin:end], data[end + 1 :]
    return None


def check(octets):
    """
    A path is what it is to the reader; its octets survive, and its extension is cut off cleanly.
    """
    try:
        mailbox, rest = parse_path(octets)
    except ProtocolError:
        assert read(octets) is None
        return
    assert read(octets) == (encode(mailbox), rest)
    assert decode(encode(mailbox)) == mailbox
    assert b"\r" not in encode(mailbox)
    assert b"\n" not in encode(mailbox)
    folded = fold(mailbox)
    assert folded == fold(folded)
    bare = without_extension(folded, "+-")
    if bare is not None:
        local, _, domain = bare.rpartition("@")
        assert local
        assert not {*"+-"} & {*local}
        assert domain == folded.rpartition("@")[2]
        if not folded.startswith('"'):
            assert folded[: len(local)] == local
            assert folded[len(local)] in "+-"
