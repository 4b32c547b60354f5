"""
A hundred thousand lookups and twenty thousand messages: does the daemon stay as it was?

Looks at it once a second while refreshes, reloads and scrapes go on; prints the medians of the
first and the last fifth after the warm-up, and draws ``docs/soak.svg``.
"""

import argparse
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from signal import SIGHUP
from statistics import median

from bed import Bed, bed
from lookups import LookupClient, Taken
from report import (
    LATENCY_HEADS,
    MIB,
    judged,
    latency_cells,
    machine,
    mebibytes,
    milliseconds,
    percentile,
    table,
)
from senders import MIXED_SIZES, Plan, Senders, Sent, outcome
from waiting import eventually

LOOKUPS = 100_000
MESSAGES = 20_000
SECONDS = 300.0  # over which both are spread
LIMIT = 570.0  # seconds after which whatever is left is given up
QUICK = 20  # so much less of everything
WARM_UP = 0.2  # the part of the samples that is not looked at
SETTLE = 12.0  # seconds of rest before the last look: kept connections to Odoo end after 10
SLACK = 4 * MIB  # octets of memory more that are no growth
DRAWING = Path(__file__).parents[1] / "docs" / "soak.svg"

# Postfix's own are 10 s of rest and 100 s of life; all is faster here.
IDLE = 0.5
LIFETIME = 5.0

# Seconds between two of each.
EVENTS = {"webhook": 7.0, "same list": 11.0, "SIGHUP": 23.0, "scrape": 5.0}


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One look at the daemon.

    Args:
        at: Seconds since the start.
        messages, lookups: So far.
        log: Octets so far.
        files: Temporary ones in the cache folder that have a name.
        deleted: Open ones without.
    """

    at: float
    messages: int
    lookups: int
    rss: int
    private: int
    descriptors: int
    threads: int
    files: int
    deleted: int
    log: int


class Soak:
    """
    Args:
        seconds: Over which the load is spread.
    """

    def __init__(self, bed: Bed, lookups: int, messages: int, seconds: float) -> None:
        self.samples: list[Sample] = []
        self.counts = dict.fromkeys(EVENTS, 0)
        self._bed = bed
        self._events: dict[str, Callable[[], None]] = {
            "webhook": self._revise,
            "same list": self._same,
            "SIGHUP": self._reload,
            "scrape": self._scrape,
        }
        self._start = time.monotonic()
        self._lookups = LookupClient(
            bed.lookup_plan(
                count=lookups,
                rate=lookups / seconds,
                connections=16,
                lifetime=LIFETIME,
                idle=IDLE,
            )
        )
        self._senders = Senders(
            Plan(
                bed.lmtp,
                [bed.recipients(bed.odoos[0])],
                clients=8,
                sizes=MIXED_SIZES,
                most_recipients=5,
                rate=messages / seconds,
                count=messages,
                per_session=50,
                broken=0.005,
            )
        )

    def run(self) -> tuple[Taken, list[Sent]]:
        """
        Load the daemon and look at it; return what became of all.
        """
        self._start = time.monotonic()
        self._look()
        self._lookups.start()
        self._senders.start()
        due = dict(EVENTS)
        while (self._lookups.running or self._senders.running) and self._now() < LIMIT:
            for name, gap in EVENTS.items():
                if self._now() >= due[name]:
                    due[name] += gap
                    self.counts[name] += 1
                    self._events[name]()
            time.sleep(max(0.0, len(self.samples) - self._now()))
            self._look()
        return self._lookups.stop(), self._senders.stop()

    def settle(self) -> Sample:
        """
        Return a last look, after a rest.
        """
        time.sleep(SETTLE)
        self._look()
        return self.samples[-1]

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _look(self) -> None:
        seen = self._bed.figures()
        self.samples.append(
            Sample(
                self._now(),
                self._senders.done.value,
                self._lookups.done.value,
                seen.rss,
                seen.private,
                seen.descriptors,
                seen.threads,
                self._bed.temporary_files(),
                seen.deleted,
                self._bed.log_size(),
            )
        )

    def _revise(self) -> None:
        self._bed.odoos[0].revise()
        self._bed.call_webhook(self._bed.odoos[0])

    def _same(self) -> None:
        self._bed.call_webhook(self._bed.odoos[0])

    def _reload(self) -> None:
        self._bed.daemon.signal(SIGHUP)

    def _scrape(self) -> None:
        for path in ("metrics", "readyz"):
            url = f"http://127.0.0.1:{self._bed.http_port}/{path}"
            with urllib.request.urlopen(url, timeout=60) as answer:
                answer.read()


def compare(samples: Sequence[Sample]) -> bool:
    """
    Print the medians of the first and the last fifth after the warm-up; say whether it is flat.
    """
    kept = samples[int(len(samples) * WARM_UP) :]
    part = max(1, len(kept) // 5)
    first, last = kept[:part], kept[-part:]
    rows, flat = [], True
    for name, slack in (
        ("private", SLACK),
        ("rss", SLACK),
        ("descriptors", 4),
        ("threads", 1),
        ("files", 0),
        ("deleted", 1),
    ):
        before, after = (median(getattr(one, name) for one in some) for some in (first, last))
        most = max(getattr(one, name) for one in samples)
        good = after - before <= slack
        flat = flat and good
        show = mebibytes if slack == SLACK else lambda number: f"{number:g}"
        rows.append((_NAMES[name], show(before), show(after), show(most), judged(good)))
    print(table(("", "first fifth", "last fifth", "most", "flat"), rows))
    return flat


_NAMES = {
    "private": "private memory, MiB",
    "rss": "resident memory, MiB",
    "descriptors": "open descriptors",
    "threads": "threads",
    "files": "files in the cache folder",
    "deleted": "open files without a name",
}


def count(bed: Bed, taken: Taken, sent: Sequence[Sent], least: Sequence[int]) -> bool:
    """
    Print what was asked and sent; say whether all of it was, and the daemon and Odoo agree.
    """
    good = [one for one in sent if one.taken]
    eventually(lambda: bed.metric("deliveries_in_flight") == 0, "the deliveries to end")
    counts = bed.odoos[0].counts()
    rows = [
        ("lookups answered", least[0], len(taken.seconds), taken.failed()),
        ("messages taken", least[1], len(good), outcome([one for one in sent if not one.taken])),
        ("messages that Odoo has", least[1], counts.messages, ""),
        ("recipients that Odoo has", sum(len(o.codes) for o in good), counts.recipients, ""),
        ("delivered, says the daemon", least[1],
         int(bed.metric("lmtp_messages_total", result="delivered")), ""),
    ]  # fmt: skip
    print(table(("", "wanted", "found", "else"), rows))
    return all(row[1] == row[2] for row in rows)


def main() -> None:
    """
    Run it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"1/{QUICK} of everything; no drawing")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="to spread the load over")
    parser.add_argument("--drawing", type=Path, default=DRAWING, help="docs/soak.svg")
    options = parser.parse_args()
    share = QUICK if options.quick else 1
    wanted = (LOOKUPS // share, MESSAGES // share)
    print(f"{machine()}\n")
    with bed("odoo", refresh=30) as bench:
        soak = Soak(bench, *wanted, options.seconds / share)
        taken, sent = soak.run()
        seconds = soak.samples[-1].at
        flat = compare(soak.samples)
        complete = count(bench, taken, sent, wanted)
        last, start = soak.settle(), soak.samples[0]
        _print_rest(soak, taken, sent, seconds)
        rows = [
            (_NAMES[f.name], *(_shown(f.name, getattr(one, f.name)) for one in (start, last)))
            for f in fields(Sample)
            if f.name in _NAMES
        ]
        print(table(("at rest", "before", f"{SETTLE:g} s after"), rows))
    if not options.quick:
        from soak_drawing import draw

        draw(soak.samples[:-1], options.drawing)
    sys.exit(0 if flat and complete else 1)


def _print_rest(soak: Soak, taken: Taken, sent: Sequence[Sent], seconds: float) -> None:
    last = soak.samples[-1]
    times = [one.seconds for one in sent]
    events = ", ".join(f"{count} x {name}" for name, count in soak.counts.items())
    print(
        f"{seconds:.0f} s; {events}; log {last.log:,} octets, {last.log / len(sent):.0f} a message"
    )
    print(f"messages: p50 {milliseconds(median(times))} ms, p99 "
          f"{milliseconds(percentile(times, 0.99))} ms\n")  # fmt: skip
    print(table(LATENCY_HEADS, [latency_cells(taken.seconds)]))


def _shown(name: str, number: float) -> str:
    return mebibytes(number) if name in ("rss", "private") else f"{number:g}"


if __name__ == "__main__":
    main()
