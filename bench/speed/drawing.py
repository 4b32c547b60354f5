"""
The drawing of docs/performance.md: how much of the practical limit is reached.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib as mpl

mpl.use("svg")

from drawn import Chart, charts, description
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from results import Results
from soak_drawing import STYLE, shortened

PICTURE = Path(__file__).parents[2] / "docs" / "performance.svg"
_COLORS = ("#223388", "#888888", "#cc8833", "#226633")


def draw(results: Results, path: Path = PICTURE) -> None:
    """
    Draw both charts; the numbers are in the file, too.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": "speed"}):
        figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
        for each, chart in zip(axes, charts(results), strict=True):
            _bars(each, chart)
        metadata = {"Date": None, "Creator": None, "Description": description(results)}
        figure.savefig(path, format="svg", metadata=metadata)
        plt.close(figure)
    path.write_text("".join(map(shortened, path.read_text().splitlines(keepends=True))))


def _bars(axes: Axes, chart: Chart) -> None:
    width = 0.8 / len(chart.bars)
    for number, (name, values) in enumerate(chart.bars.items()):
        places = [at - 0.4 + width * (number + 0.5) for at in range(len(chart.ticks))]
        axes.bar(places, values, width * 0.9, label=name, color=_COLORS[number])
    axes.axhline(1, color="#444444", lw=0.8)
    axes.set_xticks(range(len(chart.ticks)), chart.ticks)
    axes.set_ylabel(chart.label)
    axes.set_xlabel(chart.below)
    axes.grid(axis="x", visible=False)
    axes.set_axisbelow(True)
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # the legend stands above bars and line
    axes.legend(loc="upper left", fontsize=7, frameon=False)


if __name__ == "__main__":
    draw(Results())
