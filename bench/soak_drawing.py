"""
The drawing of a soak: the same samples give the same file.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from report import MIB

if TYPE_CHECKING:
    from soak import Sample

POINTS = 100  # of a line at most: so much fits the width
_LONG = re.compile(r"\d+\.\d{2,}")  # a number with more digits than can be seen
STYLE = {
    "svg.hashsalt": "soak",  # else the names inside differ with each run
    "svg.fonttype": "none",  # text stays text, which is small
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "path.simplify": True,
}


def draw(samples: "Sequence[Sample]", path: Path) -> None:
    """
    Draw memory, descriptors and messages over time.
    """
    step = -(-len(samples) // POINTS)
    # The most of each step: a peak must not be lost between two points.
    steps = [samples[n : n + step] for n in range(0, len(samples), step)]
    at = [some[-1].at for some in steps]

    def line(axes: Axes, name: str, label: str, color: str, scale: float = 1) -> None:
        values = [max(getattr(one, name) for one in some) / scale for some in steps]
        axes.plot(at, [round(value, 2) for value in values], color=color, label=label, lw=1.2)

    with mpl.rc_context(STYLE):
        figure, (memory, descriptors, messages) = plt.subplots(
            3, 1, sharex=True, figsize=(7.2, 5.4), layout="constrained"
        )
        line(memory, "rss", "resident", "#8888cc", MIB)
        line(memory, "private", "private", "#223388", MIB)
        memory.set_ylabel("memory, MiB")
        line(descriptors, "descriptors", "open descriptors", "#226633")
        line(descriptors, "deleted", "files without a name", "#cc8833")
        line(descriptors, "threads", "threads", "#888888")
        descriptors.set_ylabel("count")
        line(messages, "messages", "messages", "#223388", 1000)
        line(messages, "lookups", "lookups", "#226633", 1000)
        messages.set_ylabel("thousands")
        messages.set_xlabel("seconds")
        for axes in (memory, descriptors, messages):
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)
            axes.legend(loc="center right", fontsize=8, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    path.write_text("".join(map(shortened, path.read_text().splitlines(keepends=True))))


def shortened(line: str) -> str:
    """
    Return a line without digits that cannot be seen, and without spaces at its end.
    """
    if line.startswith(("L ", "M ")) or ' d="M' in line:
        line = _LONG.sub(lambda number: f"{float(number[0]):.1f}", line)
    return f"{line.rstrip()}\n"
