"""
Lists of a thousand and a million addresses: start, memory, lookups, refreshes, changes.
"""

import paths  # noqa: F401  isort: skip
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from bed import NEXTHOP, Bed, bed
from ground import LOAD_CORE, SERVER_CORE, cpu_ns, pin, run_load
from lookups import NETSTRING_ANSWER, TIMEOUT, Echo, LookupClient, Plan
from process import peak_memory, reset_peak, resident_memory
from programs import ask
from report import percentile
from results import Figures
from rounds import measure_in_turn
from waiting import eventually

SIZES = (1_000, 1_000_000)
DEADLINE = 600.0  # seconds for one refresh
LONGEST = 280  # seconds that the daemon may wait for a list
REST = 2.0  # seconds after which nothing of a refresh goes on any more
STEP = 0.001  # seconds between two looks
SAMPLE = 10_000  # addresses that are asked for
RATE = 1_000.0  # lookups a second during a refresh
STALL = 0.005  # seconds for an echo, of which most take a fiftieth
CONNECTIONS = 8
PAIRS = 24  # of lookups with both lists, in turn and short: the machine is not always as fast
SECONDS = 1.0

Section = dict[str, dict[str, list[Figures]]]


def measure(rounds: int, seconds: float, refreshes: int) -> Section:
    """
    Return the figures by size, and then by what was measured.

    Args:
        refreshes: Rounds of what takes long.
    """
    found: Section = {str(size): {} for size in SIZES}
    with _bed("few", SIZES[0]) as few, _bed("many", SIZES[1]) as many:
        beds = dict(zip(map(str, SIZES), (few, many), strict=True))
        for size, one in beds.items():
            found[size]["start from the store"] = [_restart(one) for _ in range(rounds)]
            found[size]["unchanged"] = [_unchanged(one) for _ in range(rounds)]
        in_turn = measure_in_turn(
            PAIRS,
            list(beds),
            ["lookups"],
            lambda size, _: {"lookups": _lookups(beds[size], int(size))},
        )
        for size, lookups in in_turn.items():
            found[size].update(lookups)
        for size, one in beds.items():
            found[size]["no refresh"] = [_worst(one, lambda: time.sleep(seconds))]
            found[size]["refresh"] = [_refresh(one) for _ in range(refreshes)]
            found[size]["change, asked for"] = [_pulled(one) for _ in range(refreshes)]
            found[size]["change, told"] = [_pushed(one) for _ in range(refreshes)]
    return found


def _bed(name: str, size: int) -> AbstractContextManager[Bed]:
    return bed(name, addresses=size, deadline=DEADLINE, timeout=LONGEST)


def _restart(bench: Bed) -> Figures:
    """
    Return the seconds from exec to the first answer, and the memory some time after it.
    """
    bench.daemon.stop()
    start = time.monotonic()
    bench.daemon.start()
    seconds = _seconds_until(bench, bench.odoos[0].address(1), start)
    pin(bench.daemon.pid, SERVER_CORE)
    eventually(lambda: bench.metric("refresh_total", result="unchanged"), "the first poll")
    time.sleep(REST)
    pid = bench.daemon.pid
    return {
        "seconds": seconds,
        "resident_memory": resident_memory(pid),
        "peak_memory": peak_memory(pid),
    }


def _seconds_until(bench: Bed, address: str, start: float) -> float:
    """
    Wait until a lookup sees an address; return the seconds since ``start``.
    """
    answer = ""
    while answer != f"OK {address}":
        assert time.monotonic() < start + DEADLINE, bench.daemon.output()
        time.sleep(STEP)
        with suppress(OSError, ValueError):  # it does not listen yet
            answer = ask(bench.socketmap, "aliases", address)
    return round(time.monotonic() - start, 4)


def _lookups(bench: Bed, size: int) -> Figures:
    """
    Return what 8 connections reach; as much is asked for whatever the size, all of it different.
    """
    path = bench.folder / "lookups"
    if not path.exists():
        names = [bench.odoos[0].address(number * size // SAMPLE) for number in range(SAMPLE)]
        path.write_text("".join(_asked(_capitals(name, at)) for at, name in enumerate(names)))
    return run_load(
        "socketmap_load", bench.socketmap, path, CONNECTIONS, 1, SECONDS,
        core=LOAD_CORE, server=bench.daemon.pid, per="lookups",
    )  # fmt: skip


def _capitals(name: str, number: int) -> str:
    """
    Return a name in one of 16 ways to write it, so that hardly any request comes twice.
    """
    return "".join(c.upper() if number >> at & 1 else c for at, c in enumerate(name[:4])) + name[4:]


def _asked(name: str) -> str:
    return (
        f"aliases {name}\tOK {name}\ntransport {name}\tOK {NEXTHOP}\naliases no-{name}\tNOTFOUND \n"
    )


def _refresh(bench: Bed) -> Figures:
    """
    Return what a whole new list costs, and the worst lookup until all of it is over.
    """
    pid = bench.daemon.pid
    reset_peak(pid)
    before = resident_memory(pid)
    took = []

    def refresh() -> None:
        took.append(bench.refreshed(bench.odoos[0], deadline=DEADLINE))
        time.sleep(REST)  # the old list is forgotten, too

    worst = _worst(bench, refresh)
    more = peak_memory(pid) - before
    return {**worst, "seconds": round(took[0], 3), "peak_memory_more": more}


def _worst(bench: Bed, meanwhile: Callable[[], None]) -> Figures:
    """
    Return how long lookups took while something went on; those apart during which the machine
    itself stood still.

    That is told by an echo on the daemon's core which nothing else there can hold up.
    """
    echo = Echo(bench.folder)
    pin(echo.pid, SERVER_CORE)
    watch = LookupClient(Plan(echo.path, [("echo", "", NETSTRING_ANSWER[2:])], RATE, connections=1))
    client = LookupClient(bench.lookup_plan(rate=RATE))
    for one in (watch.start(), client.start(), echo):
        with suppress(PermissionError):  # else its own waiting for the core counts, too
            os.sched_setscheduler(one.pid, os.SCHED_FIFO, os.sched_param(1))
    time.sleep(0.5)
    start = time.monotonic()
    meanwhile()
    end = time.monotonic()
    taken, echoed = client.stop(), watch.stop()
    echo.close()
    # An answer that was given up counts as long as it was waited for.
    given_up = [TIMEOUT] * taken.failures.total()
    seconds = taken.between(start, end, echoed.stalls(STALL)) + given_up
    with_stalls = taken.between(start, end) + given_up
    return {
        "lookups": len(seconds),
        "given_up": len(given_up),
        "p99_ms": round(percentile(seconds, 0.99) * 1000, 3),
        "max_ms": round(max(seconds) * 1000, 3),
        "all_lookups": len(with_stalls),
        "all_max_ms": round(max(with_stalls) * 1000, 3),
        "echo_max_ms": round(max(echoed.between(start, end)) * 1000, 3),
    }


def _unchanged(bench: Bed) -> Figures:
    """
    Return what it costs to hear that nothing has changed.
    """
    odoo = bench.odoos[0]
    before, refreshes = odoo.counts(), _refreshes(bench)
    bench.call_webhook(odoo)
    eventually(lambda: _refreshes(bench) > refreshes, "the refresh")
    after = odoo.counts()
    return {"requests": after.requests - before.requests, "octets": after.sent - before.sent}


def _refreshes(bench: Bed) -> float:
    return bench.metric("refresh_total")


def _pulled(bench: Bed) -> Figures:
    """
    Return what one address more costs where the daemon is told only that there is something.
    """

    def call() -> tuple[int, int]:
        bench.call_webhook(bench.odoos[0])
        return 202, 0

    return _changed(bench, call)


def _pushed(bench: Bed) -> Figures:
    """
    Return what one address more costs where the daemon is told which; one that takes no such
    news is then told that there is something.
    """

    def push() -> tuple[int, int]:
        status, octets = bench.push_change(bench.odoos[0])
        if status == 415:
            bench.call_webhook(bench.odoos[0])
        return status, octets

    return _changed(bench, push)


def _changed(bench: Bed, tell: Callable[[], tuple[int, int]]) -> Figures:
    odoo, pid = bench.odoos[0], bench.daemon.pid
    mark = odoo.change()
    before, cpu = odoo.counts(), cpu_ns(pid)
    start = time.monotonic()
    status, octets = tell()
    seconds = _seconds_until(bench, mark, start)
    time.sleep(REST)
    after = odoo.counts()
    return {
        "status": status,
        "seconds": seconds,
        "requests": after.requests - before.requests,
        "octets": octets + after.sent - before.sent,
        "cpu_seconds": round((cpu_ns(pid) - cpu) / 1e9, 4),
    }
