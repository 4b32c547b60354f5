"""
Clients that ask and ask, and never read an answer.
"""

import socket
import time

from bed import Bed, bed
from crowd import Place, connected
from lookups import LookupClient
from process import cpu_seconds, peak_memory, reset_peak
from report import MIB, judged, latency_cells, mebibytes, table
from stand_in import DOMAIN

BOUND = 16 * MIB  # octets more that such a client may cost
PATIENCE = 15.0  # seconds for which the client goes on trying to send
BLOCK = 65_536
QUIET = 60.0  # seconds to wait for the daemon to have done all that was asked
STEP = 0.5  # seconds between two looks
IDLE = 0.3  # part of a processor: the lookups of the others take some


def never_read(count: int) -> bool:
    """
    Print what the daemon keeps for clients that pipeline and never read.

    Args:
        count: Lookups; a tenth of it of LMTP commands, a fiftieth of requests of HTTP.
    """
    print("## Clients that never read\n")
    lookup = f"aliases odoo-1@{DOMAIN}".encode()
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    rows, good = [], True
    for name, payload, times in (
        ("lookups", b"%d:%b," % (len(lookup), lookup), count),
        ("LMTP NOOP", b"NOOP\r\n", count),
        ("LMTP LHLO", b"LHLO a\r\n", count // 10),
        ("GET /metrics", request, count // 50),
    ):
        with bed("odoo") as bench:
            cells, kept = _one(bench, name, payload, times)
        rows.append((name, f"{times:,}", *cells, judged(kept)))
        good = good and kept
    heads = ("", "wanted", "sent", "then", "s", "quiet after s", "CPU s", "peak, MiB more", *_HEADS)
    print(table((*heads, "under 16 MiB"), rows))
    return good


_HEADS = ("others' lookups", "p50 ms", "p99 ms", "p99.9 ms", "max ms")


def _one(bench: Bed, name: str, payload: bytes, times: int) -> tuple[list[str], bool]:
    places: dict[str, Place] = {"lookups": bench.socketmap, "GET /metrics": bench.http_port}
    place = places.get(name, bench.lmtp)
    others = LookupClient(bench.lookup_plan(rate=200)).start()
    pid = bench.daemon.pid
    time.sleep(0.5)
    before = bench.figures()
    reset_peak(pid)
    start = time.monotonic()
    with connected(place, PATIENCE) as connection:
        sent, ending = _push(connection, payload * times)
        seconds = time.monotonic() - start
        quiet = _quiet_after(pid) - start
        more = peak_memory(pid) - before.rss
    taken = others.stop()
    cells = [
        f"{sent // len(payload):,}",
        ending,
        f"{seconds:.1f}",
        f"{quiet:.1f}",
        f"{cpu_seconds(pid) - before.cpu:.1f}",
        mebibytes(more),
        *latency_cells(taken.seconds),
    ]
    return cells, more < BOUND


def _quiet_after(pid: int) -> float:
    """
    Return when the daemon had hardly anything more to do.
    """
    start = time.monotonic()
    while time.monotonic() - start < QUIET:
        now, cpu = time.monotonic(), cpu_seconds(pid)
        time.sleep(STEP)
        if cpu_seconds(pid) - cpu < IDLE * STEP:
            return now
    return float("nan")


def _push(connection: socket.socket, data: bytes) -> tuple[int, str]:
    """
    Send until all is sent, or no more is taken; return how much, and how it ended.
    """
    sent = 0
    try:
        while sent < len(data):
            sent += connection.send(data[sent : sent + BLOCK])
    except TimeoutError:
        return sent, "takes no more"
    except OSError:
        return sent, "was cut"
    return sent, "took all"
