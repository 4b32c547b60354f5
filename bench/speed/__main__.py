"""
``python bench/speed``: all measurements, their results as files, and the page made of them.
"""

import paths  # noqa: F401  isort: skip
import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import drawing
import measure_list
import measure_lmtp
import measure_postfix
import measure_socketmap
import measure_start
import page
from ground import build, commit, has_postfix, install, machine, precedence
from results import SECTIONS, Results, save
from targets import TARGETS


@dataclass(frozen=True, slots=True)
class Effort:
    """
    How much is done.

    Args:
        seconds: Of one load.
        messages: That Postfix accepts in one round.
        messages_rounds: Instead of ``rounds``, for those.
        pairs: Of lookups with a short and a long list.
        refreshes: Of each kind, of a list.
    """

    rounds: int
    seconds: float
    messages: int
    messages_rounds: int
    pairs: int
    refreshes: int
    lmtp_loads: tuple[str, ...]


QUICK = Effort(3, 1.0, 200, 20, 10, 1, measure_lmtp.QUICK)
FULL = Effort(7, 3.0, 200, 175, 24, 5, tuple(measure_lmtp.LOADS))

_NO_POSTFIX = "postfix postfix/main_mailer_type select No configuration\n"
_MEASURES: dict[str, Callable[[Effort], object]] = {
    "socketmap": lambda effort: measure_socketmap.measure(effort.rounds, effort.seconds),
    "lmtp": lambda effort: measure_lmtp.measure(effort.rounds, effort.seconds, effort.lmtp_loads),
    "list": lambda effort: measure_list.measure(
        effort.rounds, effort.seconds, effort.pairs, effort.refreshes
    ),
    "start": lambda effort: measure_start.measure(effort.rounds),
    "postfix": lambda effort: measure_postfix.measure(effort.messages_rounds, effort.messages),
}


def main() -> int:
    """
    Measure; return 0 whatever was reached, 1 if there is no page of it yet.
    """
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer, more rounds, all loads")
    parser.add_argument("--rounds", type=int, help="so many rounds instead")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("A Postfix of its own can be started by root only.", file=sys.stderr)
        return os.EX_NOPERM
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if not has_postfix():
        # Without a configuration nothing of it is started.
        install("postfix", "postfix-lmdb", answers=_NO_POSTFIX)
    build()
    effort = FULL if options.full else QUICK
    if options.rounds:
        effort = replace(effort, rounds=options.rounds, messages_rounds=options.rounds)
    of_commit = commit()  # now: the first results would make it another
    for name in options.sections or SECTIONS:
        about = {"commit": of_commit, "effort": "full" if options.full else "quick"}
        _measure(name, effort, about)
    try:
        results = Results()
    except FileNotFoundError as error:
        print(f"The page is not written: {error.filename} is missing.", file=sys.stderr)
        return 1
    page.write(results)
    drawing.draw(results)
    for target in TARGETS:
        print(page.target_line(target, results))
    return 0


def _measure(name: str, effort: Effort, about: dict[str, str]) -> None:
    """
    Measure a section and save it, with when, of what and how thoroughly it was measured.
    """
    date, load_before = time.strftime("%Y-%m-%d"), round(os.getloadavg()[0], 2)
    start = time.monotonic()
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    with precedence():
        figures = _MEASURES[name](effort)
    took = round(time.monotonic() - start)
    print(f"{took} s", file=sys.stderr)
    rounds = effort.messages_rounds if name == "postfix" else effort.rounds
    measured = {
        "date": date,
        **about,
        "rounds": rounds,
        "seconds": took,
        "load_before": load_before,
    }
    save(name, {"machine": machine(), "measured": measured, "figures": figures})


if __name__ == "__main__":
    sys.exit(main())
