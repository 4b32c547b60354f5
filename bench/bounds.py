"""
What clients that behave badly can cost: crowds, large messages, nonsense, floods, silence.

Each part runs a daemon of its own; ``--only`` names the parts that are wanted.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from attacks import attacks
from bed import Bed, asked_for, bed
from bounds_flood import flood_descriptors
from bounds_unread import never_read
from crowd import Crowd, Kind, slow_kinds
from lookups import Echo, LookupClient, Plan, Taken
from process import cpu_seconds, figures, peak_memory, private_memory, reset_peak
from report import LATENCY_HEADS, MIB, judged, latency_cells, machine, mebibytes, table
from senders import Plan as SenderPlan
from senders import Senders, Sent, outcome

MESSAGES_AT_ONCE = 8
LARGE = 25_000_000  # octets
LARGE_BOUND = 100 * MIB
BESIDE = 100.0  # lookups a second of one client while mail loads the daemon to the full
FRESH = 0.1  # seconds that a connection of a short-lived client lasts
SLOW_ODOO = 5_000_000  # octets a second read from each connection


@dataclass(frozen=True, slots=True)
class Sizes:
    """
    How much of everything.

    Args:
        seconds: Of each measurement.
        idle, slow: Connections of the crowd.
        unread: Lookups that each slow client of that kind asks and does not read.
        nonsense: Requests for each protocol.
        limits: Of descriptors.
        pipelined: Lookups of the client that never reads.
        hold: Seconds to keep the crowd when all is measured, to see when it is dropped.
    """

    seconds: float
    idle: int
    slow: int
    unread: int
    nonsense: int
    limits: tuple[int, ...]
    pipelined: int
    hold: float


@dataclass(slots=True)
class _Phase:
    name: str
    echo: Taken
    alone: Taken
    lasting: Taken
    fresh: Taken
    sent: list[Sent]
    seconds: float


def beside_a_crowd(sizes: Sizes) -> bool:
    """
    Print what a crowd of idle and slow clients changes for the others.
    """
    print(f"## {sizes.idle} idle connections and {sizes.slow} slow clients\n")
    _print_idle(sizes.idle)
    with bed("odoo") as bench, Crowd() as crowd:
        echo = Echo(bench.folder)
        old = LookupClient(bench.lookup_plan(rate=10, reconnects=False)).start()
        phases = [_measure(bench, echo, "without", sizes.seconds)]
        before = private_memory(bench.daemon.pid)
        opened = _gather(bench, crowd, sizes)
        phases.append(_measure(bench, echo, "with the crowd", sizes.seconds))
        after = private_memory(bench.daemon.pid)
        time.sleep(sizes.hold)
        left, dropped = crowd.left(), crowd.dropped_after()
        crowd.close()
        phases.append(_measure(bench, echo, "when it has gone", sizes.seconds))
        echo.close()
        kept = old.stop()
    _print_phases(phases)
    print(f"A connection from before the crowd: {len(kept.seconds)} lookups, "
          f"longest {max(kept.seconds) * 1000:.1f} ms, failures {kept.failed()}.\n"
          f"The daemon has {mebibytes(after - before)} MiB more with the crowd.\n")  # fmt: skip
    rows = [
        (name, count, left[name], *_span(dropped.get(name, []))) for name, count in opened.items()
    ]
    print(table(("client", "opened", "left in the end", "first cut after s", "last"), rows))
    return not phases[1].lasting.failures and not kept.failures


def _print_idle(count: int) -> None:
    """
    Print what one more idle connection takes, where there are many already.
    """
    rows = []
    for name in ("socketmap", "LMTP", "HTTP"):
        with bed("odoo") as bench, Crowd() as crowd:
            places = {"socketmap": bench.socketmap, "LMTP": bench.lmtp, "HTTP": bench.http_port}
            kind, pid = Kind(name, places[name]), bench.daemon.pid
            looks, opened = [_look(pid)], 0
            for _ in range(2):
                opened += crowd.open(kind, count)
                time.sleep(1)
                looks.append(_look(pid))
            refused = crowd.refused()
        # What the system has taken and the daemon has not costs the daemon nothing.
        (none, empty), (first, half), (taken, full) = looks
        each = f"{(full - half) / (taken - first) / 1024:.1f}" if taken > first else "-"
        rows.append(
            (name, opened, taken - none, dict(refused) or "-", mebibytes(full - empty), each)
        )
    heads = ("idle on", "opened", "the daemon has", "refused", "MiB more", "KiB for one more")
    print(table(heads, rows))


def _look(pid: int) -> tuple[int, int]:
    seen = figures(pid)
    return seen.descriptors, seen.private


def _gather(bench: Bed, crowd: Crowd, sizes: Sizes) -> dict[str, int]:
    kinds = slow_kinds(bench.socketmap, bench.lmtp, bench.http_port, sizes.unread)
    opened = {kind.name: crowd.open(kind, sizes.slow // len(kinds)) for kind in kinds}
    for name, place, share in (
        ("idle on socketmap", bench.socketmap, 0.5),
        ("idle on LMTP", bench.lmtp, 0.4),
        ("idle on HTTP", bench.http_port, 0.1),
    ):
        opened[name] = crowd.open(Kind(name, place), int(sizes.idle * share))
    return opened


def _measure(bench: Bed, echo: Echo, name: str, seconds: float) -> _Phase:
    noise = asked_for(Plan(echo.path, [("aliases", "x", b"NOTFOUND ,")]), seconds)
    alone = asked_for(bench.lookup_plan(), seconds)
    senders = Senders(SenderPlan(bench.lmtp, [bench.recipients(bench.odoos[0])], clients=4)).start()
    lasting = LookupClient(bench.lookup_plan(rate=BESIDE)).start()
    fresh = LookupClient(bench.lookup_plan(rate=BESIDE, lifetime=FRESH)).start()
    time.sleep(seconds)
    return _Phase(name, noise, alone, lasting.stop(), fresh.stop(), senders.stop(), seconds)


def _print_phases(phases: list[_Phase]) -> None:
    rows = []
    for phase in phases:
        for what, taken in (
            ("an echo, for comparison", phase.echo),
            ("no mail", phase.alone),
            ("beside mail", phase.lasting),
            ("beside mail, new connections", phase.fresh),
        ):
            rows.append((phase.name, what, *latency_cells(taken.seconds), taken.failed()))
    print(table(("crowd", "lookups", *LATENCY_HEADS, "failed"), rows))
    mail = [
        (
            phase.name,
            f"{sum(one.taken for one in phase.sent) / phase.seconds:.0f}",
            outcome(phase.sent),
        )
        for phase in phases
    ]
    print(table(("crowd", "messages/s", "replies"), mail))


def _span(seconds: list[float]) -> tuple[str, str]:
    return (f"{min(seconds):.0f}", f"{max(seconds):.0f}") if seconds else ("-", "-")


def large_messages(_: Sizes) -> bool:
    """
    Print the memory that large messages at once take.
    """
    print(f"## {MESSAGES_AT_ONCE} messages of {LARGE / 1e6:g} MB at once\n")
    rows, good = [], True
    with bed("odoo") as bench:
        odoo, pid = bench.odoos[0], bench.daemon.pid
        _send_large(bench, 1, 10_000)  # all modules are loaded then
        for name, rate in (("quick", 0), ("quick", 0), ("quick", 0), ("reads slowly", SLOW_ODOO)):
            odoo.behave(read_rate=rate)
            before = bench.figures()
            reset_peak(pid)
            start = time.monotonic()
            sent = _send_large(bench, MESSAGES_AT_ONCE, LARGE)
            seconds = time.monotonic() - start
            more = peak_memory(pid) - before.rss
            kept = more < LARGE_BOUND and all(one.taken for one in sent)
            good = good and kept
            rows.append((name, outcome(sent), f"{seconds:.1f}", mebibytes(before.rss),
                         mebibytes(more), judged(kept)))  # fmt: skip
        print(table(("Odoo", "replies", "s", "before, MiB", "peak, MiB more", "under 100"), rows))
        print(f"Temporary files left: {bench.temporary_files()}, "
              f"open without a name: {bench.figures().deleted}\n")  # fmt: skip
    return good


def _send_large(bench: Bed, count: int, size: int) -> list[Sent]:
    plan = SenderPlan(
        bench.lmtp,
        [bench.recipients(bench.odoos[0])],
        clients=count,
        count=count,
        sizes=((1, size, size),),
    )
    senders = Senders(plan).start()
    while senders.running:
        time.sleep(0.05)
    return senders.stop()


def log_of_nonsense(sizes: Sizes) -> bool:
    """
    Print what nonsense makes the daemon log.
    """
    print(f"## {sizes.nonsense:,} requests of no use for each protocol\n")
    rows = []
    with bed("odoo") as bench:
        places = attacks(bench.socketmap, bench.lmtp, bench.http_port)
        for protocol, kinds in places.items():
            for attack in kinds:
                wanted = sizes.nonsense // len(kinds)
                cells = _costs(bench, lambda a=attack, n=wanted: a.run(n))
                rows.append((f"{protocol}: {attack.name}", f"{wanted:,}", *cells))
        odoo = bench.odoos[0]
        odoo.behave(state="refusing")
        cells = _costs(bench, lambda: _deferred(bench, sizes.nonsense // 100))
        rows.append(("mail while Odoo is down", f"{sizes.nonsense // 100:,}", *cells))
    print(table(("", "requests", "lines", "octets", "octets each", "s", "CPU s"),
                [(*row[:4], f"{row[4] / int(row[1].replace(',', '')):.1f}", *row[5:])
                 for row in rows]))  # fmt: skip
    return True


def _costs(bench: Bed, work: Callable[[], None]) -> tuple[str, str, int, str, str]:
    lines, octets = bench.log_lines(), bench.log_size()
    cpu, start = cpu_seconds(bench.daemon.pid), time.monotonic()
    work()
    seconds = time.monotonic() - start
    time.sleep(0.5)
    more = bench.log_size() - octets
    return (
        f"{bench.log_lines() - lines:,}",
        f"{more:,}",
        more,
        f"{seconds:.1f}",
        f"{cpu_seconds(bench.daemon.pid) - cpu:.1f}",
    )


def _deferred(bench: Bed, count: int) -> None:
    plan = SenderPlan(bench.lmtp, [bench.recipients(bench.odoos[0])], clients=4, count=count)
    senders = Senders(plan).start()
    while senders.running:
        time.sleep(0.05)
    senders.stop()


def main() -> None:
    """
    Measure all, or what is named.
    """
    parts: dict[str, Callable[[Sizes], bool]] = {
        "crowd": beside_a_crowd,
        "large": large_messages,
        "log": log_of_nonsense,
        "flood": lambda sizes: flood_descriptors(sizes.limits, sizes.seconds),
        "unread": lambda sizes: never_read(sizes.pipelined),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--idle", type=int, help="connections of the crowd, 1000")
    parser.add_argument("--slow", type=int, help="slow clients of the crowd, 200")
    parser.add_argument("--unread", type=int, default=2_000, help="lookups of each, not read")
    parser.add_argument("--limits", type=int, nargs="+", default=[256, 1024], metavar="N")
    parser.add_argument("--hold", type=float, default=0.0, help="seconds to keep the crowd")
    options = parser.parse_args()
    share = 10 if options.quick else 1
    sizes = Sizes(
        10.0 / (3 if options.quick else 1),
        options.idle or 1_000 // share,
        options.slow or 200 // share,
        options.unread,
        100_000 // share,
        tuple(options.limits),
        1_000_000 // share,
        options.hold,
    )
    print(f"{machine()}\n")
    good = [parts[name](sizes) for name in options.only]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
