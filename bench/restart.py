"""
What a restart of the daemon costs: the lookups that are refused meanwhile.

Run as root in a checkout, with a private Postfix as in the tests; prints a table in Markdown.
No figure makes it fail. ``--clients`` is for its own use: the load, in a process of its own.
"""

import argparse
import json
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "blackbox"))

from held_sockets import held_sockets
from installation import Installation
from mail_host import short_folder
from programs import Program
from socketmap_client import LIMIT, SocketmapClient

SOURCES = Path(__file__).parents[1]
CLIENTS = 16  # of the socketmap, as so many processes of Postfix
SESSIONS = 4  # of SMTP, beside them
PAUSE = 0.01  # seconds between two lookups of one client
SPLIT = 4  # every fourth client writes its requests in two halves
CALM = 1.0  # seconds of load before and after
ADDRESS = "info@example.test"


class Session:
    """
    Names a recipient to Postfix, each time for another sender: smtpd remembers failures.
    """

    def __init__(self, port: int, number: int) -> None:
        self._smtp = smtplib.SMTP("127.0.0.1", port, timeout=LIMIT + 20)
        self._smtp.ehlo("client.test")
        self._number, self._count = number, 0

    def lookup(self) -> tuple[str, int]:
        """
        Make one transaction up to RCPT; return ``ok`` or the reply.
        """
        self._count += 1
        self._smtp.mail(f"c{self._number}.{self._count}@client.test")
        code, text = self._smtp.rcpt(ADDRESS)
        self._smtp.rset()
        return ("ok" if code == 250 else f"{code} {text.decode()}"), 0


def run_clients(path: str, port: int) -> None:
    """
    Be the load until standard input ends; print what happened as JSON.
    """
    ended = threading.Event()
    events: dict[str, list[tuple[float, float, str, int]]] = {"socketmap": [], "smtp": []}
    askers = [
        ("socketmap", SocketmapClient(Path(path), ADDRESS, number % SPLIT == 0))
        for number in range(CLIENTS)
    ]
    askers += [("smtp", Session(port, number)) for number in range(SESSIONS)]

    def work(kind: str, asker: SocketmapClient | Session) -> None:
        while not ended.is_set():
            start = time.monotonic()
            result, again = asker.lookup()
            events[kind].append((start, time.monotonic() - start, result, again))
            ended.wait(PAUSE)

    threads = [threading.Thread(target=work, args=asker) for asker in askers]
    for thread in threads:
        thread.start()
    print(flush=True)  # under way
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    json.dump(events, sys.stdout)


@dataclass(frozen=True, slots=True)
class Figures:
    """
    What the clients of one kind saw in one run.

    Args:
        gap: Seconds from the first refusal to the last.
        again: How often a client began anew and got its answer.
        longest: Seconds that one of them waited for an answer.
    """

    count: int
    refused: int
    gap: float
    again: int
    longest: float

    @classmethod
    def of(cls, events: list[tuple[float, float, str, int]]) -> "Figures":
        """
        Sum up.
        """
        refused = [start for start, _, result, _ in events if result != "ok"]
        answered = [(seconds, again) for _, seconds, result, again in events if result == "ok"]
        return cls(
            len(events),
            len(refused),
            max(refused) - min(refused) if refused else 0.0,
            sum(again for _, again in answered),
            max(seconds for seconds, _ in answered),
        )


@contextmanager
def load(site: Installation) -> Iterator[dict[str, list[tuple[float, float, str, int]]]]:
    """
    Have the clients ask for a while; what they saw is there in the end.
    """
    argv = [sys.executable, __file__, "--clients", str(site.socketmap), str(site.postfix.port)]
    events: dict[str, list[tuple[float, float, str, int]]] = {}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            time.sleep(CALM)
            yield events
            time.sleep(CALM)
        finally:
            output, _ = process.communicate()
    events.update(json.loads(output))


class Installed:
    """
    The daemon as administrators have it: the wheel, in a virtual environment.

    What it depends on is taken from the environment of this program.
    """

    def __init__(self, folder: Path) -> None:
        self.python = folder / "venv" / "bin" / "python"
        self._folder = folder
        run = [sys.executable, "-m"]
        subprocess.run([*run, "venv", "--without-pip", folder / "venv"], check=True)
        (libraries,) = (folder / "venv" / "lib").glob("python*/site-packages")
        packages = [path for path in sys.path if path.endswith("-packages")]
        (libraries / "dependencies.pth").write_text("\n".join(packages) + "\n")
        shutil.copytree(SOURCES, folder / "src", ignore=shutil.ignore_patterns(".*", "build"))
        wheel = ["build", "--wheel", "--outdir", folder / "dist", folder / "src"]
        subprocess.run([*run, *wheel], check=True, stdout=subprocess.DEVNULL)
        self.install()

    def install(self) -> None:
        """
        Install the wheel, again if it is there, as an upgrade does.
        """
        (wheel,) = (self._folder / "dist").glob("*.whl")
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet"]
        argv = [*pip, "--force-reinstall", "--no-deps", "--no-index", wheel]
        # Compiled, whatever the environment says: that is most of the time of a start.
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run(argv, check=True, env=environ)

    def command(self, config: Path, *args: str) -> list[str]:
        """
        Return the command line of what is installed.
        """
        script = self.python.with_name("odoo-mailer")
        return [str(self.python), "-I", str(script), "-c", str(config), *args]


def reload(daemon: Program, _: Installed) -> None:
    """
    SIGHUP.
    """
    said = "configuration reloaded"
    before = daemon.output().count(said)
    daemon.signal(signal.SIGHUP)
    while daemon.output().count(said) == before:
        time.sleep(0.01)


def restart(daemon: Program, _: Installed) -> None:
    """
    SIGTERM, and a start as soon as the process is gone.
    """
    daemon.stop()
    daemon.start(notify=True)


def crash(daemon: Program, _: Installed) -> None:
    """
    SIGKILL, and a start at once.
    """
    daemon.kill()
    daemon.start(notify=True)


def upgrade(daemon: Program, installed: Installed) -> None:
    """
    Other files while it runs, then a restart.
    """
    installed.install()
    restart(daemon, installed)


ACTS: dict[str, Callable[[Program, Installed], None]] = {
    "reload (SIGHUP)": reload,
    "restart": restart,
    "crash (SIGKILL), started at once": crash,
    "upgrade (pip install), then restart": upgrade,
}


def measure(site: Installation, installed: Installed, name: str, held: bool) -> list[Figures]:
    """
    Return what lookups and sessions saw in one run of an act.
    """
    with daemon_with(site, installed, held) as daemon:
        daemon.start(notify=True)
        # Without this Postfix itself makes clients wait for a second.
        with site.postfix.changed({"in_flow_delay": "0"}), load(site) as events:
            ACTS[name](daemon, installed)
        for kind in events.values():
            for reason in {result for _, _, result, _ in kind if result != "ok"}:
                print(f"{name}: {reason}", file=sys.stderr)
        return [Figures.of(events[kind]) for kind in ("socketmap", "smtp")]


@contextmanager
def daemon_with(site: Installation, installed: Installed, held: bool) -> Iterator[Program]:
    """
    Yield a daemon, not yet started, with sockets of its own or with held ones.
    """
    if held:
        with held_sockets(site, installed.command) as daemon:
            yield daemon
        return
    site.daemon.stop()
    daemon = Program(installed.command(site.config, "daemon"), site.folder / "own.log")
    try:
        yield daemon
    finally:
        daemon.stop()


def print_table(site: Installation, installed: Installed, runs: int) -> None:
    """
    Print the medians of so many runs of each act.
    """
    heads = ["", "sockets", "lookups", "refused", "for", "begun anew", "longest wait"]
    heads += ["RCPT", "refused", "longest wait"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name in ACTS:
        for held in (False, True):
            found = [measure(site, installed, name, held) for _ in range(runs)]
            cells = [name, "held" if held else "its own"]
            for kind, figures in enumerate(zip(*found, strict=True)):
                middle = {f: median(getattr(one, f) for one in figures) for f in Figures.__slots__}
                cells += [f"{middle['count']:.0f}", f"{middle['refused']:.0f}"]
                cells += [f"{middle['gap']:.2f} s", f"{middle['again']:.0f}"] if kind == 0 else []
                cells.append(f"{middle['longest']:.2f} s")
            print(f"| {' | '.join(cells)} |", flush=True)


def print_start(installed: Installed, site: Installation, runs: int) -> None:
    """
    Print how long a start and an end of the process take.
    """
    found = []
    for _ in range(runs):
        with daemon_with(site, installed, held=False) as daemon:
            begun = time.monotonic()
            daemon.start()
            client = SocketmapClient(site.socketmap, ADDRESS)
            while client.lookup()[0] != "ok":
                assert daemon.running, daemon.output()
                time.sleep(0.001)
            answering, busy = time.monotonic() - begun, cpu_seconds(daemon.pid)
            begun = time.monotonic()
            daemon.signal(signal.SIGTERM)
            while site.socketmap.exists():
                time.sleep(0.001)
            deaf = time.monotonic() - begun
            daemon.wait()
            found.append((answering, busy, deaf, time.monotonic() - begun))
    answering, busy, deaf, gone = (median(figures) for figures in zip(*found, strict=True))
    print(f"start to first answer: {answering:.2f} s, {busy:.2f} s of them on the CPU")
    print(f"SIGTERM to not listening: {deaf:.3f} s, to the end of the process: {gone:.2f} s")


def cpu_seconds(pid: int) -> float:
    """
    Return the CPU time that a process has used, proc(5).
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """
    Measure all.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each act (default: %(default)s)")
    parser.add_argument("--clients", nargs=2, metavar=("SOCKET", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.clients:
        run_clients(options.clients[0], int(options.clients[1]))
        return
    with short_folder() as folder:
        site = Installation(folder)
        try:
            site.install()
            site.restore()
            installed = Installed(folder)
            print_start(installed, site, options.runs)
            print_table(site, installed, options.runs)
        finally:
            site.stop()


if __name__ == "__main__":
    main()
