"""
Mail addresses: folding, extensions, and the paths of MAIL and RCPT.

Source: RFC 5321 4.1.2, RFC 6531 3.3; postconf(5) recipient_delimiter.
"""

import re
from collections.abc import Callable
from functools import cache

from mailer.errors import ProtocolError

_LOCAL = r"[^\s@<>()\[\],;:\"\\\x00-\x20\x7f\ud800-\udfff]+"
# \w would leave out the combining marks that many scripts need.
_LABEL = r"(?:(?!\s)[0-9A-Za-z_\-\u00a1-\ud7ff\ue000-\U0010ffff])+"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_ADDRESS = f"{_LOCAL}@{_DOMAIN}"
# A source route is accepted and ignored, as RFC 5321 C asks.
_PATH = re.compile(
    rb'<(?:@[^:<>"\s]+:)?(?P<mailbox>(?:"(?:[^"\\\r\n]|\\[ -~])*"|[^"@<>\s\x00-\x1f\x7f])*'
    rb"(?:@[^@<>\s\x00-\x1f\x7f]+)?)>"
)

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_NEEDS_QUOTES = re.compile(r"[\s()<>\[\],;:\"\\\x00-\x1f\x7f]")

# What returns an address as it is compared: both parts without case. Unicode is case-folded as
# Postfix's smtpd does it (ICU), so that "ß" and "ss" meet.
fold: Callable[[str], str] = str.casefold

# Postfix never takes an extension off these: split_addr(3).
_WHOLE = frozenset({"mailer-daemon", "double-bounce", "postmaster"})


def is_address(word: str) -> bool:
    """
    Say whether a word of a list is a full address, ``local@domain``.

    Stricter than RFC 5321: no quoting, no address literals, as in Odoo.
    """
    return _whole(_ADDRESS)(word) is not None


def is_local_part(word: str) -> bool:
    """
    Say whether a word of a list is a bare local part.
    """
    return _whole(_LOCAL)(word) is not None


def is_domain(word: str) -> bool:
    """
    Say whether a word is a domain name.
    """
    return _whole(_DOMAIN)(word) is not None


def without_extension(address: str, delimiters: str) -> str | None:
    """
    Return ``user@domain`` for ``user+ext@domain``; None where there is no extension.

    An extension may need quotes: of ``"user+e x t"@domain`` it is known where it ends, while
    without its quotes Postfix could read it as several addresses.

    Args:
        address: Folded, with one ``@``.
        delimiters: Any of these characters begins an extension; may be empty.

    Source: postconf(5) recipient_delimiter; the first delimiter counts. RFC 5321 4.1.2
    (Quoted-string).
    """
    local, at, domain = address.rpartition("@")
    if quoted := _QUOTED.fullmatch(local):
        local = _ESCAPED.sub(r"\1", quoted[1])
    elif _NEEDS_QUOTES.search(local):
        return None
    if local in _WHOLE:
        return None
    places = [place for place in map(local.find, delimiters) if place >= 0]
    place = min(places, default=0)
    return local[:place] + at + domain if place else None


def parse_path(data: bytes) -> tuple[str, bytes]:
    """
    Return the mailbox of a path and what follows the path.

    Args:
        data: What stands behind ``FROM:`` or ``TO:``.

    Returns:
        The mailbox without ``<>`` and source route, empty for the null path;
        octets that are not UTF-8 become surrogates (see ``encode``).

    Raises:
        ProtocolError: There is no path. How long one may be, the line that it is in says:
            Postfix takes longer ones than RFC 5321 4.5.3.1.3, and would bounce a refused one.

    Source: RFC 5321 4.1.2 (Path), RFC 6531 3.3 (UTF-8).
    """
    match = _PATH.match(data)
    if match is None:
        raise ProtocolError("not a path")
    return decode(match["mailbox"]), data[match.end() :]


def decode(address: bytes) -> str:
    """
    Return an address as text; ``encode`` gives exactly these octets back.
    """
    return address.decode("utf-8", "surrogateescape")


def encode(address: str) -> bytes:
    """
    Return the octets of an address that ``decode`` made.
    """
    return address.encode("utf-8", "surrogateescape")


@cache
def _whole(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """
    Return what matches a whole word; made when it is needed, as so large sets take their time.
    """
    return re.compile(pattern).fullmatch
