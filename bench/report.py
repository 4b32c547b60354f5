"""
Figures as Markdown.
"""

import os
import platform
from collections.abc import Iterable, Sequence

MIB = 1_048_576


def percentile(values: Sequence[float], share: float) -> float:
    """
    Return the value that this share of them, 0 to 1, does not exceed; nan if there are none.
    """
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """
    Return a Markdown table; all columns but the first are aligned right.
    """
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def milliseconds(seconds: float) -> str:
    """
    Return a duration in milliseconds.
    """
    return f"{seconds * 1000:,.2f}" if seconds < 0.1 else f"{seconds * 1000:,.0f}"


def mebibytes(octets: float) -> str:
    """
    Return a size in MiB.
    """
    return f"{octets / MIB:,.1f}"


def latency_cells(seconds: Sequence[float]) -> list[str]:
    """
    Return how many there were, p50, p99, p99.9 and the longest, in milliseconds.
    """
    shares = (0.5, 0.99, 0.999, 1.0)
    return [f"{len(seconds):,}", *(milliseconds(percentile(seconds, share)) for share in shares)]


LATENCY_HEADS = ("lookups", "p50 ms", "p99 ms", "p99.9 ms", "max ms")


def machine() -> str:
    """
    Say where this runs, and how busy it is already.
    """
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load average {load:.2f} before"
    )


def judged(good: bool) -> str:
    """
    Return a word for a bound that was kept or not.
    """
    return "yes" if good else "**no**"
