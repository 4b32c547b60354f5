"""
The envelope of a message, from the headers of ``POST /mail_delivery/pipe``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

MAX_RECIPIENTS = 1000  # as many as odoo-mailer takes in one transaction

_DIGEST = re.compile(r"sha-256=([0-9a-f]{64})", re.IGNORECASE)


class EnvelopeError(ValueError):
    """
    A header that is not as it must be; the text says which, and how.
    """


@dataclass(frozen=True)
class Envelope:
    """
    Args:
        sender: Reverse path, empty for the null one.
        recipients: As they were sent, in order; none where the message is to name them.
        digest: SHA-256 of the message as the mailer received it, hexadecimal.
        queue_id: Postfix's; may be empty.
    """

    sender: str
    recipients: tuple[str, ...]
    digest: str
    queue_id: str


def parse_envelope(header: Callable[[str], str], message: bytes) -> Envelope:
    """
    Read the envelope.

    Args:
        header: Returns a header's value as WSGI gives it (PEP 3333: octets as
            latin-1), empty where it is missing.
        message: Its digest counts where the client sends none.

    Raises:
        EnvelopeError: A header is malformed.
    """

    def text(name: str) -> str:
        return header(name).encode("latin-1").decode("utf-8", "replace").strip()

    return Envelope(
        sender=text("X-Mail-Sender"),
        recipients=_recipients(text("X-Mail-Recipients")),
        digest=_digest(text("X-Mail-Digest"), message),
        queue_id=text("X-Mail-Queue-Id")[:64],
    )


def _recipients(value: str) -> tuple[str, ...]:
    words = [word.strip() for word in value.split(",")] if value else []
    for word in words:
        local, at, domain = word.rpartition("@")
        if not (local and at and domain):
            raise EnvelopeError("X-Mail-Recipients: addresses with commas between them expected")
    if len(words) > MAX_RECIPIENTS:
        raise EnvelopeError(f"X-Mail-Recipients: more than {MAX_RECIPIENTS}")
    return tuple(dict.fromkeys(words))


def _digest(value: str, message: bytes) -> str:
    if not value:
        return sha256(message).hexdigest()
    match = _DIGEST.fullmatch(value)
    if match is None:
        raise EnvelopeError("X-Mail-Digest: sha-256= and 64 hexadecimal digits expected")
    return match[1].lower()
