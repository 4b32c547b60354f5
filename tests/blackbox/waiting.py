"""
Waiting with a deadline, and ports that are free.
"""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from random import SystemRandom
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 30.0  # seconds; generous, so that a busy machine fails nothing
STEP = 0.05  # seconds between two looks

_PORTS = iter(SystemRandom().sample(range(10_000, 32_768), 22_768))


def eventually(
    look: Callable[[], T],
    what: str,
    meanwhile: Callable[[], object] | None = None,
    deadline: float = DEADLINE,
) -> T:
    """
    Return what ``look`` gives as soon as that is true.

    Args:
        look: Called every twentieth of a second.
        what: Named in the failure.
        meanwhile: Called about once a second while waiting.
        deadline: Seconds.

    Raises:
        AssertionError: It did not become true in time.
    """
    start = time.monotonic()
    nudged = start
    while not (found := look()):
        now = time.monotonic()
        if now - start > deadline:
            raise AssertionError(f"waited {deadline:.0f} s in vain for {what}")
        if meanwhile is not None and now - nudged > 1:
            nudged = now
            meanwhile()
        time.sleep(STEP)
    return found


def free_port() -> int:
    """
    Return a port of 127.0.0.1 on which nobody listens, another one each time.

    None of those that Linux gives to outgoing connections (ip(7), ``ip_local_port_range``): a
    server that rests would find one of them on its port when it starts again.
    """
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("every port was given")
