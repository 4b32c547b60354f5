"""
Postfix's socketmap protocol: framing, requests and answers.

Source: socketmap_table(5), PROTOCOL and REPLY FORMAT; cr.yp.to/proto/netstrings.txt.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mailer.alias_table import AliasTable
from mailer.errors import ProtocolError

MAX_KEY = 10_000  # octets; the map name and a space come on top
MAP_NAMES = (b"aliases", b"transport")
MAX_REQUEST = MAX_KEY + 1 + max(len(name) for name in MAP_NAMES)
_MAX_DIGITS = len(str(MAX_REQUEST))
_COMMA = 0x2C

NOTFOUND = b"NOTFOUND "
TEMP_NO_LIST = b"TEMP the alias list is not loaded yet"
TEMP_TOO_MANY = b"TEMP too many connections"
PERM_NO_MAP = b"PERM no such map, there are: aliases, transport"


class Request(NamedTuple):
    """
    One lookup, as it came.
    """

    map_name: bytes
    key: bytes


class RequestReader:
    """
    Takes the octets of one connection, gives the requests in them.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def receive_data(self, data: bytes) -> Iterator[Request]:
        """
        Yield the requests that are now complete, in order.

        Raises:
            ProtocolError: After the last good request: what follows is not a
                netstring, or too long. The connection is of no more use.
        """
        buffer = self._buffer + data if self._buffer else data
        start = 0
        while start < len(buffer):
            colon = buffer.find(b":", start, start + _MAX_DIGITS + 1)
            if colon < 0:
                _length(buffer[start : start + _MAX_DIGITS + 1])
                break
            end = colon + 1 + _length(buffer[start:colon])
            if end >= len(buffer):
                break
            if buffer[end] != _COMMA:
                raise ProtocolError("a netstring ends without its comma")
            map_name, _, key = buffer[colon + 1 : end].partition(b" ")
            yield Request(map_name, key)
            start = end + 1
        self._buffer = buffer[start:]


def _length(digits: bytes) -> int:
    """
    Return the length that the digits, perhaps not all of them yet, give.
    """
    if not digits.isdigit() or (len(digits) > 1 and digits.startswith(b"0")):
        raise ProtocolError("not a netstring")
    if int(digits) > MAX_REQUEST:
        raise ProtocolError("a request is too long")
    return int(digits)


def netstring(payload: bytes) -> bytes:
    """
    Return the payload as a netstring.
    """
    return b"%d:%b," % (len(payload), payload)


def parse_netstring(data: bytes) -> bytes | None:
    """
    Return the payload of a whole netstring; None while octets are missing.

    Raises:
        ProtocolError: It is no netstring.
    """
    digits, colon, rest = data.partition(b":")
    if not (digits.isdigit() or (not digits and not colon)) or len(digits) > 9:
        raise ProtocolError("not a netstring")
    if not colon or len(rest) <= int(digits):
        return None
    if rest[int(digits) :] != b",":
        raise ProtocolError("a netstring ends without its comma")
    return rest[:-1]


def answer(table: AliasTable, request: Request, now: float) -> bytes:
    """
    Return the answer to one lookup, not yet a netstring.

    Args:
        now: Seconds, Unix time.
    """
    if request.map_name not in MAP_NAMES:
        return PERM_NO_MAP
    try:
        key = request.key.decode("utf-8")
    except UnicodeDecodeError:
        return NOTFOUND
    if key.count("@") != 1:
        return NOTFOUND
    value = _aliases(table, key) if request.map_name == b"aliases" else _transport(table, key, now)
    if value is not None:
        return b"OK " + value.encode("utf-8")
    return TEMP_NO_LIST if table.missing else NOTFOUND


def _aliases(table: AliasTable, key: str) -> str | None:
    match = table.find(key)
    if match is None:
        return None
    targets = match.entry.targets
    if targets is None:
        return key
    return ",".join(target if "@" in target else match.address for target in targets)


def _transport(table: AliasTable, key: str, now: float) -> str | None:
    match = table.find_deliverable(key, now)
    return None if match is None else match.entry.nexthop
