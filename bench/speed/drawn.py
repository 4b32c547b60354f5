"""
What the drawing of docs/performance.md shows: also for those who cannot draw.
"""

from dataclasses import dataclass

from results import Results
from targets import MESSAGES, RATE, TAKING


@dataclass(frozen=True, slots=True)
class Chart:
    """
    One half of it.

    Args:
        bars: For each server, in the order of the ticks.
    """

    label: str
    below: str
    ticks: tuple[str, ...]
    bars: dict[str, list[float]]


def charts(results: Results) -> tuple[Chart, Chart]:
    """
    Return lookups and messages a second, each as a part of what the least server reaches.
    """
    loads = ("1", "8", "64")
    servers = results.section("socketmap")["figures"]["servers"]
    lookups = {
        server: [results.ratio("socketmap", server, "C", load, RATE) for load in loads]
        for server in servers
        if server != "C"
    }
    sizes = ("5 kB", "1 MB", "25 MB")
    messages = {
        server: [
            results.ratio("lmtp", server, "smtp-sink", f"{size}, 8 sessions, 1 recipient", MESSAGES)
            for size in sizes
        ]
        for server in (TAKING, "aiosmtpd")
    }
    return (
        Chart("lookups a second, of C", "connections", loads, lookups),
        Chart("messages a second, of smtp-sink", "8 sessions", sizes, messages),
    )


def description(results: Results) -> str:
    """
    Return the drawn numbers as text, which the file carries: it tells whether the file is stale.
    """
    return "; ".join(
        f"{chart.label}, {server}: {' '.join(f'{value:.4g}' for value in values)}"
        for chart in charts(results)
        for server, values in chart.bars.items()
    )
