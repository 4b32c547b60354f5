"""
More connections than the daemon has descriptors.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

from bed import Bed, bed
from crowd import Crowd, Kind, connected
from lookups import LookupClient, Taken
from process import cpu_seconds
from programs import ask
from report import LATENCY_HEADS, judged, latency_cells, milliseconds, percentile, table
from senders import Plan as SenderPlan
from senders import Senders, Sent, outcome

BEYOND = 200  # connections more than there are descriptors
RECOVERY = 60.0  # seconds within which it must have recovered


def flood_descriptors(limits: Sequence[int], seconds: float) -> bool:
    """
    Print how the daemon stands having no descriptor left.

    Args:
        limits: Descriptors that it may have.
        seconds: Of each measurement.
    """
    print("## More connections than descriptors\n")
    rows, mail, good = [], [], True
    for limit in limits:
        for protocol in ("socketmap", "LMTP", "HTTP"):
            with bed("odoo", descriptors=limit) as bench, Crowd() as crowd:
                flood = _Flood(bench, crowd, protocol, limit + BEYOND)
                flood.run(seconds)
                flood.recover()
            rows.append((limit, protocol, *flood.cells()))
            mail.append((limit, protocol, *flood.mail_cells()))
            good = good and not flood.taken.failures and flood.recovered
    print(table(("limit", "flood on", "opened", "left", *LATENCY_HEADS, "knocking: p50 ms",
                 "p99 ms", "max ms", "failed", "knocks", "CPU", "CPU at rest", "lines of log"),
                rows))  # fmt: skip
    print(table(("limit", "flood on", "mail of an old session", "of new ones", "lookup after s",
                 "mail after s", "list after s", "recovered"), mail))  # fmt: skip
    return good


class _Flood:
    """
    One flood, and a client of each kind that was there before it.
    """

    def __init__(self, bench: Bed, crowd: Crowd, protocol: str, count: int) -> None:
        places = {"socketmap": bench.socketmap, "LMTP": bench.lmtp, "HTTP": bench.http_port}
        self._bench = bench
        self._crowd = crowd
        self._place = places[protocol]
        self._count = count
        self.taken = Taken()
        self._opened = self._left = self._knocks = 0
        self._full = self._knocking = (0.0, 0.0)
        self._old: list[Sent] = []
        self._new: list[Sent] = []
        self._cpu: list[float] = []
        self._lines = 0
        self._after = [float("nan")] * 3
        bench.odoos[0].behave(keeps=False)  # as Odoo's workers: each call needs a descriptor

    def run(self, seconds: float) -> None:
        """
        Open the flood beside clients that are connected; knock; then look at it alone.
        """
        bench, recipients = self._bench, [self._bench.recipients(self._bench.odoos[0])]
        lines = bench.log_lines()
        client = LookupClient(bench.lookup_plan(rate=200, reconnects=False)).start()
        plan = SenderPlan(bench.lmtp, recipients, clients=1, rate=5, per_session=1_000_000)
        senders = Senders(plan).start()
        time.sleep(1)
        start = time.monotonic()
        self._opened = self._crowd.open(Kind("flood", self._place), self._count)
        newcomers = Senders(
            SenderPlan(bench.lmtp, recipients, clients=1, rate=5, per_session=1)
        ).start()
        time.sleep(seconds)
        middle = time.monotonic()
        self._cost(lambda: self._knock(middle + seconds))
        end = time.monotonic()
        self._left = self._crowd.left()["flood"]
        self._new = newcomers.stop()
        self._old = [one for one in senders.stop() if one.end > start]
        self.taken = client.stop()
        self._full, self._knocking = (start, middle), (middle, end)
        self._cost(lambda: time.sleep(seconds))
        self._lines = bench.log_lines() - lines

    def _cost(self, work: Callable[[], None]) -> None:
        cpu, start = cpu_seconds(self._bench.daemon.pid), time.monotonic()
        work()
        passed = time.monotonic() - start
        self._cpu.append((cpu_seconds(self._bench.daemon.pid) - cpu) / passed)

    def _knock(self, until: float) -> None:
        """
        Connect again and again, where there is no place.
        """
        while time.monotonic() < until:
            self._knocks += 1
            with contextlib.suppress(OSError), connected(self._place, 1.0) as connection:
                connection.recv(1)  # until it is closed, or some greeting came
            time.sleep(0.001)

    def recover(self) -> None:
        """
        End the flood, and see when lookups, mail and refreshes of new clients go on.
        """
        start = time.monotonic()
        self._crowd.close()
        for number, work in enumerate((self._lookup, self._mail, self._refresh)):
            while time.monotonic() - start < RECOVERY and not work():
                time.sleep(0.02)
            self._after[number] = time.monotonic() - start

    @property
    def recovered(self) -> bool:
        """Whether all of it was in time."""
        return self._after[-1] < RECOVERY

    def _lookup(self) -> bool:
        try:
            address = self._bench.odoos[0].address(1)
            return ask(self._bench.socketmap, "aliases", address) == f"OK {address}"
        except (OSError, ValueError):
            return False

    def _mail(self) -> bool:
        recipients = [self._bench.recipients(self._bench.odoos[0])]
        senders = Senders(SenderPlan(self._bench.lmtp, recipients, clients=1, count=1)).start()
        return all(one.taken for one in senders.stop())

    def _refresh(self) -> bool:
        try:
            self._bench.refreshed(self._bench.odoos[0], deadline=RECOVERY)
        except (OSError, AssertionError):
            return False
        return True

    def cells(self) -> list[str]:
        """
        Return what the connected saw, and what it cost.
        """
        full, knocking = (self.taken.between(*span) for span in (self._full, self._knocking))
        return [
            f"{self._opened:,}",
            f"{self._left:,}",
            *latency_cells(full),
            *(milliseconds(percentile(knocking, share)) for share in (0.5, 0.99, 1.0)),
            self.taken.failed(),
            f"{self._knocks:,}",
            *(f"{cpu:.0%}" for cpu in self._cpu),
            f"{self._lines:,}",
        ]

    def mail_cells(self) -> list[str]:
        """
        Return what became of mail, and of everything afterwards.
        """
        return [
            outcome(self._old),
            outcome(self._new),
            *(f"{seconds:.2f}" for seconds in self._after),
            judged(self.recovered),
        ]
