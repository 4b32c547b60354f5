"""
Whether the daemon has become slower, told by counting: a busy machine makes no difference.

Instructions are those under valgrind's callgrind, of so many lookups or messages more; memory is
as tracemalloc tells it. Lines are those of a cache that are read or written for a lookup, code as
well as data, while nothing of it is in there: what a lookup takes that comes between other work
of the machine. Exits with 1 where a figure grew by more than a tenth, with 2 where there
is no baseline of this very build of Python and kind of processor. ``--accept`` makes the figures
the baseline.
"""

import paths  # noqa: F401  isort: skip
import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ground import install
from report import table

BASELINE = Path(__file__).parents[1] / "results" / "guard.json"
DRIVEN = Path(__file__).with_name("driven.py")
COUNTS = {"lookup": 1_000, "message": 200, "large message": 10}  # under callgrind
REPEATED = 10  # times as many, to see what memory they keep
ALLOWED = 1.10
# So much more says nothing.
SLACK = {"instructions": 0.0, "lines": 0.0, "peak_octets": 512.0, "kept_octets": 256.0}
COLD = 50  # lookups
CACHE = 1 << 18  # octets
_COLLECTED = re.compile(r"Collected : ([\d ]+)")
# A cache of one level, so to speak: what is in the first holds next to nothing.
_CACHES = ("--cache-sim=yes", "--I1=2048,2,64", "--D1=2048,2,64", f"--LL={CACHE},16,64")

Figures = dict[str, dict[str, float]]


def measure() -> Figures:
    """
    Return the figures of each kind.
    """
    found: Figures = {}
    for what, count in COUNTS.items():
        print(f"{what} ...", file=sys.stderr)
        more = _counted(what, 2 * count)[0] - _counted(what, count)[0]
        found[what] = {"instructions": round(more / count), **_memory(what, REPEATED * count)}
    found["lookup"]["lines"] = _lines("lookup") - _lines("nothing")
    return found


def _lines(what: str) -> int:
    """
    Return how many lines one of them takes that begins with an empty cache.
    """
    few, many = (sum(_counted(what, count, *_CACHES)[-3:]) for count in (COLD, 2 * COLD))
    return round((many - few) / COLD)


def _counted(what: str, count: int, *caches: str) -> list[int]:
    """
    Return the instructions; with caches also the rest of what callgrind then counts: the last
    three are what the last of them lacked of code, of what is read, of what is written.
    """
    cold = ["--cold", str(CACHE)] if caches else []
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *caches,
            sys.executable, str(DRIVEN), what, str(count), *cold]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, env=_environ(), timeout=1800)
    assert done.returncode == 0, done.stderr
    match = _COLLECTED.search(done.stderr)
    assert match is not None, done.stderr
    return [int(number) for number in match[1].split()]


def _memory(what: str, count: int) -> dict[str, float]:
    argv = [sys.executable, str(DRIVEN), what, str(count), "--memory"]
    done = subprocess.run(argv, capture_output=True, text=True, env=_environ(), timeout=600)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _environ() -> dict[str, str]:
    # The order of sets and dictionaries of strings is then the same each time.
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def about() -> dict[str, str]:
    """
    Return what has to be the same for figures to be compared.

    Builds of one version, as a distribution mends it, differ by less than is allowed.
    """
    python = f"{platform.python_version()}, {platform.python_compiler()}"
    return {"python": python, "machine": platform.machine()}


def compare(before: Figures, now: Figures) -> tuple[list[list[str]], bool]:
    """
    Return the rows of a table, and whether nothing has become worse.
    """
    rows, good = [], True
    for what, figures in now.items():
        for name, value in figures.items():
            old = before.get(what, {}).get(name)
            if old is None:
                rows.append([f"{what}, {name}", "", f"{value:,.0f}", "new"])
                continue
            worse = value > old * ALLOWED + SLACK[name]
            good = good and not worse
            change = f"{(value - old) / old:+.1%}" if old else f"{value - old:+,.1f}"
            word = f"**{change}**" if worse else change
            rows.append([f"{what}, {name}", f"{old:,.0f}", f"{value:,.0f}", word])
    return rows, good


def main() -> int:
    """
    Measure, compare, print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accept", action="store_true", help="make it the baseline")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        install("valgrind")
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"about": {}, "figures": {}}
    now = measure()
    is_comparable = known["about"] == about()
    rows, good = compare(known["figures"] if is_comparable else {}, now)
    print(table(("", "baseline", "now", "change"), rows))
    if options.accept:
        BASELINE.parent.mkdir(exist_ok=True)
        BASELINE.write_text(f"{json.dumps({'about': about(), 'figures': now}, indent=1)}\n")
        return 0
    if not is_comparable:
        print(f"The baseline is not of {about()}; --accept makes one.", file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
