"""
The drawing of docs/performance.md: how much of the practical limit is reached.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from results import Results
from soak_drawing import STYLE, shortened
from targets import MESSAGES, RATE, TAKING

PICTURE = Path(__file__).parents[2] / "docs" / "performance.svg"
_COLORS = ("#223388", "#888888", "#cc8833", "#226633")
_SIZES = ("5 kB", "1 MB", "25 MB")
_CONNECTIONS = ("1", "8", "64")


def draw(results: Results, path: Path = PICTURE) -> None:
    """
    Draw lookups and messages a second, each as a part of what the least server reaches.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": "speed"}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
        servers = results.section("socketmap")["figures"]["servers"]
        others = [server for server in servers if server != "C"]
        bars = {
            server: [results.ratio("socketmap", server, "C", load, RATE) for load in _CONNECTIONS]
            for server in others
        }
        _bars(left, bars, _CONNECTIONS, "lookups a second, of C", "connections")
        bars = {
            server: [
                results.ratio("lmtp", server, "smtp-sink", f"{size}, 8 sessions, 1 recipient",
                              MESSAGES)
                for size in _SIZES
            ]
            for server in (TAKING, "aiosmtpd")
        }  # fmt: skip
        _bars(right, bars, _SIZES, "messages a second, of smtp-sink", "8 sessions")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    path.write_text("".join(map(shortened, path.read_text().splitlines(keepends=True))))


def _bars(
    axes: Axes, bars: dict[str, list[float]], ticks: Sequence[str], label: str, below: str
) -> None:
    width = 0.8 / len(bars)
    for number, (name, values) in enumerate(bars.items()):
        places = [at - 0.4 + width * (number + 0.5) for at in range(len(ticks))]
        axes.bar(places, values, width * 0.9, label=name, color=_COLORS[number])
    axes.axhline(1, color="#444444", lw=0.8)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_ylabel(label)
    axes.set_xlabel(below)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", fontsize=7, frameon=False)


if __name__ == "__main__":
    draw(Results())
