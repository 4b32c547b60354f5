"""
The campaign: mail through a real Postfix and the daemon, while Odoo fails in every way.

Run as a program it prints a report, and fails on any breach of the promise. The
plan of messages, faults and kills follows from the seed; how the threads
interleave differs from run to run.
"""

import argparse
import itertools
import random
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from campaign_report import Result, counts_of
from checker import Evidence, Violation, check
from clients import Client
from disturbances import DiskFaults, Disturbance, Killer, ListEditor, Notifier, SmallDisk
from evidence import bounces_in, copies_in, local_copies, read_odoo_log, trouble_in
from faulty_proxy import REFUSED, FaultyProxy
from host import TIMEOUT, CampaignHost
from installation import TOKEN
from journal import Journal, ListHistory
from mail_host import LOCAL
from messages import CHANGING, JOBS, STEADY, messages_of
from postfix import missing
from waiting import eventually

SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP")


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a run consists of.

    Args:
        messages: In all.
        rate: Messages a second that the clients aim at.
        clients: How many send at once.
        kills, disk, edits, calls: Pauses of the disturbances, in seconds.
        patience: Seconds for all messages to be taken, and again for the queue to be empty.
        failing: Whether anything goes wrong at all.
    """

    seed: str
    messages: int
    rate: float = 8.0
    clients: int = 8
    kills: tuple[float, float] = (0.5, 2.5)
    disk: tuple[float, float] = (1.0, 4.0)
    edits: tuple[float, float] = (0.5, 2.0)
    calls: tuple[float, float] = (0.0, 0.5)
    patience: float = 240.0
    failing: bool = True


class Campaign:
    """
    One run.

    Args:
        folder: Empty, with a short path.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self.folder = folder
        certificates = folder / "tls"
        certificates.mkdir()
        self._proxy = FaultyProxy(plan.seed, certificates, TIMEOUT)
        self._host = CampaignHost(folder, self._proxy.urls, self._proxy.ca)
        self._journal = Journal(folder / "journal.jsonl")
        self._disk = SmallDisk(self._host.cache)
        self._killer: Killer | None = None
        self._stop = threading.Event()
        self._notes: list[str] = []
        self._violations: list[Violation] = []

    def run(self) -> Result:
        """
        Make it; everything that was started is ended.
        """
        started = time.monotonic()
        self._proxy.start(self._host.odoo_port)
        try:
            self._install()
            disturbances = self._make_disturbances()
            self._send(disturbances)
            self._heal()
            ended, queued = time.time(), self._host.postfix.queued()
        finally:
            self._proxy.failing = False
            self._stop.set()
            self._host.stop()
            self._disk.unmount()
            self._proxy.stop()
            self._journal.close()
        return self._result(disturbances, ended, queued, time.monotonic() - started)

    def _install(self) -> None:
        self._host.install()
        self._disk.mount()
        if not self._disk.is_mounted:
            self._notes.append("no tmpfs may be mounted here: the faults of the disk are left out")
        self._host.start_daemon()
        declared = {name: name in self._host.aliases for name in CHANGING}
        self._history = ListHistory(declared)

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._plan.seed}/{name}")

    def _client(self, number: int) -> Client:
        port = self._host.postfix.port
        rng = self._rng(f"sessions/{number}")
        return Client(self._plan.seed, port, self._journal, rng, self._stop)

    def _make_disturbances(self) -> list[Disturbance]:
        plan, number = self._plan, self._plan.clients
        if not plan.failing:
            return []
        self._killer = killer = Killer(self._host, self._rng("kills"), plan.kills)
        editor = ListEditor(self._host, self._history, self._rng("list"), plan.edits)
        notifier = Notifier(self._host, self._rng("webhook"), plan.calls)
        if not self._disk.is_mounted:
            return [killer, editor, notifier]
        client = self._client(number)
        disk = DiskFaults(self._disk, self._rng("disk"), plan.disk, plan.seed, client, number)
        return [killer, editor, notifier, disk]

    def _send(self, disturbances: list[Disturbance]) -> None:
        """
        Have all messages sent, while everything fails.
        """
        plan = self._plan
        self._proxy.failing = plan.failing

        def is_covered() -> bool:
            return not self._missing(disturbances)

        shares = [len(range(number, plan.messages, plan.clients)) for number in range(plan.clients)]
        threads = [
            threading.Thread(target=self._run_client, args=(number, share, is_covered))
            for number, share in enumerate(shares)
        ]
        for thread in (*disturbances, *threads):
            thread.start()
        end = time.monotonic() + plan.patience
        try:
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
        finally:
            self._stop_when(not any(thread.is_alive() for thread in threads))
            for disturbance in disturbances:
                disturbance.end()
            self._stop.set()
            for thread in threads:
                thread.join()

    def _stop_when(self, done: bool) -> None:
        if not done:
            self._stop.set()
            self._violations.append(Violation("too slow", "not all messages were taken in time"))

    def _run_client(self, number: int, share: int, is_covered: Callable[[], bool]) -> None:
        """
        Send a share of the messages, and more as long as a fault is still to come.
        """
        plan = self._plan
        planned = enumerate(messages_of(plan.seed, number, plan.rate / plan.clients))
        messages = itertools.takewhile(lambda item: item[0] < share or not is_covered(), planned)
        try:
            self._client(number).run(message for _, message in messages)
        except Exception as error:
            self._violations.append(Violation("finding", f"client {number}: {error!r}"))

    def _missing(self, disturbances: Iterable[Disturbance]) -> list[str]:
        """
        Return what is planned and has not yet happened.
        """
        if not self._plan.failing:
            return []
        faults = self._proxy.kinds - self._proxy.tally.applied.keys()
        return sorted(faults.union(*(one.kinds - one.done.keys() for one in disturbances)))

    def _heal(self) -> None:
        """
        Let everything be well again, and wait for the queue to be empty.
        """
        self._proxy.failing = False
        host = self._host
        try:
            host.start_sandbox()
            host.start_daemon()
            host.refresh()
            eventually(
                lambda: not host.postfix.queued(),
                "the queue to be empty",
                host.postfix.flush,
                self._plan.patience,
            )
            self._check_daemon()
        except AssertionError as error:
            self._violations.append(Violation("not healed", str(error)))

    def _check_daemon(self) -> None:
        """
        See that nothing of the faults is left in the daemon.
        """
        host = self._host
        for name in ("deliveries_in_flight", "lmtp_connections"):
            eventually(lambda name=name: host.metric(name) == 0, f"no {name}")
        known = {name for name in CHANGING if host.knows(name)}
        declared = {name for name in CHANGING if name in host.aliases}
        assert known == declared, f"the daemon knows {known}, Odoo declares {declared}"

    def _result(
        self,
        disturbances: list[Disturbance],
        ended: float,
        queued: Mapping[str, str],
        seconds: float,
    ) -> Result:
        host, sent, seed = self._host, self._journal.sent, self._plan.seed
        odoo = read_odoo_log(host.sandbox.log)
        log = host.postfix.log_text().splitlines()
        bounces, statuses = bounces_in(log, sent, odoo)
        copies = [*copies_in(host.mail, sent, seed), *local_copies(host.postfix, sent, seed)]
        always = frozenset((*STEADY, JOBS, LOCAL))
        known, history = always.__contains__, self._history
        evidence = Evidence(sent, copies, bounces, history, known, ended, queued)
        self._violations += check(evidence)
        self._violations += self._other_findings(disturbances)
        kinds = Counter(violation.kind for violation in self._violations)
        counts = {
            **counts_of(sent),
            "put off by Postfix at SMTP, tried again": self._journal.put_off,
            "put off in the queue, tried again": statuses["deferred"],
            "copies stored": len(copies),
            "came again after Odoo had it": odoo.repeated,
            "bounced by Odoo's verdict": len(bounces) - kinds["bounced without reason"],
            **self._daemon_counts(),
            "lost": kinds["lost"],
            "twice": kinds["twice"],
            "violations": len(self._violations),
        }
        tally = self._proxy.tally
        tally.hit[REFUSED] = host.daemon_log().count("warn odoo: Connection was refused")  # calls
        done = sum((one.done for one in disturbances), Counter[str]())
        missing = self._missing(disturbances)
        return Result(seed, seconds, counts, done, tally, self._violations, missing, self._notes)

    def _daemon_counts(self) -> dict[str, int]:
        killer = self._killer
        if killer is None:
            return {}
        return {
            **{f"{name} sent to the daemon": killer.signals[name] for name in SIGNALS},
            "starts of the daemon that failed, tried again": killer.failed_starts,
            "polls of the list": round(sum(killer.polls.values())),
        }

    def _other_findings(self, disturbances: list[Disturbance]) -> Iterator[Violation]:
        for disturbance in disturbances:
            for finding in disturbance.findings:
                yield Violation("finding", finding)
        for finding in self._proxy.findings:
            yield Violation("finding", finding)
        host = self._host
        logs = {"daemon": host.daemon_log(), "mail.log": host.postfix.log_text()}
        logs["sandbox"] = host.sandbox.output()
        for name, text in logs.items():
            for line in trouble_in(name, text, TOKEN):
                yield Violation("trouble in a log", line)


def run(plan: Plan, keep: bool = False) -> Result:
    """
    Make a run in a folder of its own, which stays if anything was not as it ought to be.

    Args:
        keep: It stays in any case.
    """
    folder = Path(tempfile.mkdtemp(prefix="odoo-mailer-", dir="/tmp"))  # a socket's path is short
    folder.chmod(0o755)  # user postfix has to get in
    print(f"seed {plan.seed}, {plan.messages} messages, in {folder}", flush=True)
    result = Campaign(plan, folder).run()
    if result.is_good and not keep:
        shutil.rmtree(folder)
    else:
        print(f"kept {folder}", flush=True)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Send mail while everything fails.")
    parser.add_argument("--seed", default="")
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=8.0, help="messages a second")
    parser.add_argument("--limit", type=float, default=1500.0, help="seconds for all to be taken")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    options = parser.parse_args()
    reason = missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    seed = options.seed or secrets.token_hex(4)
    plan = Plan(
        seed,
        options.messages,
        options.rate,
        patience=options.limit,
        failing=not options.no_faults,
    )
    result = run(plan, options.keep)
    print(result.text)
    return 0 if result.is_good else 1
