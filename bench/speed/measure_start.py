"""
How long it takes to begin, and what the daemon takes while nothing happens.
"""

import paths  # noqa: F401  isort: skip
import subprocess
import time
from contextlib import suppress

from ground import LOAD_CORE, SERVER_CORE, Ground, ground, pinned
from process import resident_memory
from programs import ENVIRON, Program, ask, odoo_mailer
from results import Figures
from servers import configuration, http_server

ADDRESSES = 10_000
STEP = 0.001  # seconds between two looks
PATIENCE = 60.0  # seconds
IDLE = 3.0  # seconds until nothing happens any more
MESSAGE = (
    b"From: a@client.test\r\nTo: b@example.com\r\nMessage-ID: <1@client.test>\r\n\r\nHello.\r\n"
)


def measure(rounds: int) -> dict[str, list[Figures]]:
    """
    Return the figures by what was measured.
    """
    with ground(ADDRESSES) as here:
        found: dict[str, list[Figures]] = {"daemon": [], "pipe": [], "help": []}
        with http_server(here) as port:
            config = configuration(here, port)
            # Then its store has the list of this very server: for another URL, as each port makes
            # one, it would be fetched anew, which takes memory that stays taken.
            _daemon(here, odoo_mailer(config, "daemon"))
            pipe = ["--sender", "a@client.test", "--recipient", here.names[0]]
            for _ in range(rounds):
                found["daemon"].append(_daemon(here, odoo_mailer(config, "daemon")))
                found["pipe"].append(_run(odoo_mailer(config, "pipe", *pipe)))
                found["help"].append(_run(odoo_mailer(config, "--help")))
        return found


def _daemon(here: Ground, argv: list[str]) -> Figures:
    """
    Return the seconds from exec to the first answer, and the memory while nothing happens.
    """
    program = Program(pinned(SERVER_CORE, argv), here.folder / "started.log")
    start = time.monotonic()
    program.start()
    answer = ""
    while not answer.startswith("OK "):
        assert time.monotonic() < start + PATIENCE, program.output()
        time.sleep(STEP)
        with suppress(OSError, ValueError):  # it does not listen yet
            answer = ask(here.sockets / "odoo-map", "aliases", here.names[-1])
    seconds = time.monotonic() - start
    time.sleep(IDLE)
    memory = resident_memory(program.pid)
    program.stop()
    return {"seconds": round(seconds, 4), "resident_memory": memory}


def _run(argv: list[str]) -> Figures:
    """
    Return the seconds from exec to the end of a command.
    """
    start = time.monotonic()
    done = subprocess.run(
        pinned(LOAD_CORE, argv), input=MESSAGE, capture_output=True, env=ENVIRON, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr.decode()
    return {"seconds": round(time.monotonic() - start, 4)}
