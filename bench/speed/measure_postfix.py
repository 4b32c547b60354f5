"""
How many messages a second a real Postfix accepts, with whose maps.
"""

import paths  # noqa: F401  isort: skip
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ground import PRIORITY, Ground, all_cpu_ns, cpu_ns, set_session_niceness
from mail_host import short_folder
from postfix import DOMAIN, Postfix
from results import Figures
from rounds import Rounds, measure_in_turn
from servers import Served, c_socketmap, daemon
from targets import INLINE, OURS
from waiting import eventually

NEXTHOP = "discard:"  # what becomes of the mail afterwards costs the same for all
SESSIONS = 8
SIZE = 5_000  # octets
# Otherwise cleanup(8) waits for a second whenever more is accepted than delivered, and how often
# that comes about in a round would be most of what is measured: postconf(5).
UNPACED = {"in_flow_delay": "0"}
WARM_UP = 200  # messages
LOAD = "8 sessions, 5 kB"
SERVERS: dict[str, tuple[Served, str]] = {
    OURS: (daemon, "odoo-map"),
    "C": (c_socketmap, "c-map"),
}
MAPS = (*SERVERS, *(f"{server}{INLINE}" for server in SERVERS), "hash", "lmdb")


def measure(rounds: int, messages: int) -> dict[str, Rounds]:
    """
    Return the figures of all maps.

    Args:
        rounds: Many: what a Postfix accepts differs from one second to the next, whoever serves
            its maps.
        messages: In each round. No two have the same recipient, so that no cache of Postfix
            spares it a lookup.
    """
    with short_folder() as folder:
        postfix = Postfix(folder)
        postfix.install(["/bin/false"])
        names = [f"{number}alias@{DOMAIN}" for number in range(messages + 1)]
        here = Ground(folder, names, NEXTHOP, postfix.queue / "private")
        here.write()
        postfix.start()
        master = int((postfix.queue / "pid" / "master.pid").read_text())
        set_session_niceness(master, PRIORITY)  # it has begun a session of its own
        try:

            def one(server: str, _: object) -> dict[str, Figures]:
                with _maps(server, here, postfix) as (maps, pid):
                    return {LOAD: _accepted(postfix, messages, maps, pid)}

            return {"servers": measure_in_turn(rounds, MAPS, [LOAD], one)}
        finally:
            postfix.stop()


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


def _accepted(postfix: Postfix, messages: int, maps: dict[str, str], server: int | None) -> Figures:
    """
    Return the messages accepted and those delivered in a second, and the processor time of one.
    """
    with postfix.changed({**maps, **UNPACED}):
        _send(postfix, WARM_UP)
        _wait_for_queue(postfix)
        before, start = _used(server), time.monotonic()
        accepting = _send(postfix, messages)
        _wait_for_queue(postfix)
        delivering = time.monotonic() - start
        used = [now - then for now, then in zip(_used(server), before, strict=True)]
    text = postfix.log_text()
    assert "status=deferred" not in text, postfix.log_line("status=deferred")
    postfix.log.write_text("")
    discarded = text.count("status=sent")
    assert discarded == WARM_UP + messages, f"{discarded} of {messages} were discarded"
    server_us, all_us = (round(ns / messages / 1000, 1) for ns in used)
    accepted, delivered = (round(messages / seconds, 1) for seconds in (accepting, delivering))
    return {
        "messages_per_second": accepted,
        "delivered_per_second": delivered,
        "server_us": server_us,
        "all_us": all_us,
    }


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


def _wait_for_queue(postfix: Postfix) -> None:
    eventually(lambda: not postfix.queued(), "the queue to be empty", deadline=120)
