"""
Several rounds of the same measurements, in which the servers take turns.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from results import Figures

Rounds = dict[str, dict[str, list[Figures]]]  # of a server, of a load
Measure = Callable[[str, str], Figures]  # of a server under a load


def measure_in_turn(
    count: int,
    servers: Sequence[str],
    loads: Sequence[str],
    started: Callable[[], AbstractContextManager[Measure]],
) -> Rounds:
    """
    Return the figures of every server under every load.

    Args:
        count: Rounds, each of all servers: a slow minute hits all of them, and a slow second, as
            one load follows the other only when all servers had it.
        started: Begins what a round needs, and gives what measures.
    """
    rounds: Rounds = {server: {load: [] for load in loads} for server in servers}
    for number in range(count):
        with started() as measure:
            for load in loads:
                # Not always in the same order.
                for server in servers if number % 2 == 0 else servers[::-1]:
                    rounds[server][load].append(measure(server, load))
    return rounds
