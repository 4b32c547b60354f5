"""
Results as files, and as figures that can be compared.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median, stdev
from typing import Any

Figures = dict[str, float]  # of one round

MEDIAN = 1.2533  # times as uncertain as the mean, of what is distributed normally
FOLDER = Path(__file__).parents[1] / "results"
SECTIONS = ("socketmap", "lmtp", "list", "start", "postfix")


class Results:
    """
    One set of results.

    Args:
        folder: Of the files, one for each section.

    Raises:
        FileNotFoundError: A section is missing.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._sections = {name: json.loads(_path(folder, name).read_text()) for name in SECTIONS}

    def section(self, name: str) -> Any:
        """
        Return all of one section.
        """
        return self._sections[name]

    def rounds(self, section: str, *keys: str) -> list[Figures]:
        """
        Return the figures of every round; the keys lead there, as in the file.
        """
        found = self._sections[section]["figures"]
        for key in keys:
            found = found[key]
        assert isinstance(found, list)
        return found

    def middle(self, section: str, *keys: str) -> float:
        """
        Return the median of the rounds; the last key is the name of a figure.
        """
        return median(one[keys[-1]] for one in self.rounds(section, *keys[:-1]))

    def worst(self, section: str, *keys: str) -> float:
        """
        Return the greatest of the rounds, likewise.
        """
        return max(one[keys[-1]] for one in self.rounds(section, *keys[:-1]))

    def ratio(self, section: str, server: str, other: str, load: str, figure: str) -> float:
        """
        Return the median of the ratios of two servers, each taken within one round.
        """
        return median(self.ratios_to(section, server, other, load, figure))

    def ratios_to(
        self, section: str, server: str, other: str, load: str, figure: str
    ) -> list[float]:
        """
        Return those of all rounds.
        """
        ours, theirs = ((section, "servers", each, load) for each in (server, other))
        return self.ratios(ours, theirs, figure)

    def least_ratios_to(
        self, section: str, server: str, others: Iterable[str], load: str, figure: str
    ) -> list[float]:
        """
        Return those to the best of several servers.
        """
        found = (self.ratios_to(section, server, other, load, figure) for other in others)
        return min(found, key=median)

    def ratios(self, ours: Sequence[str], theirs: Sequence[str], figure: str) -> list[float]:
        """
        Return those of any two measurements that took turns: each a section and names within.
        """
        pairs = zip(self.rounds(*ours), self.rounds(*theirs), strict=True)
        return [one[figure] / another[figure] for one, another in pairs]


def uncertainty(values: Sequence[float]) -> float:
    """
    Return the standard error of the median of some values; of one alone it is infinite.
    """
    if len(values) < 2:
        return math.inf
    return float(MEDIAN * stdev(values) / len(values) ** 0.5)


def save(name: str, content: dict[str, Any], folder: Path = FOLDER) -> None:
    """
    Write the results of a section.
    """
    folder.mkdir(exist_ok=True)
    _path(folder, name).write_text(f"{json.dumps(content, indent=1)}\n")


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
