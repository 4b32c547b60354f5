"""
Several rounds of the same measurements, in which the servers take turns.
"""

from collections.abc import Callable, Mapping, Sequence

from results import Figures

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
        count: Rounds, each of all servers: a slow minute hits all of them.
        measure: Returns the figures of one server, by load.
    """
    rounds: Rounds = {server: {load: [] for load in loads} for server in servers}
    for number in range(count):
        # Not always in the same order.
        for server in servers if number % 2 == 0 else servers[::-1]:
            for load, figures in measure(server, loads).items():
                rounds[server][load].append(figures)
    return rounds
