"""
Postfix's socketmap protocol: framing, requests and answers.

Source: socketmap_table(5), PROTOCOL and REPLY FORMAT; cr.yp.to/proto/netstrings.txt.
"""

from functools import lru_cache

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
CountedReply = tuple[bytes, int]  # and the place in OUTCOMES
# Is it transport; what counts ok; not found, no list.
MapReplies = tuple[bool, int, CountedReply, CountedReply]
# How many octets follow the space; how a reply begins that repeats them; of which map.
RequestHead = tuple[int, bytes, MapReplies]


class RequestReader:
    """
    Takes the octets of one connection, gives the requests in them.

    Attributes:
        rest: What came of a request that is not complete.
        fault: What is wrong with the stream, which is then of no more use; empty while it is good.
    """

    def __init__(self) -> None:
        self.fault = ""
        self.rest = b""

    def receive_data(self, data: bytes) -> list[bytes]:
        """
        Return the requests that are now complete, in order, as netstrings.

        What follows a fault, or is longer than a request may be, is not kept.
        """
        buffer = self.rest + data
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
                requests.append(buffer[start : end + 1])
                start = end + 1
        except ProtocolError as error:
            self.fault = str(error)
            start = length
        self.rest = buffer[start:]
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


def answer(table: AliasTable, request: bytes, now: float) -> CountedReply:
    """
    Return the reply to one lookup, a netstring, and where it is counted.

    Args:
        request: A netstring of map name, space, key; a map name alone asks for the empty key.
        now: Seconds, Unix time.
    """
    said = answer_alone(table, request, now)
    if said is not None:
        return said
    known = _MAPS.get(request.partition(b":")[2][:-1])
    return _PERM if known is None else known[2]


def answer_alone(table: AliasTable, data: bytes, now: float) -> CountedReply | None:
    """
    Return what ``answer`` does to octets that are one whole request; None to any others.

    Args:
        data: As they came, not looked at yet. None is returned, too, for a request that names no
            map or has no key.
        now: Seconds, Unix time.
    """
    head, _, rest = data.partition(b" ")
    size, begin, known = _heads.get(head) or _head(head)
    if len(rest) != size or rest[-1] != _COMMA:
        return None
    is_transport, ok, notfound, temp = known
    try:
        key = rest[:-1].decode()
    except UnicodeDecodeError:
        return notfound
    found = table.find_deliverable(key, now) if is_transport else table.find(key)
    if found is None:
        return temp if table.missing and key.count("@") == 1 else notfound
    address, entry = found
    if is_transport:
        return _ok(entry.nexthop or ""), ok
    if entry.targets is None:
        return begin + rest, ok
    return netstring(b"OK " + _joined(entry.targets, address).encode()), ok


@lru_cache(maxsize=256)
def _ok(value: str) -> bytes:
    """
    Return the reply that says a next hop, of which there are few.
    """
    return netstring(b"OK " + value.encode())


def _joined(targets: Targets, address: str) -> str:
    return ",".join(target if "@" in target else address for target in targets)


def _head(head: bytes) -> RequestHead:
    """
    Return what is known from what stands before the space of a request.
    """
    digits, _, name = head.partition(b":")
    known = _MAPS.get(name)
    if known is None or len(digits) > _MAX_DIGITS:
        return _NO_HEAD
    try:
        size = _length(digits) - len(name)
    except ProtocolError:
        return _NO_HEAD
    if size < 1:  # there is no room for a space
        return _NO_HEAD
    found = size, b"%d:OK " % (size + 2), known
    if size <= _USUAL:
        _heads[head] = found  # there are not many
    return found


def _known(name: str) -> MapReplies:
    ok, notfound, temp = (OUTCOMES.index((name, result)) for result in ("ok", "notfound", "temp"))
    texts = (netstring(NOTFOUND), notfound), (netstring(TEMP_NO_LIST), temp)
    return name == "transport", ok, *texts


_MAPS = {name.encode(): _known(name) for name in ("aliases", "transport")}
_USUAL = 256  # octets of a key
_heads: dict[bytes, RequestHead] = {}  # what was read before
_NO_HEAD: RequestHead = -1, b"", _MAPS[b"aliases"]  # nothing is as short
_PERM: CountedReply = (netstring(PERM_NO_MAP), OUTCOMES.index(("other", "perm")))
