"""
The ground that the benchmarks stand on: cores, compiled programs, addresses, figures.
"""

import paths  # noqa: F401  isort: skip
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from results import Figures

SOURCES = Path(__file__).parents[2]
C_SOURCES = Path(__file__).parents[1] / "c"
PROGRAMS = C_SOURCES / "build"

SERVER_CORE = min(os.sched_getaffinity(0))
LOAD_CORE = max(os.sched_getaffinity(0))
PRIORITY = -15  # of nice(1); needs root

DOMAIN = "example.com"
NEXTHOP = "lmtp:unix:private/odoo-lmtp"


def build() -> None:
    """
    Compile what is written in C; as root on Debian, a compiler is installed where there is none.
    """
    if not shutil.which("gcc") or not shutil.which("make"):
        install("gcc", "libc6-dev", "make")
    subprocess.run(["make", "--silent", "-C", C_SOURCES], check=True)


def install(*packages: str, answers: str = "") -> None:
    """
    Install packages of Debian.

    Args:
        answers: To questions that they would ask, see debconf-set-selections(1).
    """
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    subprocess.run([*apt, "update"], check=True, env=environ)
    if answers:
        subprocess.run(["debconf-set-selections"], check=True, input=answers, text=True)
    subprocess.run(
        [*apt, "install", "-y", "--no-install-recommends", *packages],
        check=True,
        env=environ,
        stdout=subprocess.DEVNULL,
    )


def has_postfix() -> bool:
    """
    Say whether Postfix is there, with its load, its sink and all kinds of maps that are measured.
    """
    if not shutil.which("smtp-sink"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.cf").touch()  # without one it lists nothing
        return "lmdb" in _output("postconf", "-c", folder, "-m").split()


def pinned(core: int, argv: Sequence[str | Path]) -> list[str]:
    """
    Return a command line that runs on one core.
    """
    return ["taskset", "-c", str(core), *map(str, argv)]


@contextmanager
def precedence() -> Iterator[None]:
    """
    Have what is started meanwhile run before whatever else the machine has to do.

    Source: sched(7), autogroup: where it is on, nice(1) counts within a session alone, which
    has a value of its own.
    """
    niceness = os.nice(0)
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    set_session_niceness(os.getpid(), PRIORITY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
        set_session_niceness(os.getpid(), 0)


def set_session_niceness(pid: int, niceness: int) -> None:
    """
    Set what all processes of a session have among other sessions, if they have anything.
    """
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(str(niceness))


def pin(pid: int, core: int) -> None:
    """
    Have a process that runs already stay on one core, with all of its threads.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def run_load(program: str, *arguments: object, core: int, server: int, per: str) -> Figures:
    """
    Have a load run, and return its figures.

    Args:
        server: The process that serves it. What it used of its core is added, ``server_us``:
            microseconds for each of what ``per`` names.
        per: ``lookups`` or ``messages``.

    Raises:
        AssertionError: An answer was not as it has to be.
    """
    argv = pinned(core, [PROGRAMS / program, *map(str, arguments)])
    before = cpu_ns(server)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    used = cpu_ns(server) - before
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    found: Figures = json.loads(done.stdout)
    return {**found, "server_us": round(used / found[f"all_{per}"] / 1000, 3)}


def cpu_ns(pid: int) -> int:
    """
    Return the nanoseconds of processor time of a process so far, of all threads that live.

    Source: proc(5), Documentation/scheduler/sched-stats.rst of Linux.
    """
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())


def all_cpu_ns() -> int:
    """
    Return the nanoseconds of processor time of everything on this machine so far.

    Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq.
    """
    ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1:8]]
    used = sum(ticks) - ticks[3] - ticks[4]
    return used * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


@dataclass(frozen=True, slots=True)
class Ground:
    """
    A folder with what the servers and loads read.

    Args:
        names: The addresses.
        nexthop: What transport answers.
        sockets: The folder of the sockets.
    """

    folder: Path
    names: Sequence[str]
    nexthop: str
    sockets: Path

    @property
    def addresses(self) -> Path:
        """One address a line."""
        return self.folder / "addresses"

    @property
    def lookups(self) -> Path:
        """Requests and answers, for ``socketmap_load``."""
        return self.folder / "lookups"

    @property
    def page(self) -> Path:
        """The aliases as mail_delivery writes them."""
        return self.folder / "aliases.json"

    def write(self) -> None:
        """
        Write the files.
        """
        names = self.names
        self.addresses.write_text("".join(f"{name}\n" for name in names))
        self.lookups.write_text("".join(_lookups(name, self.nexthop) for name in names))
        document = {
            "aliases": {name: [name] for name in names},
            "local_parts": {},
            "domains": [DOMAIN],
            "version": "1",
            "transport": True,
            "count": len(names),
        }
        self.page.write_text(json.dumps(document, separators=(",", ":")))


def _lookups(name: str, nexthop: str) -> str:
    """
    Return what a whole MTA asks: both maps, and as many strangers.
    """
    return (
        f"aliases {name}\tOK {name}\n"
        f"transport {name}\tOK {nexthop}\n"
        f"aliases no-{name}\tNOTFOUND \n"
        f"transport no-{name}\tNOTFOUND \n"
    )


@contextmanager
def ground(count: int) -> Iterator[Ground]:
    """
    Yield a ground with so many addresses; other users may make sockets in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="odoo-mailer-bench-", dir="/tmp"))
    folder.chmod(0o1777)  # they add files, but replace none: root runs what it reads here
    try:
        names = [f"alias-{number}@{DOMAIN}" for number in range(count)]
        made = Ground(folder, names, NEXTHOP, folder)
        made.write()
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def machine() -> dict[str, str | int]:
    """
    Return what the figures depend on.
    """
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
            break
    names = ("twisted", "treq", "prometheus-client", "uvloop", "aiosmtpd")
    names += ("postfix-mta-sts-resolver",)
    return {
        "processor": model,
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
        "postfix": _output("postconf", "-d", "-h", "mail_version"),
        "compiler": _output("gcc", "-dumpfullversion"),
    }


def commit() -> str:
    """
    Return which commit this is, and whether it is as committed; empty where there is no git.
    """
    argv = ["git", "-C", str(SOURCES), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return _output(*argv)
    except (OSError, subprocess.CalledProcessError):
        return ""


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
