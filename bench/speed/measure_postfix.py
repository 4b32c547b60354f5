"""
How many messages a second a real Postfix accepts, with whose maps.
"""

import paths  # noqa: F401  isort: skip
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from ground import PRIORITY, Ground, all_cpu_ns, cpu_ns, set_session_niceness
from mail_host import short_folder
from postfix import DOMAIN, Postfix
from results import Figures
from rounds import Rounds, measure_in_turn
from servers import Served, c_socketmap, daemon
from targets import DELIVERED, INLINE, MESSAGES, OURS
from waiting import eventually

NEXTHOP = "discard:"  # what becomes of the mail afterwards costs the same for all
SESSIONS = 8
SIZE = 5_000  # octets
SETTINGS = {
    # Otherwise cleanup(8) waits for a second whenever more is accepted than delivered, and how
    # often that comes about in a round would be most of what is measured: postconf(5).
    "in_flow_delay": "0",
    "max_idle": "100s",  # as is usual: the others' turns take long enough for less to end it
}
WARM_UP = 400  # messages
ROUNDS = 25  # as many with the same processes: where their memory lies makes a difference, too
LOOK = 0.01  # seconds between two looks into the queue
LOAD = "8 sessions, 5 kB"
SERVERS: dict[str, tuple[Served, str]] = {
    OURS: (daemon, "odoo-map"),
    "C": (c_socketmap, "c-map"),
}
# Whose turn follows another's: those that are compared with each other are in the middle.
MAPS = ("hash", *SERVERS, *(f"{server}{INLINE}" for server in SERVERS), "lmdb")


@dataclass(frozen=True, slots=True)
class Host:
    """
    A Postfix with its maps.

    Args:
        server: The process of the server of the maps, if they need one.
    """

    postfix: Postfix
    server: int | None


def measure(rounds: int, messages: int) -> dict[str, Rounds]:
    """
    Return the figures of all maps.

    Args:
        rounds: Many, and short: what a Postfix accepts differs from one second to the next,
            whoever serves its maps.
        messages: In each round. No two have the same recipient, so that no cache of Postfix
            spares it a lookup.
    """
    found: Rounds = {maps: {LOAD: []} for maps in MAPS}
    for start in range(0, rounds, ROUNDS):
        some = _some_rounds(min(ROUNDS, rounds - start), messages)
        for maps, loads in some.items():
            found[maps][LOAD] += loads[LOAD]
    return {"servers": found}


def _some_rounds(rounds: int, messages: int) -> Rounds:
    """
    Return the figures of rounds with the same processes.
    """
    with ExitStack() as stack:
        hosts = {maps: stack.enter_context(_host(maps, messages)) for maps in MAPS}
        for host in hosts.values():
            _accepted(host, WARM_UP)

        def one(maps: str, _: str) -> Figures:
            return _accepted(hosts[maps], messages)

        return measure_in_turn(rounds, MAPS, [LOAD], lambda: nullcontext(one))


@contextmanager
def _host(maps: str, messages: int) -> Iterator[Host]:
    """
    Yield a Postfix of its own that runs, with the maps of this name, and what serves them.
    """
    with short_folder() as folder, ExitStack() as stack:
        postfix = Postfix(folder)
        postfix.install(["/bin/false"])
        names = [f"{number}alias@{DOMAIN}" for number in range(max(WARM_UP, messages) + 1)]
        here = Ground(folder, names, NEXTHOP, postfix.queue / "private")
        here.write()
        postfix.start()
        stack.callback(postfix.stop)
        master = int((postfix.queue / "pid" / "master.pid").read_text())
        set_session_niceness(master, PRIORITY)  # it has begun a session of its own
        parameters, server = stack.enter_context(_maps(maps, here, postfix))
        stack.enter_context(postfix.changed({**parameters, **SETTINGS}))
        yield Host(postfix, server)


@contextmanager
def _maps(maps: str, here: Ground, postfix: Postfix) -> Iterator[tuple[dict[str, str], int | None]]:
    """
    Yield the parameters of main.cf, and the process of the server that they need; it runs.
    """
    server, inline, _ = maps.partition(INLINE)
    if server in SERVERS:
        serve, name = SERVERS[server]
        with serve(here) as served:
            table = f"socketmap:unix:private/{name}"
            transport = f"inline:{{{DOMAIN}={NEXTHOP}}}" if inline else f"{table}:transport"
            yield (
                {"virtual_alias_maps": f"{table}:aliases", "transport_maps": transport},
                served.pid,
            )
        return
    values = {"virtual_alias_maps": "{0}", "transport_maps": NEXTHOP}
    parameters = {}
    for parameter, value in values.items():
        path = here.folder / f"{server}-{parameter}"
        path.write_text("".join(f"{name} {value.format(name)}\n" for name in here.names))
        postfix.command("postmap", f"{server}:{path}")
        parameters[parameter] = f"{server}:{path}"
    yield parameters, None


def _accepted(host: Host, messages: int) -> Figures:
    """
    Return the messages accepted and those delivered in a second, and the processor time of one.
    """
    postfix = host.postfix
    before, start = _used(host.server), time.monotonic()
    accepting = _send(postfix, messages)
    while _is_queued(postfix):
        time.sleep(LOOK)
    delivering = time.monotonic() - start
    used = [now - then for now, then in zip(_used(host.server), before, strict=True)]
    eventually(lambda: _discarded(postfix) >= messages, "the log")
    assert _discarded(postfix) == messages, f"{_discarded(postfix)} of {messages} were discarded"
    assert not postfix.log_line("status=deferred"), postfix.log_line("status=deferred")
    postfix.log.write_text("")
    server_us, all_us = (round(ns / messages / 1000, 1) for ns in used)
    accepted, delivered = (round(messages / seconds, 1) for seconds in (accepting, delivering))
    return {
        MESSAGES: accepted,
        DELIVERED: delivered,
        "server_us": server_us,
        "all_us": all_us,
    }


def _discarded(postfix: Postfix) -> int:
    return postfix.log_text().count("status=sent")


def _used(server: int | None) -> tuple[int, int]:
    """
    Return the nanoseconds of processor time of the server, if there is one, and of all.
    """
    return (0 if server is None else cpu_ns(server)), all_cpu_ns()


def _send(postfix: Postfix, messages: int) -> float:
    """
    Have messages accepted; return the seconds.
    """
    argv = ["/usr/sbin/smtp-source", "-d", "-N", "-s", str(SESSIONS), "-l", str(SIZE),
            "-m", str(messages), "-f", "customer@client.test", "-t", f"alias@{DOMAIN}",
            f"127.0.0.1:{postfix.port}"]  # fmt: skip
    start = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return time.monotonic() - start


def _is_queued(postfix: Postfix) -> bool:
    # postqueue(1) would take more of the processors than some messages.
    queues = (postfix.queue / name for name in ("incoming", "active", "deferred"))
    return any(files for queue in queues for _, _, files in os.walk(queue))
