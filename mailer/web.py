"""
HTTP that the daemon serves: the webhook, refresh on demand, metrics, health.
"""

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mailer.alias_list import AliasList, parse_mapping
from mailer.errors import ListError, TemporaryError
from mailer.metrics import Metrics
from mailer.refresh import InThread, Outcome, Refresher
from mailer.yaml_text import load

MAX_BODY = 67_108_864  # octets
TIMEOUT = 60  # seconds without progress

Health = Callable[[], tuple[bool, dict[str, Any]]]

log = Logger()


class BoundedRequest(Request):
    """
    A request whose body is never kept beyond ``MAX_BODY``.
    """

    content: Any
    too_large = False

    def gotLength(self, length: int | None) -> None:
        self.too_large = length is not None and length > MAX_BODY
        super().gotLength(0 if self.too_large else length)

    def handleContentChunk(self, data: bytes) -> None:
        if not self.too_large and self.content.tell() + len(data) > MAX_BODY:
            self.too_large = True
            self.content.seek(0)
            self.content.truncate()
        if not self.too_large:
            super().handleContentChunk(data)


PostAnswer = Callable[[BoundedRequest, Refresher], Awaitable[tuple[int, str]]]


class WebSite(Site):
    """
    The site; scrapes are not worth a log line.
    """

    noisy = False

    def __init__(self, resource: Resource, reactor: IReactorTime) -> None:
        super().__init__(resource, requestFactory=BoundedRequest, timeout=TIMEOUT, reactor=reactor)

    def log(self, request: http.Request) -> None:
        log.debug(
            "{method} {path}: {code}",
            method=request.method.decode("latin-1"),
            path=request.path.decode("latin-1"),
            code=request.code,
        )


class WebResource(Resource):
    """
    Args:
        prefix: Path of the webhook.
        refreshers: One for each server; the token tells which is meant.
        health: Whether the daemon is ready, and the details.

    Attributes:
        refreshers: May be rebound at any time.
    """

    isLeaf = True

    def __init__(
        self,
        prefix: str,
        refreshers: Iterable[Refresher],
        metrics: Metrics,
        health: Health,
        in_thread: InThread,
    ) -> None:
        super().__init__()
        self.refreshers = refreshers
        self._metrics = metrics
        self._health = health
        self._in_thread = in_thread
        self._posts = {
            "/" + prefix.strip("/"): self._webhook,
            "/refresh": self._refresh,
        }
        self._gets = {
            "/metrics": self._render_metrics,
            "/healthz": self._render_health,
            "/readyz": self._render_readiness,
        }

    def render(self, request: BoundedRequest) -> bytes | int:
        path = request.path.decode("latin-1").rstrip("/") or "/"
        if path in self._posts:
            answering = Deferred.fromCoroutine(self._posts[path](request))
            answering.addErrback(self._broken, request)
            return NOT_DONE_YET
        if path in self._gets:
            if request.method not in (b"GET", b"HEAD"):
                return _answer(request, 405, "GET is expected here", allow="GET, HEAD")
            return self._gets[path](request)
        return _answer(request, 404, "There is nothing here")

    async def _post(self, answer: PostAnswer, request: BoundedRequest) -> tuple[int, str]:
        if request.method != b"POST":
            request.setHeader("Allow", "POST")
            return 405, "POST is expected here"
        refresher = self._authorized(request)
        if refresher is None:
            return 401, "X-Mail-Token is missing or wrong"
        return await answer(request, refresher)

    async def _webhook(self, request: BoundedRequest) -> None:
        code, text = await self._post(self._take_list, request)
        self._metrics.webhook_requests.labels(code).inc()
        if code >= 400:
            log.warn("webhook: {code} {text}", code=code, text=text)
        _finish(request, code, text)

    async def _take_list(self, request: BoundedRequest, refresher: Refresher) -> tuple[int, str]:
        if request.too_large:
            return 413, f"more than {MAX_BODY} octets"
        body = request.content.read()
        if not body:
            refresher.refresh("webhook")
            return 202, "the list will be fetched"
        content_type = (request.getHeader("Content-Type") or "").partition(";")[0].strip().lower()
        if content_type != "application/yaml":
            return 415, "application/yaml is expected, or an empty body"
        try:
            declared = await self._in_thread(_mapping, body)
            await refresher.install(declared)
        except ListError as error:
            return 422, str(error)
        except TemporaryError as error:
            return 503, str(error)
        return 200, f"{len(declared)} addresses in force"

    async def _refresh(self, request: BoundedRequest) -> None:
        """
        Fetch the list of one server now, and wait for the outcome.
        """
        _finish(request, *await self._post(self._fetch_list, request))

    async def _fetch_list(self, request: BoundedRequest, refresher: Refresher) -> tuple[int, str]:
        query = parse_qs(request.uri.partition(b"?")[2].decode("latin-1"))
        outcome = await refresher.refresh("command", force=query.get("force") == ["1"])
        code = 200 if outcome.is_good else 409 if outcome.result == "refused" else 502
        return code, _told(refresher.server.name, outcome)

    def _authorized(self, request: Request) -> Refresher | None:
        """
        Return the refresher of the server whose token came; every token is compared.
        """
        values = request.requestHeaders.getRawHeaders(b"X-Mail-Token") or [b""]
        found = [
            refresher
            for refresher in self.refreshers
            if hmac.compare_digest(refresher.server.token.value.encode(), values[0])
        ]
        return found[0] if found else None

    def _render_metrics(self, request: Request) -> bytes:
        content, content_type = self._metrics.exposition(request.getHeader("Accept") or "")
        request.setHeader("Content-Type", content_type)
        return content

    def _render_health(self, request: Request) -> bytes:
        _, details = self._health()
        return _json(request, 200, details)

    def _render_readiness(self, request: Request) -> bytes:
        ready, details = self._health()
        return _json(request, 200 if ready else 503, details)

    def _broken(self, failure: Failure, request: Request) -> None:
        log.failure("{path}", failure=failure, path=request.path.decode("latin-1"))
        _finish(request, 500, "internal error, see the log")


def _mapping(body: bytes) -> AliasList:
    """
    Parse the body of the webhook; JSON, a part of YAML, is much faster to read.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ListError("the body is not UTF-8 text") from None
    try:
        mapping = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        mapping = load(text)
    return parse_mapping(mapping)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ListError("a key stands twice")
    return mapping


def _told(server: str, outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"{server}: {outcome.result}, {outcome.count} addresses{reason}"


def _finish(request: Request, code: int, text: str) -> None:
    """
    Answer, if the client is still there.
    """
    if request.channel is not None:
        request.write(_answer(request, code, text))
        request.finish()


def _answer(request: Request, code: int, text: str, allow: str = "") -> bytes:
    request.setResponseCode(code)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    if allow:
        request.setHeader("Allow", allow)
    content = f"{text}\n".encode()
    request.setHeader("Content-Length", str(len(content)))
    return content


def _json(request: Request, code: int, document: dict[str, Any]) -> bytes:
    request.setResponseCode(code)
    request.setHeader("Content-Type", "application/json")
    return json.dumps(document, indent=2).encode() + b"\n"
