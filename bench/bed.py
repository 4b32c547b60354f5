"""
A daemon with stand-ins for Odoo, in a folder of its own, and what it costs.
"""

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "blackbox"))

from lookups import LookupClient, Plan, Taken, usual_lookups
from process import Figures, figures
from programs import Program, ask, metric, odoo_mailer
from stand_in import StandIn
from waiting import eventually, free_port

NEXTHOP = "lmtp:unix:private/odoo-lmtp"

# Descriptors can be limited in the child alone; the limit holds for what it executes.
_LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Bed:
    """
    Args:
        folder: For sockets, cache, configuration and log.
        odoos: The stand-ins, in the order of the configuration.
        descriptors: The limit of the daemon; 0 for that of the bench.
        settings: Further keys of the configuration.
    """

    def __init__(
        self, folder: Path, odoos: Sequence[StandIn], descriptors: int, settings: dict[str, object]
    ) -> None:
        self.folder = folder
        self.odoos = odoos
        self.cache = folder / "cache"
        self.socketmap = folder / "map"
        self.lmtp = folder / "lmtp"
        self.http_port = free_port()
        config = folder / "odoo-mailer.yaml"
        config.write_text(json.dumps({**self._settings(), **settings}))
        argv = odoo_mailer(config, "daemon")
        if descriptors:
            argv = [sys.executable, "-c", _LIMITED, str(descriptors), *argv]
        self.daemon = Program(argv, folder / "daemon.log")

    def _settings(self) -> dict[str, object]:
        return {
            "servers": [
                {
                    "name": odoo.name,
                    "host": f"http://127.0.0.1:{odoo.port}",
                    "token": odoo.token,
                }
                for odoo in self.odoos
            ],
            "socket": str(self.lmtp),
            "socketmap": str(self.socketmap),
            "nexthop": NEXTHOP,
            "http": f"127.0.0.1:{self.http_port}",
            "cache": str(self.cache),
            "refresh": 600,
        }

    def figures(self) -> Figures:
        """
        Look at the daemon.
        """
        return figures(self.daemon.pid)

    def log_size(self) -> int:
        """
        Return the octets that it has logged.
        """
        return self.daemon.log.stat().st_size

    def log_lines(self) -> int:
        """
        Return the lines that it has logged.
        """
        with self.daemon.log.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def temporary_files(self) -> int:
        """
        Return how many files lie in the cache folder besides those of the stored list.
        """
        names = os.listdir(self.cache)
        return sum(not name.startswith("odoo-mailer.sqlite3") for name in names)

    def metric(self, name: str, **labels: str) -> float:
        """
        Return a metric, summed over all labels but those given.
        """
        return metric(self.http_port, f"odoo_mailer_{name}", **labels)

    def call_webhook(self, odoo: StandIn) -> None:
        """
        Tell the daemon that the list has changed.
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/aliases",
            data=b"",
            headers={"X-Mail-Token": odoo.token},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()

    def push_change(self, odoo: StandIn) -> tuple[int, int]:
        """
        Tell the daemon what has changed; return the status and the octets of the request.
        """
        before, now, patch = odoo.latest_change()
        fields = {
            "X-Mail-Token": odoo.token,
            "Content-Type": "application/merge-patch+json",
            "Delta-Base": before,
            "ETag": now,
        }
        head = f"POST /aliases HTTP/1.1\r\nHost: 127.0.0.1:{self.http_port}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head += f"Connection: close\r\nContent-Length: {len(patch)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.http_port), timeout=60) as connection:
            connection.sendall(head.encode() + patch)
            status = connection.makefile("rb").readline().split()[1]
        return int(status), len(head) + len(patch)

    def knows(self, address: str) -> bool:
        """
        Whether it answers a lookup of this address with itself.
        """
        return ask(self.socketmap, "aliases", address) == f"OK {address}"

    def refreshed(
        self, odoo: StandIn, addresses: int = 0, renewed: int = 0, deadline: float = 120.0
    ) -> float:
        """
        Have another list declared and fetched; return the seconds until it was in force.
        """
        mark = odoo.revise(addresses, renewed)
        start = time.monotonic()
        self.call_webhook(odoo)
        eventually(lambda: self.knows(mark), "the list", deadline=deadline)
        return time.monotonic() - start

    def lookup_plan(self, **changes: object) -> Plan:
        """
        Return what a client asks that asks as a whole MTA does.
        """
        addresses = [odoo.address(number) for odoo in self.odoos for number in range(50)]
        return Plan(self.socketmap, usual_lookups(addresses, NEXTHOP), **changes)  # type: ignore[arg-type]

    def recipients(self, odoo: StandIn, count: int = 50) -> list[str]:
        """
        Return addresses of one stand-in.
        """
        return [odoo.address(number) for number in range(count)]


@contextmanager
def bed(
    *names: str,
    addresses: int = 1_000,
    others: float = 0.0,
    descriptors: int = 0,
    deadline: float = 120.0,
    **settings: object,
) -> Iterator[Bed]:
    """
    Yield a daemon that runs and has the lists.

    Args:
        names: Of the stand-ins.
        addresses: That each declares.
        others: Which part of these has a target that is another address.
        descriptors: See ``Bed``.
        deadline: Seconds for the lists to be in force.
        settings: Of the daemon.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="odoo-mailer-bench-"))
        stack.callback(shutil.rmtree, folder)
        odoos = [
            stack.enter_context(StandIn(name, free_port(), addresses, others)) for name in names
        ]
        made = Bed(folder, odoos, descriptors, settings)
        made.daemon.start(notify=True)
        stack.callback(_end, made.daemon)
        eventually(
            lambda: all(made.knows(odoo.address(0)) for odoo in odoos),
            "the lists",
            deadline=deadline,
        )
        yield made


def _end(daemon: Program) -> None:
    with contextlib.suppress(AssertionError):  # it is killed then
        daemon.stop()


def asked_for(plan: Plan, seconds: float) -> Taken:
    """
    Have one client ask for so long.
    """
    client = LookupClient(plan).start()
    time.sleep(seconds)
    return client.stop()
