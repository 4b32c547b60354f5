"""
Messages a second: taken alone, and through to an Odoo that answers at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ground import LOAD_CORE, SERVER_CORE, run_load
from process import peak_memory, reset_peak
from results import Figures
from rounds import Measure, Rounds, measure_in_turn
from servers import Served, aiosmtpd, all_running, daemon, receiver, smtp_sink
from targets import TAKING, THROUGH

ADDRESSES = 10_000
SERVERS: dict[str, Served] = {
    TAKING: receiver,
    THROUGH: daemon,
    "smtp-sink": smtp_sink,
    "aiosmtpd": aiosmtpd,
}
SIZES = {"5 kB": 5_000, "1 MB": 1_000_000, "25 MB": 25_000_000}
LARGE = 1_000_000  # octets; few of them fit into the time, see ``lmtp_load.c``
WARM_UP = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Load:
    """
    One load.

    Args:
        size: Octets of a message.
        recipients: Of a message.
    """

    sessions: int
    size: int
    recipients: int

    @property
    def core(self) -> int:
        """That of the server where they never run at once, see ``measure_socketmap``."""
        return SERVER_CORE if self.sessions == 1 else LOAD_CORE

    @property
    def warm_up(self) -> float:
        """Seconds that are not counted."""
        return 0.0 if self.size >= LARGE else WARM_UP


LOADS = {
    f"{name}, {sessions} {'session' if sessions == 1 else 'sessions'}, {recipients} "
    f"{'recipient' if recipients == 1 else 'recipients'}": Load(sessions, size, recipients)
    for name, size in SIZES.items()
    for sessions in (1, 8)
    for recipients in (1, 5)
}
QUICK = tuple(name for name, load in LOADS.items() if load.size < LARGE or load.recipients == 1)


def measure(rounds: int, seconds: float, loads: Sequence[str]) -> dict[str, Rounds]:
    """
    Return the figures of all servers.
    """

    @contextmanager
    def started() -> Iterator[Measure]:
        with all_running(SERVERS, ADDRESSES) as running:

            def one(server: str, name: str) -> Figures:
                here, served = running[server]
                load = LOADS[name]
                reset_peak(served.pid)
                figures = run_load(
                    "lmtp_load", served.lmtp, here.addresses, load.sessions, load.size,
                    load.recipients, load.warm_up, seconds,
                    core=load.core, server=served.pid, per="messages",
                )  # fmt: skip
                return {**figures, "peak_memory": peak_memory(served.pid)}

            yield one

    return {"servers": measure_in_turn(rounds, list(SERVERS), loads, started)}
