"""
What may go wrong before the first octet of HTTP.
"""

import random
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from certificates import Authority
from exchange import Stream

ADDRESS = "127.0.0.1"
HANDSHAKE = 10.0  # seconds
_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # fatal, handshake_failure

Fault = Callable[[socket.socket, random.Random], None]


class Handshakes:
    """
    Makes TLS connections, and breaks them in every way.

    Args:
        folder: Gets the certificates.

    Attributes:
        ca: What the daemon trusts.
        faults: By name.
    """

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        self.ca = folder / "authority.pem"
        self.ca.write_text(authority.pem)
        self._context = authority.context(folder / "server.pem", ADDRESS)
        untrusted = Authority("Stranger").context(folder / "untrusted.pem", ADDRESS)
        misnamed = authority.context(folder / "misnamed.pem", "192.0.2.1")
        self.faults: dict[str, Fault] = {
            "TLS: closed at once": _close,
            "TLS: handshake refused": _refuse,
            "TLS: cut in the handshake": self._cut,
            "TLS: no handshake, HTTP": _speak_http,
            "TLS: untrusted certificate": _shown(untrusted),
            "TLS: certificate for another name": _shown(misnamed),
        }

    def make(self, connection: socket.socket) -> ssl.SSLSocket:
        """
        Make the handshake as it ought to be.

        Raises:
            OSError: The daemon went away.
        """
        connection.settimeout(HANDSHAKE)
        return self._context.wrap_socket(connection, server_side=True)

    def _cut(self, connection: socket.socket, rng: random.Random) -> None:
        """
        Send a part of what a server says first, then break the connection.
        """
        hello = connection.recv(65_536)
        if not hello:
            raise ConnectionResetError
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(hello)
        with suppress(ssl.SSLWantReadError):
            self._context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
        said = outgoing.read()
        connection.sendall(said[: rng.randrange(1, len(said))])
        time.sleep(0.02)
        Stream(connection).reset()


def _close(connection: socket.socket, rng: random.Random) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def _refuse(connection: socket.socket, rng: random.Random) -> None:
    connection.recv(65_536)
    connection.sendall(_ALERT)


def _speak_http(connection: socket.socket, rng: random.Random) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def _shown(context: ssl.SSLContext) -> Fault:
    def fault(connection: socket.socket, rng: random.Random) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                # In TLS 1.3 the client's refusal comes after our end of the handshake.
                if secured.recv(1):
                    raise AssertionError("the daemon sent a request to a wrong certificate")
        except OSError:
            pass  # it refuses, as it ought to

    return fault
