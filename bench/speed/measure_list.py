"""
Lists of a thousand and a million addresses: start, memory, lookups, refreshes, changes.

Names are equally long in both, and requests are as many and as different: what a lookup takes
depends on that, too.
"""

import paths  # noqa: F401  isort: skip
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress

from bed import NEXTHOP, Bed, bed
from ground import LOAD_CORE, SERVER_CORE, cpu_ns, pin, run_load
from lookups import NETSTRING_ANSWER, TIMEOUT, Echo, LookupClient, Plan
from process import peak_memory, reset_peak, resident_memory
from programs import ask
from report import percentile
from results import Figures
from rounds import measure_in_turn
from targets import FEW, MANY, OTHERS
from waiting import eventually

SIZES = {FEW: 1_000, MANY: 1_000_000}
PART = 0.1  # of the addresses that have another target, where some have
RENEWED = 0.4  # of the addresses, where many are new
HANDFUL = 50  # addresses, those that ``lookup_plan`` asks for
DEADLINE = 600.0  # seconds for one refresh
LONGEST = 280  # seconds that the daemon may wait for a list
REST = 2.0  # seconds after which nothing of a refresh goes on any more
STEP = 0.001  # seconds between two looks
SAMPLE = 200_000  # names that are asked for, no two written the same way
WAYS = 200  # to write a name: so many each for a thousand of them make the sample
RATE = 1_000.0  # lookups a second during a refresh
STALL = 0.005  # seconds for an echo, of which most take a fiftieth
CONNECTIONS = 8
SECONDS = 1.0  # of lookups with one list: short, as lists take turns on a machine that is not
# always as fast

Section = dict[str, dict[str, list[Figures]]]


def measure(rounds: int, seconds: float, pairs: int, refreshes: int) -> Section:
    """
    Return the figures by list, and then by what was measured.

    Args:
        pairs: Rounds of lookups with both lists.
        refreshes: Rounds of what takes long.
    """
    with _bed(SIZES[FEW]) as few, _bed(SIZES[MANY]) as many:
        beds = {FEW: few, MANY: many}
        found: Section = {name: _began(one, rounds) for name, one in beds.items()}

        def lookups(name: str, _: str) -> Figures:
            return _lookups(beds[name], SIZES[name])

        in_turn = measure_in_turn(pairs, list(beds), ["lookups"], lambda: nullcontext(lookups))
        for name, one in beds.items():
            found[name] |= {
                **in_turn[name],
                "no refresh": [_worst(one, lambda: time.sleep(seconds))],
                "refresh": [_refresh(one) for _ in range(refreshes)],
                "refresh, many new": [_many_new(one, SIZES[name]) for _ in range(refreshes)],
                "first list": [_first_list(one, SIZES[name]) for _ in range(refreshes)],
                "change, asked for": [_pulled(one) for _ in range(refreshes)],
                "change, told": [_pushed(one) for _ in range(refreshes)],
            }
    with _bed(SIZES[MANY], PART) as others:
        refresh = [_refresh(others) for _ in range(refreshes)]
        found[OTHERS] = {**_began(others, rounds), "refresh": refresh}
    return found


def _bed(size: int, others: float = 0.0) -> AbstractContextManager[Bed]:
    return bed(
        "odoo", addresses=size, others=others, deadline=DEADLINE, timeout=LONGEST,
        transport_grace=0,  # else what each round removes would be remembered in all others
    )  # fmt: skip


def _began(bench: Bed, rounds: int) -> dict[str, list[Figures]]:
    return {
        "start from the store": [_restart(bench) for _ in range(rounds)],
        "unchanged": [_unchanged(bench) for _ in range(rounds)],
    }


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
    Return what 8 connections reach.
    """
    path = bench.folder / "lookups"
    if not path.exists():
        path.write_text("".join(map(_asked, _sample(bench, size))))
    return run_load(
        "socketmap_load", bench.socketmap, path, CONNECTIONS, 1, SECONDS,
        core=LOAD_CORE, server=bench.daemon.pid, per="lookups",
    )  # fmt: skip


def _sample(bench: Bed, size: int) -> Iterator[str]:
    """
    Yield the names that are asked for: of a long list one from here and there, of a short one
    each in many ways, and those of both with as many capitals.
    """
    for number in range(SAMPLE):
        yield _capitals(bench.odoos[0].address(number * size // SAMPLE), number % WAYS)


def _capitals(name: str, way: int) -> str:
    """
    Return a name in one of the ways to write it: each binary digit stands for a letter.
    """
    letters = [at for at, letter in enumerate(name) if letter.isalpha()]
    capitals = {at for digit, at in enumerate(letters) if way >> digit & 1}
    return "".join(c.upper() if at in capitals else c for at, c in enumerate(name))


def _asked(name: str) -> str:
    return (
        f"aliases {name}\tOK {name}\ntransport {name}\tOK {NEXTHOP}\naliases no-{name}\tNOTFOUND \n"
    )


def _refresh(bench: Bed, addresses: int = 0, renewed: int = 0) -> Figures:
    """
    Return what a whole new list costs, and the worst lookup until all of it is over.

    Args:
        addresses: That it has, if not as many as before.
        renewed: How many of these are new; else one is.
    """
    pid = bench.daemon.pid
    reset_peak(pid)
    before = resident_memory(pid)
    took = []

    def refresh() -> None:
        took.append(bench.refreshed(bench.odoos[0], addresses, renewed, DEADLINE))
        time.sleep(REST)  # the old list is forgotten, too

    worst = _worst(bench, refresh)
    peak = peak_memory(pid)
    return {
        **worst,
        "seconds": round(took[0], 3),
        "resident_memory": resident_memory(pid),
        "peak_memory": peak,
        "peak_memory_more": peak - before,
    }


def _many_new(bench: Bed, size: int) -> Figures:
    """
    Return what a whole new list costs that has many addresses which the one before had not.
    """
    return _refresh(bench, renewed=int(size * RENEWED))


def _first_list(bench: Bed, size: int) -> Figures:
    """
    Return what the growth from next to nothing to the whole list costs.

    The daemon is one that never had a long list: else it would remember what was removed of it.
    """
    odoo = bench.odoos[0]
    bench.daemon.stop()
    shutil.rmtree(bench.cache)
    odoo.revise(HANDFUL)
    bench.daemon.start(notify=True)
    pin(bench.daemon.pid, SERVER_CORE)
    eventually(lambda: bench.knows(odoo.address(0)), "the list")
    time.sleep(REST)
    return _refresh(bench, size)


def _worst(bench: Bed, meanwhile: Callable[[], None]) -> Figures:
    """
    Return how long lookups took while something went on; those apart during which the machine
    itself stood still.

    That is told by an echo of the highest priority on the daemon's core, which only the kernel
    can hold up.
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
        "apart": len(with_stalls) - len(seconds),
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
