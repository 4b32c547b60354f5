"""
Postfix's socketmap protocol: framing, requests and answers.

Source: socketmap_table(5), PROTOCOL and REPLY FORMAT; cr.yp.to/proto/netstrings.txt.
"""

from collections.abc import Callable

from mailer.alias_table import AliasTable
from mailer.declared import Targets
from mailer.errors import ProtocolError

MAX_KEY = 10_000  # octets; the map name and a space come on top
MAX_REQUEST = len(b"transport ") + MAX_KEY
_MAX_DIGITS = len(str(MAX_REQUEST))
_COMMA = 0x2C
_ZERO = 0x30

NOTFOUND = b"NOTFOUND "
TEMP_NO_LIST = b"TEMP the alias list is not loaded yet"
TEMP_TOO_MANY = b"TEMP too many connections"
PERM_NO_MAP = b"PERM no such map, there are: aliases, transport"

OUTCOMES = (  # map and result of a lookup, as they are counted
    *((name, result) for name in ("aliases", "transport") for result in ("ok", "notfound", "temp")),
    ("other", "perm"),
)
Said = tuple[bytes, int]  # and the place in OUTCOMES


class RequestReader:
    """
    Takes the octets of one connection, gives the requests in them.

    Attributes:
        fault: What is wrong with the stream, which is then of no more use; empty while it is good.
    """

    def __init__(self) -> None:
        self.fault = ""
        self._rest = b""

    def receive_data(self, data: bytes) -> list[bytes]:
        """
        Return the requests that are now complete, in order: map name, space, key.

        What follows a fault, or is longer than a request may be, is not kept.
        """
        if not self._rest:  # one request alone, as Postfix sends them
            digits, _, request = data.partition(b":")
            if len(request) - 1 == _lengths.get(digits) and request[-1] == _COMMA:
                return [request[:-1]]
        buffer = self._rest + data
        requests: list[bytes] = []
        start, length = 0, len(buffer)
        try:
            while start < length:
                colon = buffer.find(b":", start, start + _MAX_DIGITS + 1)
                if colon < 0:
                    _length(buffer[start : start + _MAX_DIGITS + 1])
                    break
                digits = buffer[start:colon]
                end = colon + 1 + (_lengths.get(digits) or _length(digits))
                if end >= length:
                    break
                if buffer[end] != _COMMA:
                    raise ProtocolError("a netstring ends without its comma")
                requests.append(buffer[colon + 1 : end])
                start = end + 1
        except ProtocolError as error:
            self.fault = str(error)
            start = length
        self._rest = buffer[start:]
        return requests


_lengths: dict[bytes, int] = {}  # what was read before


def _length(digits: bytes) -> int:
    """
    Return the length that the digits, perhaps not all of them yet, give.
    """
    if not digits.isdigit() or (digits[0] == _ZERO and len(digits) > 1):
        raise ProtocolError("not a netstring")
    length = int(digits)
    if length > MAX_REQUEST:
        raise ProtocolError("a request is too long")
    _lengths[digits] = length  # there are not many
    return length


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


def answer(table: AliasTable, request: bytes, now: float) -> Said:
    """
    Return the reply to one lookup, a netstring, and where it is counted.

    Args:
        request: Map name, space, key.
        now: Seconds, Unix time.
    """
    map_name, _, octets = request.partition(b" ")
    known = _MAPS.get(map_name)
    if known is None:
        return _PERM
    look_up, ok, notfound, temp = known
    try:
        key = octets.decode()
    except UnicodeDecodeError:
        return notfound
    value = look_up(table, key, now)
    if value is not None:
        said = octets if value is key else value.encode()
        size = len(said)
        begin = _OK[size] if size < len(_OK) else b"%d:OK " % (size + 3)
        return b"".join((begin, said, b",")), ok
    return temp if table.missing and key.count("@") == 1 else notfound


def _aliases(table: AliasTable, key: str, _now: float) -> str | None:
    found = table.find(key)
    if found is None:
        return None
    targets = found[1].targets
    return key if targets is None else _joined(targets, found[0])


def _joined(targets: Targets, address: str) -> str:
    return ",".join(target if "@" in target else address for target in targets)


def _transport(table: AliasTable, key: str, now: float) -> str | None:
    found = table.find_deliverable(key, now)
    return None if found is None else found[1].nexthop


def _prepared(
    name: str, look_up: Callable[[AliasTable, str, float], str | None]
) -> tuple[Callable[[AliasTable, str, float], str | None], int, Said, Said]:
    ok, notfound, temp = (OUTCOMES.index((name, result)) for result in ("ok", "notfound", "temp"))
    return look_up, ok, (netstring(NOTFOUND), notfound), (netstring(TEMP_NO_LIST), temp)


_MAPS = {
    b"aliases": _prepared("aliases", _aliases),
    b"transport": _prepared("transport", _transport),
}
_OK = [b"%d:OK " % (size + 3) for size in range(256)]  # how replies begin, by what follows
_PERM: Said = (netstring(PERM_NO_MAP), OUTCOMES.index(("other", "perm")))
