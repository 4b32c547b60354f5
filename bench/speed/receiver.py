"""
The installed daemon with an Odoo that is no further away than a function: what receiving alone
costs.

usage: receiver.py CONFIG -r FD

Listening, limits, sessions, spool, digest, header, turns, verdict, log and metrics
are the daemon's; only the call to Odoo is left out. A newline is written to the descriptor FD once
it listens.
"""

import json
import sys
from typing import Any

from mailer import config_file
from mailer.daemon import Daemon, Roles
from mailer.descriptors import raise_descriptor_limit
from mailer.odoo import Delivery
from mailer.running import serve, start_logging
from mailer.verdict import Answer


async def stored(delivery: Delivery) -> Answer:
    """
    Stand for ``OdooClient.deliver``: Odoo has stored it.
    """
    reply = {"code": 250, "status": "2.0.0", "text": "stored"}
    verdict = {"recipients": dict.fromkeys(delivery.recipients, reply)}
    return Answer(200, marked=True, body=json.dumps(verdict).encode())


class Receiver(Daemon):
    """
    The daemon, but for the call to Odoo.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for delivery in self._generation.deliverer.servers.values():
            delivery._client._client.deliver = stored


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
