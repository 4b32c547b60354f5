"""
The installed daemon with an Odoo that is no further away than a function: what receiving alone
costs.

usage: receiver.py CONFIG -r FD

Listening, limits, sessions, spool, digest, header and the metrics of LMTP are the daemon's. The
delivery is left out, with its turn, log line and metrics: what that costs is in what is measured
through to a server. A newline is written to the descriptor FD once it listens.
"""

import sys
from typing import Any

from mailer import config_file
from mailer.daemon import Daemon, Roles
from mailer.delivery import Deliverer
from mailer.descriptors import raise_descriptor_limit
from mailer.odoo import Delivery
from mailer.reply import Reply
from mailer.running import serve, start_logging


class AtOnce:
    """
    Stands for ``ServerDelivery``.
    """

    is_up, in_flight = True, 0

    def refusal(self) -> Reply | None:
        """
        Take all mail.
        """
        return None

    async def deliver(self, delivery: Delivery) -> list[Reply]:
        """
        Store nothing.
        """
        return [Reply(250, "2.0.0", "stored")] * len(delivery.recipients)


class Receiver(Daemon):
    """
    The daemon, but for the deliverer.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        servers: Any = {name: AtOnce() for name in self._generation.deliverer.servers}
        self._lmtp.deliverer = Deliverer(servers)


def main(path: str, _: str, ready: str) -> int:
    """
    Serve until SIGTERM.
    """
    config = config_file.load(path)
    lines = start_logging(config.log, "info")
    from twisted.internet import reactor

    roles = Roles()
    receiver = Receiver(lambda: config, config, roles, reactor, raise_descriptor_limit())
    return serve(receiver, reactor, lines, int(ready))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
