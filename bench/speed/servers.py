"""
The servers that are measured in turn, each a process of its own on the same core.
"""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ground import LOAD_CORE, PROGRAMS, SERVER_CORE, Ground, ground, pinned
from programs import Program, ask, odoo_mailer
from waiting import eventually, free_port

TOKEN = "a-token-of-the-bench"


@dataclass(frozen=True, slots=True)
class Server:
    """
    One that runs.
    """

    socketmap: Path
    lmtp: Path
    pid: int


Served = Callable[[Ground], AbstractContextManager[Server]]


@contextmanager
def all_running(
    servers: Mapping[str, Served], addresses: int
) -> Iterator[dict[str, tuple[Ground, Server]]]:
    """
    Yield servers that all run, each on a ground of its own with so many addresses.
    """
    with ExitStack() as stack:
        grounds = {name: stack.enter_context(ground(addresses)) for name in servers}
        yield {
            name: (here, stack.enter_context(servers[name](here))) for name, here in grounds.items()
        }


@contextmanager
def http_server(ground: Ground) -> Iterator[int]:
    """
    Yield the port of an Odoo that answers at once, on the core of the load.
    """
    port = free_port()
    argv = [PROGRAMS / "http_server", str(port), ground.page, ground.addresses]
    with _running(pinned(LOAD_CORE, argv), ground.folder / "http.log", notify=False):
        yield port


def configuration(ground: Ground, port: int, **settings: object) -> Path:
    """
    Write the configuration of a daemon whose Odoo is at a port; return its path.
    """
    path = ground.folder / "odoo-mailer.yaml"
    usual = {
        "host": f"http://127.0.0.1:{port}",
        "token": TOKEN,
        "socket": str(ground.sockets / "odoo-lmtp"),
        "socketmap": str(ground.sockets / "odoo-map"),
        "nexthop": ground.nexthop,
        "http": str(ground.sockets / "odoo-http"),  # a port may be taken by a client meanwhile
        "cache": str(ground.folder / "cache"),
        "refresh": 600,
    }
    path.write_text(json.dumps({**usual, **settings}))
    return path


@contextmanager
def daemon(ground: Ground, **settings: object) -> Iterator[Server]:
    """
    Yield the daemon, as it is installed; it has its list.
    """
    with http_server(ground) as port:
        argv = odoo_mailer(configuration(ground, port, **settings), "daemon")
        with _running(pinned(SERVER_CORE, argv), ground.folder / "daemon.log") as pid:
            yield _with_list(ground, pid)


@contextmanager
def receiver(ground: Ground) -> Iterator[Server]:
    """
    Yield the daemon with an Odoo that is a function, see ``receiver.py``.
    """
    with http_server(ground) as port:
        script = Path(__file__).with_name("receiver.py")
        argv = [sys.executable, str(script), str(configuration(ground, port))]
        with _running(pinned(SERVER_CORE, argv), ground.folder / "receiver.log") as pid:
            yield _with_list(ground, pid)


def _with_list(ground: Ground, pid: int) -> Server:
    path, name = ground.sockets / "odoo-map", ground.names[0]
    eventually(lambda: ask(path, "aliases", name) == f"OK {name}", "the list")
    return Server(path, ground.sockets / "odoo-lmtp", pid)


def c_socketmap(ground: Ground) -> AbstractContextManager[Server]:
    """
    Yield the least socketmap server.
    """
    path = ground.sockets / "c-map"
    argv = [PROGRAMS / "socketmap_server", path, ground.addresses, ground.nexthop]
    return _peer(ground, argv, path)


def mta_sts_resolver(loop: str) -> Served:
    """
    Return what starts postfix-mta-sts-resolver's protocol on ``asyncio`` or ``uvloop``.
    """

    def served(ground: Ground) -> AbstractContextManager[Server]:
        path = ground.folder / f"sts-{loop}"
        script = Path(__file__).with_name("peer_socketmap.py")
        argv = [sys.executable, script, path, ground.addresses, ground.nexthop, loop]
        return _peer(ground, argv, path)

    return served


def aiosmtpd(ground: Ground) -> AbstractContextManager[Server]:
    """
    Yield aiosmtpd's LMTP.
    """
    path = ground.folder / "aiosmtpd"
    return _peer(ground, [sys.executable, Path(__file__).with_name("peer_lmtp.py"), path], path)


def smtp_sink(ground: Ground) -> AbstractContextManager[Server]:
    """
    Yield Postfix's own sink.
    """
    path = ground.folder / "sink"
    as_user = ["-u", "postfix"] if os.geteuid() == 0 else []
    return _peer(ground, ["/usr/sbin/smtp-sink", "-L", *as_user, f"unix:{path}", "1024"], path)


@contextmanager
def _peer(ground: Ground, argv: list[str | Path], path: Path) -> Iterator[Server]:
    log = ground.folder / f"{path.name}.log"
    with _running(pinned(SERVER_CORE, argv), log, notify=False) as pid:
        eventually(lambda: _listens(path), f"{argv[0]} to listen")
        yield Server(path, path, pid)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False


@contextmanager
def _running(argv: list[str], log: Path, notify: bool = True) -> Iterator[int]:
    program = Program(argv, log)
    program.start(notify)
    try:
        yield program.pid
    finally:
        if notify:
            program.stop()
        else:
            program.kill()
