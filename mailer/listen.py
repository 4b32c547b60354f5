"""
Where a service listens, and how Postfix is told to get there.

Source: Twisted's endpoint descriptions; Postfix's lmtp(8), socketmap_table(5).
"""

import re
from dataclasses import dataclass

BACKLOG = 1024  # a full backlog of a UNIX socket fails at once, Twisted's own 50 is soon full
DEFAULT_MODE = 0o660
DEFAULT_GROUP = "postfix"

_ENDPOINT = re.compile(r"(tcp|tcp4|tcp6|ssl|unix|systemd|fd|haproxy):")
_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]*):(?P<port>\d{1,5})")
_ANY = ("", "0.0.0.0", "::", "*")  # noqa: S104 - recognised, not bound


@dataclass(frozen=True, slots=True)
class Listen:
    """
    One listening place: a UNIX socket, a TCP port, or any Twisted endpoint.

    Args:
        path: Of the UNIX socket, absolute; empty for others.
        host: Of the TCP port, a name or address.
        port: Of the TCP port, 0 for others.
        endpoint: A Twisted endpoint description; empty for others.
        mode: Permissions of the UNIX socket.
        group: Its group; empty leaves it to the process.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    endpoint: str = ""
    mode: int = DEFAULT_MODE
    group: str = DEFAULT_GROUP

    def __str__(self) -> str:
        return self.path or self.endpoint or f"{_bracketed(self.host)}:{self.port}"

    @property
    def description(self) -> str:
        """The Twisted endpoint description of a place that is no path, backlog included."""
        if self.endpoint:
            plain = self.endpoint.startswith(("tcp", "unix")) and "backlog=" not in self.endpoint
            return f"{self.endpoint}:backlog={BACKLOG}" if plain else self.endpoint
        return f"tcp:{self.port}:interface={_quoted(self.host)}:backlog={BACKLOG}"

    @property
    def reachable_host(self) -> str:
        """The host to connect to: loopback, where it listens on all addresses."""
        return "127.0.0.1" if self.host in _ANY else self.host

    @property
    def client(self) -> str:
        """The Twisted endpoint description to connect to it; empty where there is none."""
        if self.path:
            return f"unix:{_quoted(self.path)}"
        if self.port:
            return f"tcp:{_quoted(self.reachable_host)}:{self.port}"
        return ""

    def postfix(self, queue_directory: str) -> str:
        """
        Return how Postfix names it, ``unix:path`` or ``inet:host:port``; empty where it cannot.

        A path below the queue directory is given relative to it, because
        Debian's chrooted services see it so, and the others work there.
        """
        if self.path:
            inside = self.path.removeprefix(queue_directory.rstrip("/") + "/")
            return f"unix:{inside}"
        return f"inet:{_bracketed(self.reachable_host)}:{self.port}" if self.port else ""


def parse_listen(text: str, mode: int = DEFAULT_MODE, group: str = DEFAULT_GROUP) -> Listen:
    """
    Read an absolute path, ``host:port``, or a Twisted endpoint description.

    Raises:
        ValueError: It is none of them; says what was expected.
    """
    if text.startswith("/"):
        if len(text.encode()) > 107:
            raise ValueError("a socket path has at most 107 octets, unix(7)")
        return Listen(path=text, mode=mode, group=group)
    if _ENDPOINT.match(text):
        return Listen(endpoint=text)
    match = _HOST_PORT.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError("expected an absolute path, host:port, or a Twisted endpoint description")
    return Listen(host=match["host"].strip("[]"), port=int(match["port"]))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _quoted(text: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", text)
