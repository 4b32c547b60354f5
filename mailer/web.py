"""
HTTP that the daemon serves: the webhook, refresh on demand, metrics, health.
"""

import json
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request, datetimeToString

from mailer.alias_list import (
    MERGE_PATCH_TYPE,
    AliasList,
    parse_json_mapping,
    parse_mapping,
    parse_patch,
)
from mailer.errors import ListError, TemporaryError
from mailer.http_server import BoundedRequest, BoundedSite
from mailer.metrics import Metrics
from mailer.page_text import NotJsonError, texts
from mailer.reading import InThread
from mailer.refresh import Outcome, Refresher
from mailer.throttle import Throttle, source_of
from mailer.yaml_text import load

MAX_BODY = 67_108_864  # octets
SMALL_BODY = 100_000  # octets: up to there Twisted keeps a body in memory, and nobody minds
MAX_LARGE = 2  # larger ones at once
LARGE_RETRY = 10  # seconds
WRONG_TOKENS = (10, 6.0)  # of one source in a row, and seconds until there may be one more

LIST_TYPES = ("application/yaml", MERGE_PATCH_TYPE)

_T = TypeVar("_T")
Health = Callable[[], tuple[bool, dict[str, Any]]]

log = Logger()


class Said(NamedTuple):
    """
    What is answered.

    Args:
        text: Without the line end that follows it.
        retry_after: Seconds; 0 says nothing of it.
        allow: The methods that are allowed, where this one is not.
    """

    code: int
    text: str
    retry_after: float = 0
    allow: str = ""
    content_type: str = "text/plain; charset=utf-8"


NOTHING_HERE = Said(404, "There is nothing here")
NO_GET = Said(405, "GET is expected here", allow="GET, HEAD")
NO_POST = Said(405, "POST is expected here", allow="POST")
WRONG_TYPE = Said(415, f"{' or '.join(LIST_TYPES)} is expected, or an empty body")
PostAnswer = Callable[[BoundedRequest, Refresher], Awaitable[Said]]


class WebSite(BoundedSite):
    """
    The site; scrapes are not worth a log line.
    """

    def __init__(self, web: "WebHandler", reactor: IReactorTime) -> None:
        super().__init__(web.answer, web.wanted, reactor)
        web.seconds = reactor.seconds

    def log(self, request: Request) -> None:
        log.debug(
            "{method} {path}: {code}",
            method=request.method.decode("latin-1"),
            path=request.path.decode("latin-1"),
            code=request.code,
        )


class WebHandler:
    """
    Answers requests.

    Args:
        prefix: Path of the webhook.
        refreshers: One for each server; the token tells which is meant.
        health: Whether the daemon is ready, and the details.

    Attributes:
        refreshers: May be rebound at any time.
        seconds: The time, of any steady clock; the site sets it.
    """

    seconds: Callable[[], float]

    def __init__(
        self,
        prefix: str,
        refreshers: Iterable[Refresher],
        metrics: Metrics,
        health: Health,
        in_thread: InThread,
    ) -> None:
        self.refreshers = refreshers
        self._metrics = metrics
        self._health = health
        self._in_thread = in_thread
        self._wrong_tokens = Throttle(*WRONG_TOKENS)
        self._large: set[BoundedRequest] = set()
        self._parsing = DeferredLock()
        self._posts = {
            "/" + prefix.strip("/"): self._webhook,
            "/refresh": self._refresh,
        }
        self._gets = {
            "/metrics": self._show_metrics,
            "/healthz": self._show_health,
            "/readyz": self._show_readiness,
        }

    def wanted(self, request: BoundedRequest, length: int | None) -> int | None:
        """
        Say how much of a body is wanted, see ``BoundedSite``; what refuses it is kept with it.
        """
        if _path(request) not in self._posts:
            return None
        request.refusal = self._refusal(request, length)
        if request.refusal is not None:
            return None
        if _type_of(request) not in LIST_TYPES:
            return 1  # enough to tell that there is a body; not for Twisted to read it as a form
        if length is None or length > SMALL_BODY:
            self._large.add(request)
            request.notifyFinish().addBoth(self._gone, request)
        return MAX_BODY

    def answer(self, request: BoundedRequest) -> None:
        """
        Answer a request, see ``BoundedSite``.
        """
        request.is_rendered = True
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addCallback(_finish, request)
        answering.addErrback(_broken, request)
        answering.addBoth(lambda _: self._large.discard(request))

    async def _answer(self, request: BoundedRequest) -> Said:
        path = _path(request)
        if path in self._posts:
            return await self._posts[path](request)
        if path not in self._gets:
            return NOTHING_HERE
        return self._gets[path](request) if request.method in (b"GET", b"HEAD") else NO_GET

    def _refusal(self, request: BoundedRequest, length: int | None) -> Said | None:
        """
        Return what is wrong with a request, as far as its header shows it.
        """
        if request.method != b"POST":
            return NO_POST
        if self._authorized(request) is None:
            wait = self._wrong_tokens.wait(_source(request), self.seconds())
            if wait:
                return Said(429, "too many wrong tokens", wait)
            return Said(401, "X-Mail-Token is missing or wrong")
        if length and length > MAX_BODY:
            return Said(413, f"more than {MAX_BODY} octets")
        if length and _type_of(request) not in LIST_TYPES:
            return WRONG_TYPE
        is_large = length is None or length > SMALL_BODY
        if is_large and len(self._large) >= MAX_LARGE:
            return Said(503, "too many large bodies at once", LARGE_RETRY)
        return None

    def _gone(self, _: object, request: BoundedRequest) -> None:
        if not request.is_rendered:
            self._large.discard(request)

    async def _post(self, answer: PostAnswer, request: BoundedRequest) -> Said:
        if request.refusal is not None:
            refusal: Said = request.refusal
            return refusal
        refresher = self._authorized(request)  # again, as tokens may have changed meanwhile
        if refresher is None:
            return Said(401, "X-Mail-Token is not good any more")
        return await answer(request, refresher)

    async def _webhook(self, request: BoundedRequest) -> Said:
        said = await self._post(self._take_list, request)
        self._metrics.webhook_requests.labels(said.code).inc()
        if said.code >= 400:
            log.warn("webhook: {code} {text}", code=said.code, text=said.text)
        return said

    async def _take_list(self, request: BoundedRequest, refresher: Refresher) -> Said:
        body = request.content.read()
        if not body and not request.too_large:
            refresher.refresh_soon("webhook")
            return Said(202, "the list will be fetched")
        if _type_of(request) not in LIST_TYPES:
            return WRONG_TYPE
        if request.too_large:
            return Said(413, f"more than {MAX_BODY} octets")
        if _type_of(request) == MERGE_PATCH_TYPE:
            return await self._take_patch(request, body, refresher)
        try:
            declared = await self._parsed(_mapping, request, body)
            count = len(declared)
            await refresher.install(declared)
        except ListError as error:
            return Said(422, str(error))
        except TemporaryError as error:
            return Said(503, str(error))
        return Said(200, f"{count} addresses in force")

    async def _take_patch(self, request: BoundedRequest, body: bytes, refresher: Refresher) -> Said:
        """
        Put in force what has changed; fetch the whole list where there is any doubt.
        """
        try:
            patch = await self._parsed(parse_patch, request, body)
        except ListError as error:
            return Said(422, str(error))
        base, etag = (request.getHeader(name) or "" for name in ("Delta-Base", "ETag"))
        try:
            await refresher.apply(patch, base, etag)
        except (ListError, TemporaryError) as error:
            refresher.refresh_soon("webhook")
            return Said(202, f"the list will be fetched: {error}")
        return Said(200, "the changes are in force")

    def _parsed(
        self, parse: Callable[[bytes], _T], request: BoundedRequest, body: bytes
    ) -> "Deferred[_T]":
        """
        Return a body, parsed in a thread; large ones one after the other.
        """
        if request in self._large:
            return self._parsing.run(self._in_thread, parse, body)
        return self._in_thread(parse, body)

    async def _refresh(self, request: BoundedRequest) -> Said:
        """
        Fetch the list of one server now, and wait for the outcome.
        """
        return await self._post(self._fetch_list, request)

    async def _fetch_list(self, request: BoundedRequest, refresher: Refresher) -> Said:
        query = parse_qs(request.uri.partition(b"?")[2].decode("latin-1"))
        outcome = await refresher.refresh("command", force=query.get("force") == ["1"])
        code = 200 if outcome.is_good else 409 if outcome.result == "refused" else 502
        return Said(code, _told(refresher.server.name, outcome))

    def _authorized(self, request: Request) -> Refresher | None:
        """
        Return the refresher of the server whose token came; every token is compared.
        """
        given = (request.requestHeaders.getRawHeaders(b"X-Mail-Token") or [b""])[0]
        found = [
            refresher
            for refresher in self.refreshers
            for token in refresher.server.tokens
            if token.is_value(given)
        ]
        return found[0] if found else None

    def _show_metrics(self, request: Request) -> Said:
        content, content_type = self._metrics.exposition(request.getHeader("Accept") or "")
        return Said(200, content.decode().removesuffix("\n"), content_type=content_type)

    def _show_health(self, _: Request) -> Said:
        _ready, details = self._health()
        return _json(200, details)

    def _show_readiness(self, _: Request) -> Said:
        ready, details = self._health()
        return _json(200 if ready else 503, details)


def _mapping(body: bytes) -> AliasList:
    """
    Parse the body of the webhook: JSON, or YAML, of which it is a part.
    """
    with suppress(NotJsonError):
        return parse_json_mapping(body)
    return parse_mapping(load("".join(texts(body))))


def _told(server: str, outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"{server}: {outcome.result}, {outcome.count} addresses{reason}"


def _path(request: Request) -> str:
    return request.path.decode("latin-1").rstrip("/") or "/"


def _source(request: Request) -> str:
    """
    Return whom a request comes from: an address, or the UNIX socket.
    """
    return source_of(getattr(request.getClientAddress(), "host", ""))


def _type_of(request: Request) -> str:
    content_type = request.getHeader("Content-Type") or ""
    return content_type.partition(";")[0].strip().lower()


def _broken(failure: Failure, request: BoundedRequest) -> None:
    log.failure("{path}", failure=failure, path=request.path.decode("latin-1"))
    if not request.startedWriting:
        _finish(Said(500, "internal error, see the log"), request)


def _finish(said: Said, request: BoundedRequest) -> None:
    """
    Answer, if the client is still there.
    """
    if request.channel is None:
        return
    content = f"{said.text}\n".encode()
    request.setResponseCode(said.code, HTTPStatus(said.code).phrase.encode())
    request.setHeader("Date", datetimeToString())
    request.setHeader("Content-Type", said.content_type)
    if said.allow:
        request.setHeader("Allow", said.allow)
    if said.retry_after:
        request.setHeader("Retry-After", str(math.ceil(said.retry_after)))
    request.setHeader("Content-Length", str(len(content)))
    request.write(content)
    request.finish()


def _json(code: int, document: dict[str, Any]) -> Said:
    return Said(code, json.dumps(document, indent=2), content_type="application/json")
