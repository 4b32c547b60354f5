"""
The installed daemon with an Odoo that is no further away than a function: what receiving alone
costs.

usage: receiver.py CONFIG -r FD

Listening, limits, sessions, spool, digest, header, verdicts, log and metrics are the daemon's;
only the HTTP of a delivery is left out. A newline is written to the descriptor FD once it listens.
"""

import json
import sys
from collections.abc import Coroutine, Mapping
from io import RawIOBase
from typing import Any, TypeVar

from mailer import config_file
from mailer.daemon import Daemon, Roles
from mailer.descriptors import raise_descriptor_limit
from mailer.http_exchange import Http, Response
from mailer.running import serve, start_logging

_T = TypeVar("_T")


class AtOnce:
    """
    Stands for the ``Http`` of a client: mail is answered here, all else is passed on.
    """

    def __init__(self, http: Http) -> None:
        self._http = http

    async def request(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str | bytes],
        body: RawIOBase | None = None,
    ) -> Response:
        """
        Store nothing.
        """
        if method != "POST":
            return await self._http.request(method, url, fields, body)
        recipients = fields["X-Mail-Recipients"]
        assert isinstance(recipients, bytes)
        return _Stored(recipients.decode().split(","))

    async def within(self, seconds: float, call: Coroutine[Any, Any, _T]) -> _T:
        """
        As ever.
        """
        return await self._http.within(seconds, call)


class _Stored:
    """
    Odoo's answer for mail that it took.
    """

    code = 200

    def __init__(self, recipients: list[str]) -> None:
        self._recipients = recipients

    def field(self, name: str) -> str | None:
        return "1" if name == "X-Mail-Delivery" else None

    async def pieces(self, limit: int, whole: bool) -> list[bytes]:
        reply = {"code": 250, "status": "2.0.0", "text": "stored"}
        return [json.dumps({"recipients": dict.fromkeys(self._recipients, reply)}).encode()]

    def close(self) -> None:
        pass


class Receiver(Daemon):
    """
    The daemon, but for the HTTP of its deliveries.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for delivery in self._generation.deliverer.servers.values():
            client = delivery._client._client
            client._http = AtOnce(client._http)


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
