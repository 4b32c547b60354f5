"""
A client of the socketmap that behaves as Postfix's own does.

Source: Postfix's dict_sockmap.c, auto_clnt.c and unix_connect.c.
"""

import contextlib
import socket
import time
from pathlib import Path

LIMIT = 100  # seconds that Postfix waits for an answer
LOOKUPS = 25  # on one connection: Postfix's processes come and go


class SocketmapClient:
    """
    Keeps its connection; when that ends within a lookup it asks once more, on another one.

    A connection that cannot be had is a failure at once, and so is a full backlog.

    Args:
        address: One that the daemon answers with itself.
        split: Write each request in two halves.

    Attributes:
        request, answer: What is sent, and what comes back.
    """

    def __init__(self, path: Path, address: str, split: bool = False) -> None:
        self._path = str(path)
        request = f"aliases {address}".encode()
        self.request = b"%d:%b," % (len(request), request)
        answer = f"OK {address}".encode()
        self.answer = b"%d:%b," % (len(answer), answer)
        self._split = split
        self._connection: socket.socket | None = None
        self._used = 0

    def lookup(self) -> tuple[str, int]:
        """
        Make one lookup; return ``ok`` or what Postfix would log, and how often it began anew.
        """
        for attempt in (0, 1):
            try:
                self.connect()
            except OSError as error:
                return f"connect: {error.strerror}", attempt
            try:
                self._ask()
                answer = self.receive()
            except TimeoutError:
                return "timeout", attempt
            if answer:
                return ("ok" if answer == self.answer else repr(answer)), attempt
            self.close()
        return "unexpected end of file", 2

    def _ask(self) -> None:
        half = len(self.request) // 2 if self._split else 0
        if half:
            self.send(self.request[:half])
            time.sleep(0.001)
        self.send(self.request[half:])

    def connect(self) -> None:
        """
        Connect, unless there is a connection that may be used again.

        Raises:
            OSError: It cannot be had.
        """
        if self._used >= LOOKUPS:
            self.close()
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(LIMIT)  # makes a full backlog an error, as in Postfix
            connection.connect(self._path)
            self._connection, self._used = connection, 0
        self._used += 1

    def send(self, octets: bytes) -> None:
        """
        Write a part of the request; that the connection has ended is seen in reading.
        """
        assert self._connection is not None
        with contextlib.suppress(ConnectionError):
            self._connection.sendall(octets)

    def receive(self) -> bytes:
        """
        Return the answer; nothing where the connection ended first.

        Raises:
            TimeoutError: Nothing came.
        """
        assert self._connection is not None
        answer = b""
        while not answer.endswith(b","):
            try:
                data = self._connection.recv(4096)
            except ConnectionError:
                return b""
            if not data:
                return b""
            answer += data
        return answer

    def close(self) -> None:
        """
        Close the connection, if there is one.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection, self._used = None, 0
