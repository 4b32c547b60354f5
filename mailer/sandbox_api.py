"""
The three points of the API, as a server with the addon would answer them.

An error is answered with JSON, ``{"error": reason}``. A POST without
``X-Mail-Recipients`` goes to those of its ``Delivered-To``, ``To`` and ``Cc``
addresses that are in the list, and the answer names them; where there are
none, it has one verdict on the whole message, under the address ``""``.
"""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Iterable
from email.parser import BytesHeaderParser
from email.utils import getaddresses
from typing import Any, BinaryIO, cast

from twisted.logger import Logger
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from mailer.address import decode, fold
from mailer.alias_list import MERGE_PATCH, MERGE_PATCH_TYPE
from mailer.config import Token
from mailer.message import MAX_HEADER
from mailer.reply import LOCAL_ERROR_451, UNKNOWN_RECIPIENT_550, Reply
from mailer.sandbox_aliases import JSON, Page, SandboxAliases
from mailer.sandbox_changes import History, Patch, wants_patch
from mailer.sandbox_mail import MailStore

log = Logger()

ROUTED_ON = ("delivered-to", "to", "cc")  # what Odoo itself reads of a message

Lists = Callable[[], History]


def make_api(
    token: Token,
    lists: Lists,
    mail: MailStore,
    domains: frozenset[str] = frozenset(),
    path: str = "",
) -> Resource:
    """
    Return the root of the site.

    Args:
        lists: Gives the list in force, and those before it.
        domains: The daemon's own, in which local parts hold too.
        path: Of the server's URL, ``/odoo``; the API is below it.
    """
    top: Resource = _Folder()
    top.putChild(b"aliases", _Aliases(token, lists))
    top.putChild(b"transport", _Transport(token, lists))
    top.putChild(b"pipe", _Pipe(token, lists, mail, domains))
    for name in reversed([*path.split("/")[1:], "mail_delivery"]):
        inner, top = top, _Folder()
        top.putChild(name.encode("utf-8"), inner)
    return top


class _Folder(Resource):
    """
    Has what was put into it, and nothing of its own.
    """

    def getChild(self, path: bytes, request: Request) -> IResource:
        return notFound()

    def render(self, request: Request) -> Any:
        return notFound().render(request)


class _Point(_Folder):
    """
    What the three have in common: mark, method, token, and that nothing escapes.
    """

    methods: tuple[bytes, ...] = (b"GET", b"HEAD")

    def __init__(self, token: Token, lists: Lists) -> None:
        super().__init__()
        self._token = token.value.encode("utf-8")
        self._lists = lists

    def _aliases(self) -> SandboxAliases:
        return self._lists().current

    def render(self, request: Request) -> bytes:
        request.setHeader(b"X-Mail-Delivery", b"1")
        try:
            if request.method not in self.methods:
                request.setHeader(b"Allow", b", ".join(self.methods))
                return _refuse(request, 405, "wrong method")
            given = request.getHeader(b"X-Mail-Token") or b""
            if not hmac.compare_digest(given, self._token):
                return _refuse(request, 401, "wrong or missing X-Mail-Token")
            return self._answer(request)
        except Exception:
            log.failure("{uri!r} failed", uri=request.uri)
            return _refuse(request, 500, "internal error")

    def _answer(self, request: Request) -> bytes:
        raise NotImplementedError


class _Aliases(_Point):
    """
    ``GET /mail_delivery/aliases``.
    """

    def _answer(self, request: Request) -> bytes:
        request.setHeader(b"Vary", b"Accept, A-IM")
        aliases = self._aliases()
        if JSON not in _header(request, "Accept").lower():
            return _serve(request, aliases.text)
        patch = self._patch(request)
        return _serve(request, aliases.json) if patch is None else _serve_patch(request, patch)

    def _patch(self, request: Request) -> Patch | None:
        """
        Return what the client lacks, if it takes a patch and says what it has.
        """
        held = _held(request)
        if not wants_patch(_header(request, "A-IM")) or self._aliases().json.etag in held:
            return None
        patches = map(self._lists().since, held)
        return next((patch for patch in patches if patch is not None), None)


class _Transport(_Point):
    """
    ``GET /mail_delivery/transport``.
    """

    def _answer(self, request: Request) -> bytes:
        return _serve(request, self._aliases().transport)


class _Pipe(_Point):
    """
    ``POST /mail_delivery/pipe``.
    """

    methods = (b"POST",)

    def __init__(
        self, token: Token, lists: Lists, mail: MailStore, domains: frozenset[str]
    ) -> None:
        super().__init__(token, lists)
        self._mail = mail
        self._domains = domains

    def _answer(self, request: Request) -> bytes:
        kind = _header(request, "Content-Type").partition(";")[0].strip().lower()
        if kind != "message/rfc822":
            return _refuse(request, 415, "Content-Type is not message/rfc822")
        message = cast(BinaryIO, request.content)
        digest = _header(request, "X-Mail-Digest") or digest_of(message)
        words = (word.strip() for word in _header(request, "X-Mail-Recipients").split(","))
        named = [word for word in words if word]
        recipients = named or self._known(header_addresses(message)) or [""]
        replies = {address: self._reply(digest, address, message) for address in recipients}
        log.info(
            "message {digest!r} from {sender!r}, queue id {queue_id!r}, {octets} octets: {replies}",
            digest=digest,
            sender=_header(request, "X-Mail-Sender"),
            queue_id=_header(request, "X-Mail-Queue-Id"),
            octets=message.seek(0, 2),
            replies={address: str(reply) for address, reply in replies.items()},
        )
        return _json(request, 200, {"recipients": {a: _verdict(r) for a, r in replies.items()}})

    def _known(self, addresses: Iterable[str]) -> list[str]:
        aliases = self._aliases()
        return [
            address
            for address in addresses
            if address in aliases.verdicts or aliases.knows(address, self._domains)
        ]

    def _reply(self, digest: str, address: str, message: BinaryIO) -> Reply:
        """
        Decide on one recipient.

        What was stored stays delivered, even where the list has changed since.
        """
        aliases, recipient = self._aliases(), fold(address)
        if recipient in aliases.verdicts:
            return aliases.verdicts[recipient]
        try:
            number = self._mail.find(digest, recipient)
            if number is not None:
                return Reply(250, "2.0.0", f"Stored before as {number}")
            if not aliases.knows(recipient, self._domains):
                return UNKNOWN_RECIPIENT_550
            return Reply(250, "2.0.0", f"Stored as {self._mail.store(digest, recipient, message)}")
        except (OSError, sqlite3.Error):
            log.failure("a message for {recipient!r} could not be stored", recipient=recipient)
            return LOCAL_ERROR_451


def digest_of(message: BinaryIO) -> str:
    """
    Return the digest for a message that came without: ``sha-256=`` and 64 hex digits.
    """
    message.seek(0)
    digest = hashlib.sha256()
    while block := message.read(65_536):
        digest.update(block)
    return f"sha-256={digest.hexdigest()}"


def header_addresses(message: BinaryIO) -> list[str]:
    """
    Return the addresses that Odoo would route a message on, folded, each once.
    """
    message.seek(0)
    header = BytesHeaderParser().parsebytes(message.read(MAX_HEADER))
    values = [str(value) for name in ROUTED_ON for value in header.get_all(name, [])]
    return list(dict.fromkeys(fold(address) for _, address in getaddresses(values) if address))


def _verdict(reply: Reply) -> dict[str, Any]:
    return {"code": reply.code, "status": reply.status, "text": reply.text}


def _header(request: Request, name: str) -> str:
    return decode(request.getHeader(name.encode("ascii")) or b"").strip()


def _serve(request: Request, page: Page) -> bytes:
    request.setHeader(b"ETag", page.etag.encode("ascii"))
    if any(tag.removeprefix("W/") in (page.etag, "*") for tag in _held(request)):
        request.setResponseCode(304)
        return b""
    request.setHeader(b"Content-Type", page.content_type.encode("ascii"))
    return page.body


def _serve_patch(request: Request, patch: Patch) -> bytes:
    request.setResponseCode(226, b"IM Used")
    fields = {
        b"IM": MERGE_PATCH,
        b"Delta-Base": patch.base,
        b"ETag": patch.etag,
        b"Content-Type": MERGE_PATCH_TYPE,
    }
    for name, value in fields.items():
        request.setHeader(name, value.encode("ascii"))
    return patch.body


def _held(request: Request) -> list[str]:
    return [tag.strip() for tag in _header(request, "If-None-Match").split(",")]


def _refuse(request: Request, code: int, reason: str) -> bytes:
    log.info(
        "{method} {uri} refused: {code} {reason}",
        method=request.method.decode("latin-1"),
        uri=request.uri.decode("latin-1"),
        code=code,
        reason=reason,
    )
    return _json(request, code, {"error": reason})


def _json(request: Request, code: int, document: dict[str, Any]) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", JSON.encode("ascii"))
    return json.dumps(document).encode("ascii")
