"""
HTTP as the client of Odoo needs it, whoever speaks it: Twisted in the daemon, asyncio in ``pipe``.
"""

from collections.abc import Coroutine, Mapping
from io import RawIOBase
from typing import Any, Protocol, TypeVar

from mailer.config import Server
from mailer.errors import ConfigError, Fault, NoAnswerError

CONNECT_TIMEOUT = 10  # seconds
NO_HTTP = "an answer that is no HTTP"  # whatever the parser says, which may show all of it
PIECE = 65_536  # octets of a message that are read at once

_T = TypeVar("_T")


class Response(Protocol):
    """
    An answer, of which the body is still to be read.
    """

    @property
    def code(self) -> int:
        """The status."""

    def field(self, name: str) -> str | None:
        """
        Return the first value of a header field, whatever octets it has; None where there is none.
        """

    async def pieces(self, limit: int, whole: bool) -> list[bytes]:
        """
        Return the body, as it came: to join a large one takes long.

        Args:
            limit: Octets.
            whole: A body of which nobody can tell that it is complete is refused, as is one of
                more octets; else it is cut there.

        Raises:
            ListError: It has more octets.
        """

    def close(self) -> None:
        """
        Send no more of the request: the server has answered, and may not want it.
        """


class Http(Protocol):
    """
    Makes calls. Redirects are not followed, cookies not kept, content codings not taken.
    """

    async def request(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str | bytes],
        body: RawIOBase | None = None,
    ) -> Response:
        """
        Return the answer to a request.

        Args:
            body: Is sent from its beginning, and left open; it may have to be sent again.
        """

    async def within(self, seconds: float, call: Coroutine[Any, Any, _T]) -> _T:
        """
        Return what a call returns that makes requests, if it does so in time.

        Raises:
            UnreachableError: There was no connection.
            NoAnswerError: A connection, but no answer, or it is not there in time.
            TlsError: TLS failed.
            MailerError: As the call raises it.
        """


def check_coding(coding: str | None) -> None:
    """
    Make sure that an answer has no content coding: of a broken one nobody would notice.

    Args:
        coding: Its ``Content-Encoding``.

    Raises:
        NoAnswerError: It has one, which was not asked for.
    """
    if coding not in (None, "", "identity"):
        raise NoAnswerError("an answer in a content coding that was not asked for")


def unreadable_ca(server: Server) -> ConfigError:
    """
    Return what is raised where the ``ca`` of a server holds no certificates.
    """
    fault = Fault(0, "ca", "a certificate in this file cannot be read")
    return ConfigError(server.name, [fault])


def said(error: BaseException) -> str:
    """
    Return what an error says, on one line of at most 200 characters.
    """
    return " ".join(str(error).split())[:200] or type(error).__name__


def too_late(seconds: float) -> NoAnswerError:
    """
    Return what is raised where an answer is not there in time.
    """
    return NoAnswerError(f"no answer within {seconds:g} s")
