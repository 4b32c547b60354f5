"""
What happens to the daemon besides a bad Odoo: it is killed, its disk fails, its list changes.
"""

import errno
import http.client
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from clients import Client
from deck import Deck
from host import CampaignHost
from installation import TOKEN
from journal import ListHistory
from messages import CHANGING, plan_large

CACHE_SIZE = "32m"  # several messages of the largest kind at once
START = 30.0  # seconds for the daemon to get ready, whatever it finds


class Disturbance(threading.Thread):
    """
    Does one thing after the other, with pauses, until it is ended.

    Args:
        rng: For order and pauses.
        kinds: What it does, by name; False says that nothing came of it.
        pauses: Shortest and longest, in seconds.
        often: Those of the kinds that come more often.

    Attributes:
        kinds: Their names.
        done: How often each was done.
        findings: What ought not to have come of it.
        ended: Set when nothing more is to be done.
    """

    def __init__(
        self,
        rng: random.Random,
        kinds: Mapping[str, Callable[[], object]],
        pauses: tuple[float, float],
        often: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.rng = rng
        self.done: Counter[str] = Counter()
        self.findings: list[str] = []
        self.kinds = frozenset(kinds)
        self._acts = kinds
        self._pauses = pauses
        self._deck = Deck(rng, [*kinds, *often])
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(self.rng.uniform(*self._pauses)):
            kind = self._deck.draw()
            assert kind is not None
            try:
                if self._acts[kind]() is not False:
                    self.done[kind] += 1
            except Exception as error:
                self.findings.append(f"{kind}: {error!r}")

    def end(self) -> None:
        """
        Do nothing more; returns when everything is as it was.
        """
        self.ended.set()
        self.join()


class Killer(Disturbance):
    """
    Kills the daemon, stops it, has it reload; each time it is started again.
    """

    def __init__(self, host: CampaignHost, rng: random.Random, pauses: tuple[float, float]) -> None:
        kinds = {
            "SIGKILL": self._kill,
            "SIGTERM": self._terminate,
            "SIGKILL while stopping": self._kill_while_stopping,
            "SIGKILL while starting": self._kill_while_starting,
            "SIGHUP": self._hang_up,
            "SIGHUP, other front": self._change_front,
            "sockets change hands": self._change_hands,
            "SIGKILL of Odoo": self._kill_odoo,
        }
        super().__init__(rng, kinds, pauses, often=("SIGKILL", "SIGKILL", "SIGTERM"))
        self._host = host
        self.signals: Counter[str] = Counter()  # sent to the daemon
        self.failed_starts = 0
        self.polls: dict[int, float] = {}  # of each daemon, by process

    def _kill(self) -> None:
        self._expect_running()
        self._kill_daemon()
        self._start()

    def _terminate(self) -> None:
        self._expect_running()
        self._stop_daemon()
        self._start()

    def _kill_while_stopping(self) -> None:
        self._expect_running()
        self._signal(signal.SIGTERM)
        time.sleep(self.rng.uniform(0, 0.5))
        self._kill_daemon()
        self._start()

    def _kill_while_starting(self) -> None:
        self._expect_running()
        self._kill_daemon()
        self._host.daemon.start()
        time.sleep(self.rng.uniform(0, 1.2))
        self._kill_daemon()
        self._start()

    def _kill_daemon(self) -> None:
        self.signals["SIGKILL"] += 1
        self._host.daemon.kill()

    def _stop_daemon(self) -> None:
        self.signals["SIGTERM"] += 1
        status = self._host.daemon.stop()
        if status != 0:
            self.findings.append(f"exit status {status} after SIGTERM")

    def _signal(self, number: signal.Signals) -> None:
        self.signals[number.name] += 1
        self._host.daemon.signal(number)

    def _hang_up(self) -> None:
        self._expect_running()
        self._signal(signal.SIGHUP)

    def _change_front(self) -> None:
        self._expect_running()
        self._host.change_front()
        self._signal(signal.SIGHUP)

    def _change_hands(self) -> None:
        self._expect_running()
        self._stop_daemon()
        self._host.change_hands()
        self._start()

    def _kill_odoo(self) -> None:
        self._host.sandbox.kill()
        time.sleep(self.rng.uniform(0, 1.0))
        self._host.start_sandbox()

    def _start(self) -> None:
        """
        Start the daemon after a while, and as often as it takes: its disk may be full.
        """
        time.sleep(self.rng.choice((0, 0, self.rng.uniform(0, 2))))
        end = time.monotonic() + START
        while True:
            try:
                self._host.start_daemon()
                return
            except AssertionError:
                self.failed_starts += 1
                if time.monotonic() > end:
                    raise

    def _expect_running(self) -> None:
        daemon = self._host.daemon
        if not daemon.running:
            self.findings.append(f"the daemon ended by itself, status {daemon.wait()}")
            self._start()
        with suppress(OSError, http.client.HTTPException):
            self.polls[daemon.pid] = self._host.metric("refresh_total", trigger="poll")
        time.sleep(self.rng.uniform(0, 0.1))  # so that it is not always caught behind this


class SmallDisk:
    """
    The cache folder on a file system of its own, small enough to be filled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = folder / "ballast"
        self.is_mounted = False

    def mount(self) -> None:
        """
        Mount it, where that is permitted.
        """
        options = f"size={CACHE_SIZE},mode=0755"
        self.is_mounted = _mount("-t", "tmpfs", "-o", options, "campaign", str(self._folder))

    def unmount(self) -> None:
        """
        Leave the folder as it was.
        """
        if self.is_mounted:
            subprocess.run(["umount", str(self._folder)], check=True, capture_output=True)
            self.is_mounted = False

    def fill(self) -> None:
        """
        Leave no room on it.
        """
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65_536))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def clear(self) -> None:
        """
        Take the ballast away.
        """
        self._ballast.unlink()

    def set_writable(self, writable: bool, patience: float = 10.0) -> None:
        """
        Remount it; while a file is open for writing the system refuses to.

        Raises:
            TimeoutError: All the time.
        """
        option = f"remount,{'rw' if writable else 'ro'}"
        end = time.monotonic() + patience
        while not _mount("-o", option, str(self._folder)):
            if time.monotonic() > end:
                raise TimeoutError(option)
            time.sleep(0.02)


class DiskFaults(Disturbance):
    """
    Fills the disk, and makes it read-only; each time a large message is sent, and it is healed.

    Args:
        client: Sends the messages that have to be spooled.
        number: Of this client.
    """

    def __init__(
        self,
        disk: SmallDisk,
        rng: random.Random,
        pauses: tuple[float, float],
        seed: str,
        client: Client,
        number: int,
    ) -> None:
        kinds = {"cache folder full": self._full, "cache folder read-only": self._read_only}
        super().__init__(rng, kinds, pauses)
        self._disk = disk
        self._seed = seed
        self._client = client
        self._number = number
        self._sent = 0

    def run(self) -> None:
        super().run()
        self._client.end_session()

    def _full(self) -> None:
        self._disk.fill()
        large = self._send_large()
        self._disk.clear()
        large.join()

    def _read_only(self) -> None:
        self._disk.set_writable(False)
        large = self._send_large()
        self._disk.set_writable(True)
        large.join()

    def _send_large(self) -> threading.Thread:
        """
        Begin to send, which may last until all is healed; returns after a while.
        """
        message = plan_large(self._seed, self._number, self._sent)
        self._sent += 1
        large = threading.Thread(target=self._client.send, args=(message,))
        large.start()
        time.sleep(self.rng.uniform(1, 3))
        return large


class ListEditor(Disturbance):
    """
    Declares addresses and removes them, one at a time, each seldom.
    """

    def __init__(
        self,
        host: CampaignHost,
        history: ListHistory,
        rng: random.Random,
        pauses: tuple[float, float],
    ) -> None:
        super().__init__(rng, {"alias file edited": self._edit}, pauses)
        self._host = host
        self._history = history
        self._deck_of_addresses = Deck(rng, CHANGING)

    def _edit(self) -> bool:
        address = self._deck_of_addresses.draw()
        assert address is not None
        declared = address not in self._host.aliases
        self._history.note(address, declared, time.time())
        if declared:
            self._host.aliases[address] = []
        else:
            del self._host.aliases[address]
        self._host.write_aliases()
        return True


class Notifier(Disturbance):
    """
    Tells the daemon again and again that the list may have changed, then leaves it to polling.
    """

    def __init__(self, host: CampaignHost, rng: random.Random, pauses: tuple[float, float]) -> None:
        super().__init__(
            rng, {"webhooks called": self._call, "left to polling": self._leave_alone}, pauses
        )
        self._host = host

    def _call(self) -> None:
        for _ in range(20):
            with suppress(OSError, http.client.HTTPException):  # the daemon is down
                self._notify()
            if self.ended.wait(self.rng.uniform(0.02, 0.2)):
                break

    def _notify(self) -> None:
        headers = {"X-Mail-Token": TOKEN, "Content-Type": "application/yaml"}
        address = ("127.0.0.1", self._host.http_port)
        with closing(http.client.HTTPConnection(*address, timeout=5)) as connection:
            connection.request("POST", "/aliases", b"", headers)
            with connection.getresponse() as answer:
                answer.read()

    def _leave_alone(self) -> None:
        self.ended.wait(self.rng.uniform(0.5, 3))


def _mount(*arguments: str) -> bool:
    if os.geteuid() != 0:
        return False
    result = subprocess.run(["mount", *arguments], capture_output=True)
    return result.returncode == 0
