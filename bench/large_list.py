"""
Lists of many addresses: memory, and lookups while such a list is refreshed.
"""

import argparse
import sys
import time
from dataclasses import dataclass, field
from statistics import median

from bed import Bed, asked_for, bed
from lookups import LookupClient
from process import peak_memory, reset_peak
from report import LATENCY_HEADS, judged, latency_cells, machine, mebibytes, percentile, table

SIZES = (100_000, 1_000_000)
REFRESHES = 5
REST = 2.0  # seconds between two
BOUND = 0.005  # seconds: p99 of lookups
DEADLINE = 300.0  # seconds for one refresh


@dataclass(slots=True)
class Refresh:
    """
    One refresh.

    Args:
        peak: Octets more at most than before.
        after: Octets of its own afterwards.
    """

    seconds: float
    start: float
    end: float
    peak: int
    after: int


@dataclass(slots=True)
class _Round:
    addresses: int
    before: int
    loaded: int
    refreshes: list[Refresh] = field(default_factory=list)


def measure(addresses: int, count: int) -> tuple[list[list[str]], list[list[str]], bool]:
    """
    Return the rows of memory and those of lookups, and whether the bound was kept.
    """
    with bed("odoo", addresses=10) as bench:
        round_ = _Round(addresses, bench.figures().private, 0)
        bench.refreshed(bench.odoos[0], addresses, DEADLINE)
        time.sleep(REST)
        round_.loaded = bench.figures().private
        before = asked_for(bench.lookup_plan(), 5)
        client = LookupClient(bench.lookup_plan()).start()
        time.sleep(0.5)
        for _ in range(count):
            round_.refreshes.append(_refresh(bench))
            time.sleep(REST)
        during = client.stop()
    seconds = [
        one for refresh in round_.refreshes for one in during.between(refresh.start, refresh.end)
    ]
    good = percentile(seconds, 0.99) < BOUND
    name = f"{addresses:,}"
    lookups = [
        [name, "no refresh", *latency_cells(before.seconds), before.failed(), ""],
        [name, "during refreshes", *latency_cells(seconds), during.failed(), judged(good)],
    ]
    return _memory_rows(round_), lookups, good


def _refresh(bench: Bed) -> Refresh:
    pid = bench.daemon.pid
    rss = bench.figures().rss
    reset_peak(pid)
    seconds = bench.refreshed(bench.odoos[0], deadline=DEADLINE)
    end = time.monotonic()
    return Refresh(seconds, end - seconds, end, peak_memory(pid) - rss, bench.figures().private)


def _memory_rows(round_: _Round) -> list[list[str]]:
    refreshes = round_.refreshes
    return [
        [
            f"{round_.addresses:,}",
            mebibytes(round_.before),
            mebibytes(round_.loaded),
            f"{(round_.loaded - round_.before) / round_.addresses:.0f}",
            mebibytes(max(one.peak for one in refreshes)),
            mebibytes(refreshes[0].after),
            mebibytes(refreshes[-1].after),
            f"{median(one.seconds for one in refreshes):.1f}",
        ]
    ]


def main() -> None:
    """
    Measure all.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 addresses, two refreshes")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="ADDRESSES")
    options = parser.parse_args()
    sizes = options.sizes or (SIZES[:1] if options.quick else SIZES)
    print(f"{machine()}\n")
    memory, lookups, good = [], [], True
    for addresses in sizes:
        cells = measure(addresses, 2 if options.quick else REFRESHES)
        memory += cells[0]
        lookups += cells[1]
        good = good and cells[2]
    heads = ("addresses", "empty, MiB", "loaded", "octets each", "peak more", "after one refresh",
             "after the last", "s of one")  # fmt: skip
    print(table(heads, memory))
    print(table(("addresses", "lookups", *LATENCY_HEADS, "failed", "p99 under 5 ms"), lookups))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
