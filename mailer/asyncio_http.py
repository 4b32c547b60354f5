"""
HTTP on asyncio, by h11: for ``pipe``, where loading Twisted takes longer than everything else.

Source: RFC 9110, RFC 9112; ssl and asyncio of Python's library.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Coroutine, Mapping
from io import RawIOBase
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import h11

from mailer.config import Server
from mailer.errors import (
    ListError,
    MailerError,
    NoAnswerError,
    TlsError,
    UnreachableError,
)
from mailer.http_exchange import (
    CONNECT_TIMEOUT,
    NO_HTTP,
    PIECE,
    check_coding,
    said,
    too_late,
    unreadable_ca,
)

MAX_HEADER = 65_536  # octets of an answer's header
NEXT_ADDRESS = 0.25  # seconds until the next address of a host is tried too, RFC 8305

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_T = TypeVar("_T")


class AsyncioHttp:
    """
    See ``http_exchange.Http``; makes a connection for each request.

    Raises:
        ConfigError: The ``ca`` holds no certificates.
    """

    def __init__(self, server: Server) -> None:
        self._trust = _trust(server) if server.url.startswith("https:") else None

    async def request(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str | bytes],
        body: RawIOBase | None = None,
    ) -> "_Response":
        split = urlsplit(url)
        fields = {**fields, "Host": split.netloc, "Connection": "close"}
        if body is not None:
            fields["Content-Length"] = str(body.seek(0, os.SEEK_END))
            body.seek(0)
        headers = [(name.encode("ascii"), _octets(value)) for name, value in fields.items()]
        request = h11.Request(method=method, target=split.path, headers=headers)
        exchange = await self._connected(split.hostname or "", split.port)
        try:
            exchange.send(request, body)
            response = _Response(exchange, await exchange.response())
            check_coding(response.field("Content-Encoding"))
        except BaseException:
            exchange.close()
            raise
        return response

    async def within(self, seconds: float, call: Coroutine[Any, Any, _T]) -> _T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except MailerError:
            raise
        except TimeoutError:
            raise too_late(seconds) from None
        except ssl.SSLError as error:
            raise TlsError(f"TLS failed: {_said(error)}") from None
        except Exception as error:
            raise NoAnswerError(_said(error)) from None

    async def _connected(self, host: str, port: int | None) -> "_Exchange":
        """
        Raises:
            UnreachableError, TlsError: There is no connection.
        """
        connecting = asyncio.get_running_loop().create_connection(
            _Exchange,
            host,
            port or (443 if self._trust else 80),
            ssl=self._trust,
            happy_eyeballs_delay=NEXT_ADDRESS,
        )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, exchange = await connecting
        except ssl.SSLError as error:
            raise TlsError(f"TLS failed: {_said(error)}") from None
        except TimeoutError:
            raise UnreachableError(f"no connection within {CONNECT_TIMEOUT} s") from None
        except OSError as error:
            raise UnreachableError(_said(error)) from None
        return exchange


class _Exchange(asyncio.Protocol):
    """
    One request and its answer, which may come before the request has been sent.
    """

    _transport: asyncio.Transport
    _sending: "asyncio.Task[None] | None" = None

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._failure: BaseException | None = None  # nothing more arrives after it
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._arrived.set()

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self._failure = self._failure or error
        self._end()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def send(self, request: h11.Request, body: RawIOBase | None) -> None:
        """
        Begin to send.
        """
        self._sending = asyncio.get_running_loop().create_task(self._send(request, body))
        self._sending.add_done_callback(self._sent)

    async def response(self) -> h11.Response:
        """
        Return the header of the answer.
        """
        while isinstance(event := await self.event(), h11.InformationalResponse):
            pass  # nothing is wanted of those, 1xx
        if not isinstance(event, h11.Response):
            raise NoAnswerError("the connection was closed before an answer")
        return event

    async def event(self) -> Any:
        """
        Return what comes next of the answer.
        """
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._failure is not None:
                raise self._failure
            self._arrived.clear()
            await self._arrived.wait()
        return event

    def close(self) -> None:
        """
        End the connection, whatever is still under way.
        """
        if self._sending is not None:
            self._sending.cancel()
        self._transport.abort()

    async def _send(self, request: h11.Request, body: RawIOBase | None) -> None:
        self._write(request)
        while body is not None and (piece := body.read(PIECE)):
            # An answer may have come, and go with the connection if that cannot be written to:
            # the first turn of the loop finds it, the second one reads it.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await self._writable.wait()
            self._write(h11.Data(data=piece))
        self._write(h11.EndOfMessage())

    def _write(self, event: Any) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._h11.send(event) or b"")

    def _sent(self, sending: "asyncio.Task[None]") -> None:
        if not sending.cancelled() and (error := sending.exception()) is not None:
            self._failure = error
            self._arrived.set()

    def _end(self) -> None:
        if not self._ended and self._failure is None:
            self._h11.receive_data(b"")
        self._ended = True
        self._arrived.set()


class _Response:
    def __init__(self, exchange: _Exchange, head: h11.Response) -> None:
        self.code = head.status_code
        self._exchange = exchange
        self._head = head

    def field(self, name: str) -> str | None:
        for key, value in self._head.headers:
            if key == name.lower().encode("ascii"):
                return value.decode("latin-1").strip()
        return None

    async def pieces(self, limit: int, whole: bool) -> list[bytes]:
        if whole and not (self.field("Content-Length") or self.field("Transfer-Encoding")):
            raise NoAnswerError("an answer of which nobody can tell that it is complete")
        found: list[bytes] = []
        size = 0
        while isinstance(event := await self._exchange.event(), h11.Data):
            found.append(bytes(event.data))
            size += len(event.data)
            if size > limit:
                if whole:
                    raise ListError(f"an answer of more than {limit} octets")
                return [b"".join(found)[:limit]]
        return found

    def close(self) -> None:
        self._exchange.close()


def _trust(server: Server) -> ssl.SSLContext:
    """
    Return whom the server's ``ca``, or the system, trusts; a certificate has to name the host.
    """
    # Between the certificates of a bundle there may be names, in any alphabet.
    authorities = "\n".join(_CERTIFICATE.findall(server.ca)) or server.ca
    try:
        context = ssl.create_default_context(cadata=authorities or None)
    except (ssl.SSLError, TypeError):
        raise unreadable_ca(server) from None
    context.hostname_checks_common_name = False
    # Since Python 3.13; the daemon, too, takes what OpenSSL takes.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _octets(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _said(error: BaseException) -> str:
    return NO_HTTP if isinstance(error, h11.ProtocolError) else said(error)
