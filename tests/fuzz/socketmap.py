"""
Fuzzing the socketmap server: any octets, in any pieces, against a model.

The framing is read here once more, of the whole stream, as the standard has it; the answers are
those of the dictionaries in ``test_socketmap_model.py``.

Source: cr.yp.to/proto/netstrings.txt; socketmap_table(5).
"""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

from twisted.internet.testing import StringTransportWithDisconnection

from mailer.alias_list import AliasList, parse_aliases, parse_transport
from mailer.alias_table import ServerList
from mailer.socketmap_server import SocketmapFactory

HERE = Path(__file__).parent
cutting = SimpleNamespace(**runpy.run_path(str(HERE / "cutting.py")))
fakes = SimpleNamespace(**runpy.run_path(str(HERE.parent / "fakes.py")))
tests = SimpleNamespace(**runpy.run_path(str(HERE.parent / "test_socketmap_model.py")))

MAX_LENGTH = 10_100  # octets: there is room for the longest request, and for one too long

PAGE = {
    "aliases": {"info@x": ["a@x"], "all@x": ["a@x", "out@y"], "b@x": [], "stra\u00dfe@x": []},
    "local_parts": {"jobs": ["jobs"], "sales": ["out@y"]},
    "domains": ["x", "z"],
}
TRANSPORT = {"a@x": "", "b@x": "smtp:[h]:25"}
LENGTH = re.compile(rb"(0|[1-9][0-9]*)(:?)")


def served():
    """
    Return a factory whose list is loaded, and the model of it.
    """
    model = tests.Model()
    hops = "".join(f"{address} {hop}\n" for address, hop in TRANSPORT.items()).encode()
    declared = parse_aliases(json.dumps(PAGE).encode())
    declared = AliasList(
        declared.aliases, declared.local_parts, declared.domains, parse_transport(hops)
    )
    lists = [ServerList("first", declared), ServerList("second", None)]
    model.publish("first", PAGE, TRANSPORT)
    directory = fakes.make_directory(*lists, domains=tests.OWN_DOMAINS)
    metrics, _ = fakes.make_metrics()
    return SocketmapFactory(directory, metrics, fakes.Reactor()), model


FACTORY, MODEL = served()


def requests(stream):
    """
    Return the payloads of the netstrings in a stream, and whether it is good up to its end.
    """
    found, place = [], 0
    while place < len(stream):
        length = LENGTH.match(stream, place)
        if length is None or int(length[1]) > tests.MAX_PAYLOAD:
            return found, False
        if not length[2]:
            return found, length.end() == len(stream)
        end = length.end() + int(length[1])
        if stream[end : end + 1] not in (b"", b","):
            return found, False
        if end >= len(stream):
            return found, True
        found.append(stream[length.end() : end])
        place = end + 1
    return found, True


def answered(payload):
    """
    Return the answer that a request is to get, as a netstring.
    """
    map_name, _, key = payload.partition(b" ")
    said = MODEL.answer(map_name, key).encode()
    return b"%d:%b," % (len(said), said)


def talk(pieces):
    """
    Return what the server says, and whether it stays connected.
    """
    connection = fakes.Connection(FACTORY, StringTransportWithDisconnection())
    said = b""
    for piece in pieces:
        if connection.transport.connected:
            said += connection.send(piece)
    connected = connection.transport.connected
    if connected:
        connection.close()
    return said, connected


def check(octets):
    """
    In any pieces the stream gets one answer for each request, the model's, and nothing behind
    what is no request.
    """
    sizes, stream = cutting.divided(octets)
    payloads, is_good = requests(stream)
    expected = b"".join(map(answered, payloads)), is_good
    assert expected == talk(cutting.pieces(stream, []))
    assert expected == talk(cutting.pieces(stream, sizes))
