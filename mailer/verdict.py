"""
What an answer of ``/mail_delivery/pipe`` means for each recipient.

A verdict is final only if Odoo itself gave it, which the mark and the JSON
prove; whatever else comes back leaves the mail in Postfix's queue.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mailer.address import fold
from mailer.errors import TlsError, UnreachableError
from mailer.reply import (
    BODY_LIMIT_451,
    BUSY_451,
    LOCAL_ERROR_451,
    NOT_FOUND_451,
    NOT_UNDERSTOOD_451,
    OK_250,
    TLS_FAILED_451,
    TOKEN_REFUSED_451,
    UNREACHABLE_451,
    Reply,
)

MAX_RETRY_AFTER = 300.0  # seconds: no answer may keep mail back for longer


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An HTTP answer, as far as it matters.

    Args:
        code: HTTP status.
        marked: It carried ``X-Mail-Delivery: 1``.
        body: Its first octets, enough for any verdict.
        retry_after: Seconds, 0 where the answer names none.
    """

    code: int
    marked: bool = False
    body: bytes = b""
    retry_after: float = 0.0

    @property
    def is_of_gateway(self) -> bool:
        """A proxy has not reached Odoo, or not in time (RFC 9110 15.6.3 to 15.6.5)."""
        is_pause = self.code == 503 and self.retry_after
        return self.code in (502, 503, 504) and not self.marked and not is_pause


def replies_for(answer: Answer, recipients: Iterable[str], marked_before: bool) -> dict[str, Reply]:
    """
    Choose the reply for each recipient.

    Args:
        recipients: Folded addresses.
        marked_before: This server has sent the mark at some time.
    """
    verdicts = _verdicts(answer.body) if answer.marked else {}
    otherwise = _reply_by_code(answer, marked_before)
    return {recipient: verdicts.get(recipient, otherwise) for recipient in recipients}


def all_replies(answer: Answer, marked_before: bool) -> list[Reply]:
    """
    Return every reply there is, for a message of which Odoo chose the recipients.
    """
    verdicts = _verdicts(answer.body) if answer.marked else {}
    return list(verdicts.values()) or [_reply_by_code(answer, marked_before)]


def reply_for_error(error: BaseException) -> Reply:
    """
    Choose the reply where there was no answer; whatever we do not know is temporary.
    """
    if isinstance(error, TlsError):
        return TLS_FAILED_451
    if isinstance(error, UnreachableError):
        return UNREACHABLE_451
    return LOCAL_ERROR_451


def parse_retry_after(value: str | None) -> float:
    """
    Return the seconds of a ``Retry-After`` field, at most 300; a date counts as 0.
    """
    digits = (value or "").strip()
    if not (digits.isascii() and digits.isdigit()):
        return 0.0
    return min(float(digits), MAX_RETRY_AFTER)


def _reply_by_code(answer: Answer, marked_before: bool) -> Reply:
    """
    The answer table for whatever is not Odoo's own verdict.
    """
    match answer.code:
        case 200 if not answer.marked and not marked_before:
            return OK_250
        case 401 | 403:
            return TOKEN_REFUSED_451
        case 404 | 405:
            return NOT_FOUND_451
        case 413 if not answer.marked:
            return BODY_LIMIT_451
        case 409 | 429 | 503:
            return BUSY_451
        case code if 300 <= code <= 399:
            return NOT_FOUND_451
    return NOT_UNDERSTOOD_451


def _verdicts(body: bytes) -> dict[str, Reply]:
    try:
        document = json.loads(body)
        verdicts = document["recipients"].items()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    found = {fold(address): _verdict(verdict) for address, verdict in verdicts}
    return {address: reply for address, reply in found.items() if reply is not None}


def _verdict(verdict: Any) -> Reply | None:
    """
    Return one verdict as a reply; None if it is not exactly one.
    """
    try:
        code, status, text = verdict["code"], verdict["status"], verdict["text"]
    except (TypeError, KeyError):
        return None
    if type(code) is not int or not isinstance(status, str) or not isinstance(text, str):
        return None
    if not status or not (200 <= code <= 299 or 400 <= code <= 599):
        return None
    try:
        return Reply(code, status, text)
    except ValueError:
        return None
