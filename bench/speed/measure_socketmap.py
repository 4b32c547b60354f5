"""
Lookups a second, and how long one takes.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ground import LOAD_CORE, SERVER_CORE, Ground, ground, pinned, run_load
from results import Figures
from rounds import Measure, Rounds, measure_in_turn
from servers import Served, all_running, c_socketmap, daemon, mta_sts_resolver
from targets import OURS, PYTHON, RATE

ADDRESSES = 10_000
SERVERS: dict[str, Served] = {
    OURS: daemon,
    "C": c_socketmap,
    **dict(zip(PYTHON, map(mta_sts_resolver, ("asyncio", "uvloop")), strict=True)),
}

# Connections, requests under way on each, and the core of the load. Where one client waits for
# one server they never run at once; on two cores it would be the waking up that is measured.
LOADS = {
    "1": (1, 1, SERVER_CORE),
    "1, two cores": (1, 1, LOAD_CORE),
    "8": (8, 1, LOAD_CORE),
    "64": (64, 1, LOAD_CORE),
    "8, 16 pipelined": (8, 16, LOAD_CORE),
}
MAPS = ("lmdb", "hash")
BATCHES = 10  # of two lookups for each address, for postmap


def measure(rounds: int, seconds: float) -> dict[str, Rounds | dict[str, list[Figures]]]:
    """
    Return the figures of all servers, and those of postmap.
    """

    @contextmanager
    def started() -> Iterator[Measure]:
        with all_running(SERVERS, ADDRESSES) as running:

            def one(server: str, load: str) -> Figures:
                here, served = running[server]
                connections, depth, core = LOADS[load]
                return run_load(
                    "socketmap_load", served.socketmap, here.lookups, connections, depth, seconds,
                    core=core, server=served.pid, per="lookups",
                )  # fmt: skip

            yield one

    servers = measure_in_turn(rounds, list(SERVERS), list(LOADS), started)
    with ground(ADDRESSES) as here:
        return {"servers": servers, "postmap": _postmap(here, rounds)}


def _postmap(here: Ground, rounds: int) -> dict[str, list[Figures]]:
    """
    Return what Postfix's own maps reach in one process that reads its keys from a pipe.
    """
    source = here.folder / "virtual"
    (here.folder / "main.cf").write_text("compatibility_level = 3.6\n")
    source.write_text("".join(f"{name} {name}\n" for name in here.names))
    keys = "".join(f"{name}\nno-{name}\n" for name in here.names).encode() * BATCHES
    found: dict[str, list[Figures]] = {}
    for kind in MAPS:
        argv = ["postmap", "-c", str(here.folder)]
        subprocess.run([*argv, f"{kind}:{source}"], check=True)
        argv = pinned(SERVER_CORE, [*argv, "-q", "-", f"{kind}:{source}"])
        found[kind] = [_batch(argv, keys) for _ in range(rounds)]
    return found


def _batch(argv: list[str], keys: bytes) -> Figures:
    """
    Return the lookups a second, without the start of the process.
    """
    one = _seconds(argv, keys[: keys.index(b"\n") + 1])
    return {RATE: round(2 * ADDRESSES * BATCHES / (_seconds(argv, keys) - one))}


def _seconds(argv: list[str], keys: bytes) -> float:
    start = time.monotonic()
    done = subprocess.run(argv, input=keys, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return time.monotonic() - start
