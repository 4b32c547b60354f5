"""
What a process costs, as the kernel tells it.

Source: proc(5): status, smaps_rollup, stat, fd, clear_refs.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """
    A look at a process.

    Args:
        rss: Octets resident, shared libraries included.
        private: Octets of its own; of a library's file, only what it has changed.
        descriptors: Open ones.
        deleted: Of these, of files that have no name any more.
        cpu: Seconds of processor time so far.
    """

    rss: int
    private: int
    descriptors: int
    deleted: int
    threads: int
    cpu: float


def figures(pid: int) -> Figures:
    """
    Look at a process.
    """
    folder = Path("/proc", str(pid))
    status = _fields(folder / "status")
    targets = _targets(folder / "fd")
    return Figures(
        status["VmRSS"] * 1024,
        private_memory(pid),
        len(targets),
        sum(target.endswith(" (deleted)") for target in targets),
        status["Threads"],
        cpu_seconds(pid),
    )


def private_memory(pid: int) -> int:
    """
    Return the octets of its own.

    What is clean and private does not count: a page of a library becomes private
    as soon as the other processes that use it have ended.
    """
    return _fields(Path("/proc", str(pid), "smaps_rollup"))["Private_Dirty"] * 1024


def resident_memory(pid: int) -> int:
    """
    Return the octets resident.
    """
    return _fields(Path("/proc", str(pid), "status"))["VmRSS"] * 1024


def peak_memory(pid: int) -> int:
    """
    Return the most octets resident at any time since ``reset_peak``.
    """
    return _fields(Path("/proc", str(pid), "status"))["VmHWM"] * 1024


def reset_peak(pid: int) -> None:
    """
    Let ``peak_memory`` begin anew.
    """
    Path("/proc", str(pid), "clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """
    Return the seconds of processor time so far, of all threads.
    """
    words = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


def _fields(path: Path) -> dict[str, int]:
    """
    Return the numeric fields of a file of ``Name: number kB``.
    """
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found


def _targets(folder: Path) -> list[str]:
    targets = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(os.readlink(folder / name))
    return targets
