"""
The daemon's protocols, driven in this process without sockets: what is counted, not timed.

usage: driven.py WHAT COUNT [--memory | --cold OCTETS]

WHAT is ``lookup``, ``message`` (5 kB), ``large message`` (1 MB) or ``nothing``. With ``--memory``
what they take of it is printed as JSON; tracemalloc would disturb the count of instructions. With
``--cold`` nothing of them is in a cache of so many octets when they begin.

The arguments of the two factories stand here and nowhere else in the benches.
"""

import paths  # noqa: F401  isort: skip
import gc
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from receiver import AtOnce
from twisted.internet import reactor as _reactor

from fakes import make_directory, make_metrics
from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.delivery import Deliverer
from mailer.lmtp_server import LmtpFactory
from mailer.socketmap_server import SocketmapFactory

ADDRESSES = 1_000
CHUNK = 65_536  # octets that a transport reads at once
SIZES = {"message": 5_000, "large message": 1_000_000}
reactor: Any = _reactor


class Sink:
    """
    A transport that forgets what is written.
    """

    def __init__(self) -> None:
        self.last = b""

    def write(self, data: bytes) -> None:
        """
        Keep the latest alone.
        """
        self.last = data

    def writeSequence(self, parts: list[bytes]) -> None:
        """
        As ``write``.
        """
        self.last = b"".join(parts)

    def writeSomeData(self, data: bytes) -> int:
        """
        As ``write``; all of it goes.
        """
        self.last = data
        return len(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """
        It never asks for a pause.
        """

    def unregisterProducer(self) -> None:
        """
        Nor for an end.
        """

    def pauseProducing(self) -> None:
        """
        Whoever drives it sends nothing meanwhile.
        """

    def resumeProducing(self) -> None:
        """
        As above.
        """


def connected(factory: Any) -> tuple[Any, Sink]:
    """
    Return a protocol of a factory and its transport.
    """
    protocol, sink = factory.buildProtocol(None), Sink()
    protocol.makeConnection(sink)
    return protocol, sink


def directory() -> Any:
    """
    Return a list of ``ADDRESSES`` in force.
    """
    names = [f"alias-{number}@example.com" for number in range(ADDRESSES)]
    declared = AliasList({name: (name,) for name in names}, transport=dict.fromkeys(names, ""))
    return make_directory(ServerList("odoo", declared))


def lookups() -> Callable[[], None]:
    """
    Return what makes one lookup: both maps, an extension, capitals, strangers, in turn.
    """
    metrics, _ = make_metrics()
    protocol, sink = connected(SocketmapFactory(directory(), metrics, reactor))
    requests = cycle(list(_requests()))

    def one() -> None:
        request, answer = next(requests)
        protocol.dataReceived(request)
        assert sink.last == answer, (request, sink.last)

    return one


def _requests() -> Iterator[tuple[bytes, bytes]]:
    for number in range(ADDRESSES):
        name = f"alias-{number}@example.com"
        nexthop = "OK lmtp:unix:private/odoo-lmtp"
        for request, answer in (
            (f"aliases {name}", f"OK {name}"),
            (f"transport {name}", nexthop),
            (f"aliases Alias-{number}+x@example.com", f"OK Alias-{number}+x@example.com"),
            (f"aliases no-{name}", "NOTFOUND "),
            (f"transport no-{name}", "NOTFOUND "),
        ):
            yield _netstring(request), _netstring(answer)


def _netstring(text: str) -> bytes:
    return f"{len(text)}:{text},".encode()


def messages(size: int) -> Callable[[], None]:
    """
    Return what sends one message of so many octets to one recipient.
    """
    metrics, _ = make_metrics()
    servers: Any = {"odoo": AtOnce()}
    protocol, sink = connected(
        LmtpFactory(
            directory(), Deliverer(servers), metrics, reactor, "mx.example.test", 2 * size, None
        )
    )
    protocol.dataReceived(b"LHLO mx.example.test\r\n")
    envelope = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<alias-1@example.com>\r\nDATA\r\n"
    content = _content(size)
    chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]

    def one() -> None:
        protocol.dataReceived(envelope)
        assert b"\r\n354 " in sink.last, sink.last
        for chunk in chunks:
            protocol.dataReceived(chunk)
        assert sink.last.startswith(b"250 "), sink.last
        reactor.runUntilCurrent()  # it reads on in the next turn

    return one


def _content(size: int) -> bytes:
    header = (
        b"Received: by mx.example.test (Postfix) id 4ZQ1;\r\n\tMon, 1 Jun 2026 12:00:00 +0000\r\n"
        b"From: Customer <a@client.test>\r\nTo: <alias-1@example.com>\r\nSubject: A question\r\n"
        b"Message-ID: <1@client.test>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    line = b"VGhpcyBpcyBhIGxpbmUgb2YgYmFzZTY0LCBzZXZlbnR5LXNpeCBvY3RldHMgbG9uZywgYXMgdXN1\r\n"
    lines = (size - len(header)) // len(line)
    return header + line * lines + b".\r\n"


def cold(one: Callable[[], None], cache: int) -> Callable[[], None]:
    """
    Return what does it after so much else that all of it has to come from memory.

    Args:
        cache: Octets that there is room for.
    """
    # Made once, and copied in place: where new memory comes from varies.
    other, more = memoryview(bytearray(cache)), bytes(cache)

    def one_cold() -> None:
        other[:] = more
        one()

    return one_cold


def memory(one: Callable[[], None], count: int) -> dict[str, float]:
    """
    Return the most octets that one of them takes meanwhile, and the octets that each keeps.
    """
    for _ in range(count):
        one()  # whatever is made once is there
    gc.collect()
    tracemalloc.start()
    one()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    one()
    peak = tracemalloc.get_traced_memory()[1] - before
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(count):
        one()
    gc.collect()
    kept = (tracemalloc.get_traced_memory()[0] - before) / count
    return {"peak_octets": peak, "kept_octets": round(max(kept, 0.0), 1)}


def main(what: str, count: int, option: str = "", cache: str = "") -> None:
    """
    Drive it.
    """
    if what in SIZES:
        one = messages(SIZES[what])
    else:
        one = lookups() if what == "lookup" else lambda: None
    if option == "--memory":
        print(json.dumps(memory(one, count)))
        return
    if option == "--cold":
        one = cold(one, int(cache))
    for _ in range(count):
        one()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
