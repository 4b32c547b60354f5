"""
One Odoo is slow, then down, beside another one that is quick: what the others notice of it.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bed import Bed, bed
from lookups import Echo, LookupClient, Plan, Taken
from report import LATENCY_HEADS, judged, latency_cells, machine, milliseconds, percentile, table
from senders import Plan as SenderPlan
from senders import Senders, Sent, outcome
from stand_in import StandIn

CLIENTS = 20  # of LMTP: default_destination_concurrency_limit, postconf(5)
SLOW = 10.0  # seconds that the slow one takes for an answer
BOUND = 0.005  # seconds: p99 of lookups
RETURN_BOUND = 5.0  # seconds from the return of a server to the first delivery
TIMEOUT = 12  # seconds: the daemon's own; a connection is given up after 10
RATE = 50.0  # messages a second, of a mail host that is busy and not at its limit
PAUSE = 0.2  # seconds after which a message that was not taken is tried again
REST = 5.0  # seconds that a server is back before mail comes
GIVE_UP = 90.0  # seconds to wait for a server that is back to be noticed
STATES = ("refusing", "hanging", "full")


@dataclass(slots=True)
class Phase:
    """
    One load, and what was measured meanwhile.

    Args:
        groups: How many clients write to which stand-ins, and how many messages a second; 0 for
            as many as are taken.
    """

    name: str
    groups: Sequence[tuple[int, Sequence[StandIn], float]]
    start: float = 0.0
    end: float = 0.0
    lookups: Taken = field(default_factory=Taken)
    echo: Taken = field(default_factory=Taken)
    sent: list[tuple[str, Sent]] = field(default_factory=list)

    def run(self, bench: Bed, echo: Echo, seconds: float) -> None:
        """
        Load the daemon for so long.
        """
        senders = [
            (odoos, Senders(_plan(bench, odoos, clients, PAUSE, rate)).start())
            for clients, odoos, rate in self.groups
        ]
        time.sleep(1 if senders else 0)
        lookups = LookupClient(bench.lookup_plan()).start()
        noise = LookupClient(Plan(echo.path, [("aliases", "x", b"NOTFOUND ,")])).start()
        self.start = time.monotonic()
        time.sleep(seconds)
        self.end = time.monotonic()
        self.lookups, self.echo = lookups.stop(), noise.stop()
        for odoo in bench.odoos:
            odoo.behave(delay=0.0)  # so that the messages under way end soon
        for odoos, one in senders:
            self.sent += [(odoos[sent.which].name, sent) for sent in one.stop()]

    def mail_cells(self, odoo: StandIn) -> list[str]:
        """
        Return messages a second, and how long they took, of one server.
        """
        sent = [one for name, one in self.sent if name == odoo.name]
        sent = [one for one in sent if self.start <= one.end <= self.end]
        seconds = [one.seconds for one in sent if one.taken]
        rate = len(seconds) / (self.end - self.start)
        shares = [milliseconds(percentile(seconds, share)) for share in (0.5, 0.99, 1.0)]
        return [f"{rate:,.1f}", *shares, outcome([one for one in sent if not one.taken])]


def _plan(
    bench: Bed, odoos: Sequence[StandIn], clients: int, pause: float, rate: float = 0.0
) -> SenderPlan:
    addresses = [bench.recipients(odoo) for odoo in odoos]
    return SenderPlan(bench.lmtp, addresses, clients=clients, pause=pause, rate=rate)


def beside_a_slow_one(seconds: float, slow: float) -> bool:
    """
    Print what lookups and the mail of a quick server suffer from a slow one.
    """
    print(f"## One server takes {slow:g} s for an answer\n")
    with bed("quick", "slow") as bench:
        quick, lame = bench.odoos
        echo = Echo(bench.folder)
        half = CLIENTS // 2
        paced, full = (half, [quick], RATE), (half, [quick], 0.0)
        slow_ones = (half, [lame], 0.0)
        phases = [
            Phase("none", []),
            Phase(f"{RATE:g}/s for quick", [paced]),
            Phase(f"{half} clients for quick", [full]),
            Phase(f"{half} for slow", [slow_ones]),
            Phase(f"{half} for slow, {RATE:g}/s for quick", [slow_ones, paced]),
            Phase(f"{half} for slow, {half} for quick", [slow_ones, full]),
            Phase(f"{CLIENTS} for either by turns", [(CLIENTS, [quick, lame], 0.0)]),
        ]
        for phase in phases:
            lame.behave(delay=slow)
            phase.run(bench, echo, seconds)
        echo.close()
    _print_lookups(phases)
    rows = [
        (phase.name, odoo.name, *phase.mail_cells(odoo))
        for phase in phases[1:]
        for odoo in bench.odoos
    ]
    heads = ("mail", "server", "messages/s", "p50 ms", "p99 ms", "max ms", "not taken")
    print(table(heads, rows))
    return all(percentile(phase.lookups.seconds, 0.99) < BOUND for phase in phases)


def _print_lookups(phases: Sequence[Phase]) -> None:
    rows = []
    for phase in phases:
        kept = percentile(phase.lookups.seconds, 0.99) < BOUND
        cells = (*latency_cells(phase.lookups.seconds), phase.lookups.failed(), judged(kept))
        rows.append((phase.name, "the daemon", *cells))
        rows.append((phase.name, "an echo", *latency_cells(phase.echo.seconds), "", ""))
    heads = ("mail", "answers of", *LATENCY_HEADS, "failed", "p99 under 5 ms")
    print(table(heads, rows))


@dataclass(slots=True)
class Outage:
    """
    A server that is down in one way, and its return.
    """

    state: str
    cells: list[list[str]] = field(default_factory=list)
    returns: list[tuple[str, float | None, float | None]] = field(default_factory=list)
    phase: Phase | None = None

    def run(self, bench: Bed, echo: Echo, seconds: float) -> None:
        """
        Take a server away and give it back: while mail is tried, without any, and before some.
        """
        self._under_load(bench, echo, seconds)
        self._without_mail(bench)
        self._with_mail_afterwards(bench)

    def _under_load(self, bench: Bed, echo: Echo, seconds: float) -> None:
        quick, lame = bench.odoos
        senders = Senders(_plan(bench, [lame], CLIENTS // 2, PAUSE)).start()
        time.sleep(1)
        lame.behave(state=self.state)
        gone = time.monotonic()
        self.phase = Phase(f"one is {self.state}", [(CLIENTS // 2, [quick], RATE)])
        self.phase.run(bench, echo, seconds)
        back = _give_back(lame)
        up = _wait_up(bench, lame) - back
        time.sleep(2)
        sent = senders.stop()
        deferred = [one for one in sent if gone < one.end < back and not one.taken]
        first = min((one.end for one in sent if one.taken and one.end > back), default=float("nan"))
        self.cells = [_deferred_cells(self.state, deferred)]
        self.returns.append(("mail is tried", first - back, up))

    def _without_mail(self, bench: Bed) -> None:
        self._take_away(bench)
        back = _give_back(bench.odoos[1])
        self.returns.append(("no mail comes", None, _wait_up(bench, bench.odoos[1]) - back))

    def _with_mail_afterwards(self, bench: Bed) -> None:
        lame = bench.odoos[1]
        self._take_away(bench)
        back = _give_back(lame)
        time.sleep(REST)
        again = Senders(_plan(bench, [lame], 1, PAUSE)).start()
        time.sleep(REST)
        first = min((one.end for one in again.stop() if one.taken), default=float("nan"))
        self.returns.append((f"mail comes {REST:g} s after", first - back - REST, None))

    def _take_away(self, bench: Bed) -> None:
        """
        Have the daemon find out that a server is down, and rest.
        """
        bench.odoos[1].behave(state=self.state)
        one = Senders(_plan(bench, [bench.odoos[1]], 1, PAUSE)).start()
        time.sleep(2 * TIMEOUT)
        one.stop()


def _give_back(odoo: StandIn) -> float:
    odoo.behave(state="answering")
    return time.monotonic()


def _wait_up(bench: Bed, odoo: StandIn) -> float:
    """
    Return when the daemon says that a server is up; nan if it never does.
    """
    start = time.monotonic()
    while bench.metric("odoo_up", server=odoo.name) != 1:
        if time.monotonic() - start > GIVE_UP:
            return float("nan")
        time.sleep(0.02)
    return time.monotonic()


def _deferred_cells(state: str, sent: Sequence[Sent]) -> list[str]:
    seconds = [one.seconds for one in sorted(sent, key=lambda one: one.end)]
    if not seconds:
        return [state, "0", *["-"] * 4, ""]
    shares = (percentile(seconds, share) for share in (0.5, 0.99, 1.0))
    times = [milliseconds(one) for one in (seconds[0], *shares)]
    return [state, f"{len(seconds):,}", *times, outcome(sent)]


def outages(seconds: float) -> bool:
    """
    Print how a server that is down is dealt with, and how soon its return is noticed.
    """
    print(f"## One server is down (timeout: {TIMEOUT}, refresh: 600)\n")
    found = []
    with bed("quick", "lame", timeout=TIMEOUT) as bench:
        echo = Echo(bench.folder)
        before = Phase("both are up", [(CLIENTS // 2, [bench.odoos[0]], RATE)])
        before.run(bench, echo, seconds)
        for state in STATES:
            outage = Outage(state)
            outage.run(bench, echo, seconds)
            found.append(outage)
        echo.close()
        lines = bench.log_lines()
    phases = [before, *(outage.phase for outage in found if outage.phase is not None)]
    _print_lookups(phases)
    heads = ("quick server", "messages/s", "p50 ms", "p99 ms", "max ms", "not taken")
    print(table(heads, [(phase.name, *phase.mail_cells(bench.odoos[0])) for phase in phases]))
    heads = ("while it is", "replies", "first ms", "p50 ms", "p99 ms", "max ms", "codes")
    print(table(heads, [cells for outage in found for cells in outage.cells]))
    returns = [(outage.state, *one) for outage in found for one in outage.returns]
    rows = [
        (state, mail, _shown(first), _shown(up), judged(_soon(first, up)))
        for state, mail, first, up in returns
    ]
    heads = ("it was", "and", "first delivery after s", "odoo_up 1 after s", "within 5 s")
    print(table(heads, rows))
    print(f"{lines:,} lines of log in all\n")
    return all(_soon(first, up) for _, _, first, up in returns)


def _soon(*seconds: float | None) -> bool:
    return all(one is None or one <= RETURN_BOUND for one in seconds)


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def main() -> None:
    """
    Measure all.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a slow server that is less so")
    options = parser.parse_args()
    print(f"{machine()}\n")
    good = beside_a_slow_one(6.0 if options.quick else 30.0, 2.0 if options.quick else SLOW)
    good = outages(6.0 if options.quick else 30.0) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
