"""
Several rounds of the same measurements, in which the servers take turns.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from ground import Figures

Rounds = dict[str, dict[str, list[Figures]]]  # of a server, of a load


def measure_in_turn(
    count: int,
    servers: Sequence[str],
    loads: Sequence[str],
    measure: Callable[[str, Sequence[str]], Mapping[str, Figures]],
) -> Rounds:
    """
    Return the figures of every server under every load.

    Args:
        count: Rounds. Each server is started anew in each: a slow minute hits all of them.
        measure: Returns the figures of one server, by load.
    """
    rounds: Rounds = {server: {load: [] for load in loads} for server in servers}
    for number in range(count):
        # Not always in the same order.
        for server in servers if number % 2 == 0 else servers[::-1]:
            for load, figures in measure(server, loads).items():
                rounds[server][load].append(figures)
    return {
        server: {load: found for load, found in by_load.items() if found}
        for server, by_load in rounds.items()
    }


def middle(rounds: Rounds, server: str, load: str, key: str) -> float:
    """
    Return the median of the rounds.
    """
    return median(figures[key] for figures in rounds[server][load])


def ratio(rounds: Rounds, server: str, other: str, load: str, key: str) -> float:
    """
    Return the median of the ratios of two servers, each taken within one round.
    """
    pairs = zip(rounds[server][load], rounds[other][load], strict=True)
    return median(one[key] / another[key] for one, another in pairs)
