"""
What a client can send that is of no use, as much of it as is wanted.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from crowd import Place, connected
from stand_in import DOMAIN

PIPELINED = 50  # requests on one connection, where it stays open

_HOST = b"Host: localhost\r\n"


@dataclass(frozen=True, slots=True)
class Attack:
    """
    One connection after the other.

    Args:
        payload: What each of them sends.
        requests: How many requests that is.
    """

    name: str
    place: Place
    payload: bytes
    requests: int = 1

    def run(self, requests: int) -> None:
        """
        Send so many requests; each connection is closed when the daemon has, or has read all.
        """
        for _ in range(max(1, requests // self.requests)):
            self._connect_once()

    def _connect_once(self) -> None:
        # A daemon that cuts a connection, or takes none, does what we want to see.
        with contextlib.suppress(OSError), connected(self.place) as connection:
            connection.sendall(self.payload)
            connection.shutdown(1)
            while connection.recv(65_536):
                pass


def attacks(socketmap: Place, lmtp: Place, http: Place) -> dict[str, Sequence[Attack]]:
    """
    Return all of them, by protocol.
    """
    envelope = f"MAIL FROM:<a@{DOMAIN}>\r\nRCPT TO:<odoo-1@{DOMAIN}>\r\nDATA\r\n".encode()
    stranger = f"RCPT TO:<stranger@{DOMAIN}>\r\n".encode()
    greeting = b"LHLO client.test\r\n"
    call = b"POST /aliases HTTP/1.1\r\n" + _HOST
    post = call + b"Content-Length: 0\r\nX-Mail-Token: wrong\r\n\r\n"
    return {
        "socketmap": (
            Attack("no netstring", socketmap, b"GET / HTTP/1.0\r\n\r\n"),
            Attack("too long", socketmap, b"99999999:aliases "),
            Attack("no comma", socketmap, b"7:aliases;"),
            Attack("no such map", socketmap, b"9:nomap a@b," * PIPELINED, PIPELINED),
        ),
        "LMTP": (
            Attack("unknown commands", lmtp, b"GET /\r\n" * PIPELINED, PIPELINED),
            Attack("a line of 64 kB", lmtp, b"A" * 65_000 + b"\r\n"),
            Attack("unknown recipients", lmtp,
                   greeting + b"MAIL FROM:<>\r\n" + stranger * PIPELINED, PIPELINED),
            Attack("broken off in the data", lmtp, greeting + envelope + b"Subject: x\r\n"),
            Attack("connected and gone", lmtp, b""),
        ),
        "HTTP": (
            Attack("no HTTP", http, b"\x16\x03\x01\x02\x00\r\n\r\n"),
            Attack("wrong token", http, post * PIPELINED, PIPELINED),
            Attack("no such page", http,
                   (b"GET /x HTTP/1.1\r\n" + _HOST + b"\r\n") * PIPELINED, PIPELINED),
            Attack("broken off in the body", http,
                   call + b"Content-Length: 99999\r\n\r\nabc"),
        ),
    }  # fmt: skip
