"""
One request of the daemon, and all that may be done to it.
"""

import http.client
import random
import re
import select
import socket
import ssl
import struct
from contextlib import closing
from dataclasses import dataclass
from email.message import Message as Fields
from io import BytesIO

UPSTREAM_TIMEOUT = 30.0  # seconds for Odoo's stand-in
IDLE = 60.0  # seconds that a connection may be silent
MAX_HEAD = 262_144  # octets of a request's head
_OWN = ("connection", "content-length", "transfer-encoding", "date", "server")


class GoneError(Exception):
    """
    The daemon closed the connection before a fault was fully applied.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An HTTP answer.

    Args:
        fields: Without those that frame the body.
    """

    code: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def head(self, *framing: str, version: str = "1.1") -> bytes:
        """
        Return the status line and the fields.

        Args:
            framing: Further fields, as lines.
        """
        lines = [f"HTTP/{version} {self.code} {http.client.responses.get(self.code, 'Odd')}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        return "\r\n".join([*lines, *framing, "", ""]).encode("latin-1")

    def octets(self, *fields: str, version: str = "1.1") -> bytes:
        """
        Return the whole answer, framed by its length.
        """
        if self.code == 304:
            return self.head(*fields, version=version)
        length = f"Content-Length: {len(self.body)}"
        return self.head(length, *fields, version=version) + self.body


class Stream:
    """
    A connection of the daemon, plain or within TLS.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._input = b""

    def head(self) -> bytes:
        """
        Return the next head; empty where the daemon closes the connection before it.
        """
        self.connection.settimeout(IDLE)
        while b"\r\n\r\n" not in self._input:
            data = self._received()
            if not data or len(self._input) > MAX_HEAD:
                return b""
            self._input += data
        head, _, self._input = self._input.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def read(self, size: int) -> bytes:
        """
        Return so many octets.
        """
        self.connection.settimeout(IDLE)
        parts, missing = [self._input[:size]], size - len(self._input)
        self._input = self._input[size:]
        while missing > 0:
            data = self._received()
            if not data:
                raise GoneError
            parts.append(data[:missing])
            self._input = data[missing:]
            missing -= len(data)
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        """
        Send octets.
        """
        self.connection.settimeout(IDLE)
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise GoneError from error

    def send_below_tls(self, data: bytes) -> None:
        """
        Send octets past the encryption.
        """
        with socket.fromfd(self.connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as below:
            below.settimeout(IDLE)
            below.sendall(data)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return isinstance(self.connection, ssl.SSLSocket)

    def hung_up_within(self, seconds: float) -> bool:
        """
        Wait for the daemon to close the connection; whatever it sends is left unread.
        """
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        return bool(poll.poll(seconds * 1000))

    def reset(self) -> None:
        """
        Break the connection, so that the peer sees a reset.
        """
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def _received(self) -> bytes:
        try:
            return self.connection.recv(65_536)
        except OSError:
            return b""


class Exchange:
    """
    One request.

    Args:
        head: Of the request.
        odoo: Port of Odoo's stand-in.
        deadline: Seconds after which the daemon gives up.
        rng: For what a fault leaves open.

    Attributes:
        keep: The connection serves further requests.
    """

    def __init__(
        self, stream: Stream, head: bytes, odoo: int, deadline: float, rng: random.Random
    ) -> None:
        self.stream = stream
        self.deadline = deadline
        self.rng = rng
        self.keep = False
        self.answered = False  # Odoo has decided
        self._odoo = odoo
        self._head = head
        line, _, rest = head.partition(b"\r\n")
        self.method, self.path, _ = line.decode("latin-1").split(" ")
        self.fields: Fields = http.client.parse_headers(BytesIO(rest))
        self.length = int(self.fields.get("Content-Length", "0"))
        self._body = b""
        self._two_pages = False

    @property
    def recipients(self) -> tuple[str, ...]:
        """Of a delivery."""
        return tuple(word for word in self.fields.get("X-Mail-Recipients", "").split(",") if word)

    def read(self, part: float = 1.0) -> None:
        """
        Read the body, or the first part of it.
        """
        wanted = int(self.length * part)
        self._body += self.stream.read(wanted - len(self._body))

    def drop_condition(self) -> None:
        """
        Ask Odoo for the page itself, even if the daemon has it.
        """
        self._head = re.sub(rb"(?im)^If-None-Match:.*\r\n", b"", self._head)

    def ask_for_text(self) -> None:
        """
        Ask Odoo for a page of lines, where it has one of JSON too.
        """
        self._head = re.sub(rb"(?im)^Accept:.*\r\n", b"", self._head)

    def ask_for_two_pages(self) -> None:
        """
        Have Odoo say its list as one does that knows nothing of changes.
        """
        self._head = re.sub(rb"(?im)^A-IM:.*\r\n", b"", self._head)
        self._two_pages = True

    def forward(self) -> Answer:
        """
        Let Odoo have the request; return its answer, or a gateway's where it gives none.
        """
        self.read()
        try:
            answer = self._asked()
        except (OSError, http.client.HTTPException):
            return Answer(502, (("Content-Type", "text/html"),), b"<h1>Bad Gateway</h1>")
        self.answered = True
        if self._two_pages:
            body = answer.body.replace(b'"transport": true', b'"transport": false')
            return Answer(answer.code, answer.fields, body)
        return answer

    def pass_on(self) -> None:
        """
        Do as a proxy ought to.
        """
        self.stream.send(self.forward().octets())
        self.keep = True

    def _asked(self) -> Answer:
        with socket.create_connection(("127.0.0.1", self._odoo), UPSTREAM_TIMEOUT) as upstream:
            upstream.sendall(self._head + self._body)
            with closing(http.client.HTTPResponse(upstream, method=self.method)) as response:
                response.begin()
                fields = [item for item in response.getheaders() if item[0].lower() not in _OWN]
                return Answer(response.status, tuple(fields), response.read())
