"""
Socket activation: the supervisor listens, the daemon inherits.
"""

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from installation import Installation
from programs import Program, odoo_mailer

# sd_listen_fds(3): the sockets are descriptors 3 and 4. One that tells readiness is moved away.
ACTIVATE = """
import fcntl, os, sys
end = sys.argv.index("--")
held = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[1:end]]
argv = sys.argv[end + 1:]
if "-r" in argv:
    place = argv.index("-r") + 1
    ready = fcntl.fcntl(int(argv[place]), fcntl.F_DUPFD, 100)
    os.close(int(argv[place]))
    argv[place] = str(ready)
for number, descriptor in enumerate(held, 3):
    os.dup2(descriptor, number)
names = ":".join(map(str, held))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(held)), LISTEN_FDNAMES=names)
os.execv(argv[0], argv)
"""


@contextmanager
def held_sockets(
    site: Installation, command: Callable[[Path, str], list[str]] = odoo_mailer
) -> Iterator[Program]:
    """
    Yield a daemon, not yet started, that gets its UNIX sockets as systemd would give them.

    Args:
        command: See ``odoo_mailer``.
    """
    site.daemon.stop()
    config = site.folder / "held.yaml"
    places = {"socketmap": "odoo-map", "socket": "odoo-lmtp"}
    endpoints = {key: f"systemd:domain=UNIX:index={n}" for n, key in enumerate(places)}
    config.write_text(site.settings(**endpoints))
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in places]
        for listener, name in zip(sockets, places.values(), strict=True):
            path = site.postfix.queue / "private" / name
            stack.callback(path.unlink, missing_ok=True)
            listener.bind(str(path))
            shutil.chown(path, group="postfix")
            path.chmod(0o660)
            listener.listen(1024)
        descriptors = [listener.fileno() for listener in sockets]
        argv = [sys.executable, "-IS", "-c", ACTIVATE, *map(str, descriptors), "--"]
        daemon = Program([*argv, *command(config, "daemon")], config.with_suffix(".log"))
        daemon.descriptors = descriptors
        stack.callback(daemon.stop)
        yield daemon
