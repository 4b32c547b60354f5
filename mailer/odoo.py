"""
The client of ``mail_delivery``: fetches the list, delivers mail.

One deadline stands round each whole call; redirects are never followed,
because the token would go with them. Of two tokens, while one is being
changed, the other is tried where Odoo refuses the one in use: nothing was
delivered then, and no mail has to wait for both ends to agree.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mailer import __version__
from mailer.address import encode
from mailer.alias_list import MERGE_PATCH
from mailer.concealed import Concealed
from mailer.config import Server, Token
from mailer.errors import MailerError, NoAnswerError, TemporaryError
from mailer.http_exchange import Http, Response
from mailer.http_failures import explained
from mailer.pages import IsWhole, Page, Pages
from mailer.spool import MessageReader
from mailer.store import Etags
from mailer.verdict import Answer, parse_retry_after
from mailer.visible import one_line, visible

MAX_LIST = 268_435_456  # octets of a list page: several million aliases
MAX_JOINED = 1_048_576  # octets of a page that takes no time to join
MAX_VERDICT = 4_194_304  # octets of an answer to pipe: 1,000 recipients with 500 of text each
MIN_SECRET = 12  # octets: a shorter token could well be a part of something else
PROBE_TIMEOUT = 3.0  # seconds
IM_USED = 226  # RFC 3229 10.4.1
FETCHES = 4  # of both pages, until they fit together

_TOKEN_REFUSED = (401, 403)
_T = TypeVar("_T")


class _HasCode(Protocol):
    @property
    def code(self) -> int: ...


_R = TypeVar("_R", bound=_HasCode)


@dataclass(frozen=True, slots=True)
class _PageAnswer:
    """
    An answer to the question for a page: the page, or what else it was.
    """

    code: int
    page: Page | None
    refusal: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One message for one server.

    Args:
        sender: Reverse path, empty for the null one.
        recipients: Folded; none where Odoo is to find them in the header.
        digest: SHA-256 of the message as received, hexadecimal.
        queue_id: Postfix's; may be empty.
    """

    sender: str
    recipients: tuple[str, ...]
    digest: str
    queue_id: str
    body: MessageReader


class OdooClient:
    """
    Args:
        http: Makes the calls.
        on_mark: Called once, when the server first marks an answer.
        marked: The server has done so before.
    """

    def __init__(
        self,
        server: Server,
        http: Http,
        on_mark: Callable[[], None],
        marked: bool = False,
    ) -> None:
        self.server = server
        self.marked = marked
        self._token = server.token
        self._http = http
        self._on_mark = on_mark

    async def fetch(
        self, etags: Etags, is_whole: IsWhole | None = None, patch: bool = False
    ) -> Pages:
        """
        Return the pages of the list; only those that the etags do not stand for.

        Args:
            is_whole: Says of a page of aliases, also of one that has not changed, whether it is
                the whole list, and no page of transport is needed. None is, if not given.
            patch: A patch of the page of aliases will do.

        Raises:
            UnreachableError: No connection, or no answer in time.
            TlsError: TLS failed.
            TemporaryError: An answer that is no list, such as 401 or 404.
            ListError: A page of more than ``MAX_LIST`` octets.
        """
        call = self._fetch(etags, is_whole or _never, patch)
        return await self._within(self.server.timeout, call)

    async def deliver(self, delivery: Delivery) -> Answer:
        """
        Hand over a message.

        Raises:
            UnreachableError: There was no connection.
            NoAnswerError: A connection, but no answer: Odoo may have it or not.
            TlsError: TLS failed.
        """
        return await self._within(self.server.timeout, self._deliver(delivery))

    async def probe(self) -> None:
        """
        Ask for a sign of life: any answer that is not a proxy's on its own behalf.

        Raises:
            UnreachableError: There was none within ``PROBE_TIMEOUT``.
            TlsError: TLS failed.
        """
        await self._within(PROBE_TIMEOUT, self._probe())

    async def _within(self, seconds: float, call: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await self._http.within(seconds, call)
        except MailerError as error:
            raise type(error)(self._without_token(str(error))) from None

    def _without_token(self, text: str) -> str:
        for token in self.server.tokens:
            text = text.replace(token.value, "***")
        return text

    def _without_echo(self, body: bytes) -> bytes:
        """
        Return a body without a token: Odoo may put what it was asked into a text for a sender.
        """
        for token in self.server.tokens:
            if len(token.value) >= MIN_SECRET:
                body = body.replace(token.value.encode(), b"***")
        return body

    def _list_without_echo(self, pieces: list[bytes]) -> bytes | Iterable[bytes]:
        """
        Return a page without a token, which is found in a large one only as it is read.
        """
        if sum(map(len, pieces)) <= MAX_JOINED:
            return self._without_echo(b"".join(pieces))
        values = (token.value.encode() for token in self.server.tokens)
        return Concealed(pieces, tuple(value for value in values if len(value) >= MIN_SECRET))

    async def _accepted(self, call: Callable[[Token], Coroutine[Any, Any, _R]]) -> _R:
        """
        Make a call with the token in use, and where Odoo refuses that, with the other one.

        Where it takes neither, what it said of the one in use stands.
        """
        token = self._token
        answer = await call(token)
        others = [other for other in self.server.tokens if other != token]
        if answer.code not in _TOKEN_REFUSED or not others:
            return answer
        second = await call(others[0])
        if second.code in _TOKEN_REFUSED:
            return answer
        if second.code < 400 and self._token != others[0]:
            self._token = others[0]
            from twisted.logger import Logger  # late: takes a tenth of a second of ``pipe``

            Logger().info("{server} takes the other of its two tokens from now on",
                     server=self.server.name)  # fmt: skip
        return second

    async def _fetch(self, etags: Etags, is_whole: IsWhole, patch: bool) -> Pages:
        """
        Return both pages as they were at one moment, or the one that says all.

        Aliases come before transport: an address made in between is then known to
        transport alone, which does no harm. One removed in between would be known to
        aliases alone, and its mail would bounce; so where anything has changed, aliases
        are asked for again, and have to be the same. Without an etag nobody can tell.
        """
        aliases = await self._page("aliases", etags.aliases, patch)
        for _ in range(FETCHES):
            if aliases.is_patch or await is_whole(aliases):
                return Pages(aliases, Page(None, ""))
            transport = await self._page("transport", etags.transport)
            pages = Pages(aliases, transport)
            if not pages.changed or not aliases.etag:
                return pages
            again = await self._page("aliases", aliases.etag)
            if again.content is None:
                return pages
            aliases = again
        raise TemporaryError("the list changes faster than it can be fetched")

    async def _page(self, name: str, etag: str, patch: bool = False) -> Page:
        answer = await self._accepted(lambda token: self._get(token, name, etag, patch))
        if answer.code == IM_USED and answer.page is None:
            answer = await self._accepted(lambda token: self._get(token, name, "", False))
        if answer.page is None:
            kind = NoAnswerError if answer.code in (502, 504) else TemporaryError
            raise kind(f"{name}: {answer.refusal}")
        return answer.page

    async def _get(self, token: Token, name: str, etag: str, patch: bool) -> _PageAnswer:
        headers = self._headers(token)
        headers["Accept"] = "application/json, text/plain;q=0.9"
        if etag:
            headers["If-None-Match"] = etag
            headers |= {"A-IM": MERGE_PATCH} if patch else {}
        response = await self._request("GET", name, headers)
        marked = self._note_mark(response)
        is_patch = patch and response.code == IM_USED and _is_patch_of(response, etag)
        has_list = response.code == 200 or is_patch
        pieces = await response.pieces(MAX_LIST, whole=has_list)
        if has_list and self.marked and not marked:
            return _PageAnswer(response.code, None, "an answer without the mark of mail_delivery")
        if response.code == 304 and etag:
            return _PageAnswer(304, Page(None, etag), "")
        if not has_list:
            return _PageAnswer(response.code, None, explained(response))
        page = Page(self._list_without_echo(pieces), _etag(response), is_patch)
        return _PageAnswer(response.code, page, "")

    async def _deliver(self, delivery: Delivery) -> Answer:
        return await self._accepted(lambda token: self._post(token, delivery))

    async def _post(self, token: Token, delivery: Delivery) -> Answer:
        headers = self._headers(token)
        headers |= {
            "Accept": "application/json",
            "Content-Type": "message/rfc822",
            "X-Mail-Sender": encode(one_line(delivery.sender)),
            "X-Mail-Digest": f"sha-256={delivery.digest}",
        }
        if delivery.recipients:
            headers["X-Mail-Recipients"] = encode(_listed(delivery.recipients))
        if delivery.queue_id:
            headers["X-Mail-Queue-Id"] = delivery.queue_id
        response = await self._request("POST", "pipe", headers, delivery.body)
        try:
            marked = self._note_mark(response)
            body = b"".join(await response.pieces(MAX_VERDICT, whole=False))
        finally:
            response.close()  # an answer may come before the message has been read
        retry_after = parse_retry_after(response.field("Retry-After"))
        return Answer(response.code, marked, self._without_echo(body), retry_after)

    async def _probe(self) -> None:
        # A method that the point does not have is refused before Odoo opens its database.
        response = await self._request("HEAD", "pipe", self._headers(self._token))
        await response.pieces(0, whole=False)
        if response.code in (502, 503, 504) and not self._note_mark(response):
            raise NoAnswerError(explained(response))

    async def _request(
        self, method: str, name: str, headers: dict[str, Any], body: MessageReader | None = None
    ) -> Response:
        url = f"{self.server.url}/mail_delivery/{name}"
        return await self._http.request(method, url, headers, body)

    def _headers(self, token: Token) -> dict[str, Any]:
        headers: dict[str, Any] = {
            "User-Agent": f"odoo-mailer/{__version__}",
            "Cache-Control": "no-cache",  # a list from a proxy may be an old one
            "X-Mail-Token": token.value,
        }
        if self.server.database:
            headers["X-Odoo-Database"] = self.server.database
        return headers

    def _note_mark(self, response: Response) -> bool:
        marked = response.field("X-Mail-Delivery") == "1"
        if marked and not self.marked:
            self.marked = True
            self._on_mark()
        return marked


async def _never(_: Page) -> bool:
    return False


def _is_patch_of(response: Response, etag: str) -> bool:
    """
    Say whether an answer that is a patch is one of the page with this etag (RFC 3229 10.5).
    """
    manipulations = response.field("IM")
    return (manipulations, response.field("Delta-Base")) == (MERGE_PATCH, etag) and bool(
        _etag(response)
    )


def _etag(response: Response) -> str:
    """
    Return the validator of a page, empty where there is none that could be sent back.
    """
    etag = response.field("ETag") or ""
    return etag if etag.isascii() and etag.isprintable() else ""


def _listed(recipients: Sequence[str]) -> str:
    """
    Return addresses with commas between them.

    Raises:
        TemporaryError: One has a comma itself, in a quoted local part: it would be two.
    """
    for recipient in recipients:
        if "," in recipient or recipient != one_line(recipient):
            raise TemporaryError(f"a recipient that cannot be named to Odoo: {visible(recipient)}")
    return ",".join(recipients)
