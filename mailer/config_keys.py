"""
The keys of the configuration file, and what each of them takes.

Every check takes a value as loaded from YAML and returns what ``Config``
holds, or raises ``Invalid`` with what was expected.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from voluptuous import Invalid, Optional, Schema

from mailer.address import fold, is_domain
from mailer.listen import DEFAULT_GROUP, DEFAULT_MODE, Listen, parse_listen


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"expected a text, not {_shown(value)}")
    return str(value)


def _one_line(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[!-~]+", text):
        raise Invalid("expected printable ASCII without spaces")
    return text


def _secret(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("expected a text; a token of digits alone needs quotes")
    return str(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid(f"expected true or false, not {_shown(value)}")
    return value


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise Invalid(f"expected an absolute path, not {_shown(value)}")
    return str(value)


def _secret_path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise Invalid("expected an absolute path")  # it may be the token itself
    return str(value)


def _map_file(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([a-z]+:)?/.+", value):
        raise Invalid(f"expected an absolute path, or type:path, not {_shown(value)}")
    return str(value)


def _number(low: float, high: float, unit: str) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid(f"expected a number of {unit}, not {_shown(value)}")
        if not low <= value <= high:
            raise Invalid(f"expected {low:g} to {high:g} {unit}, not {_shown(value)}")
        return float(value)

    return check


def _whole(low: int, high: int, unit: str) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid(f"expected a whole number of {unit}, not {_shown(value)}")
        if not low <= value <= high:
            raise Invalid(f"expected {low} to {high} {unit}, not {_shown(value)}")
        return int(value)

    return check


def _domains(value: Any) -> frozenset[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        raise Invalid(f"expected a list of domains, not {_shown(value)}")
    for name in names:
        if not isinstance(name, str) or not is_domain(name):
            raise Invalid(f"{_shown(name)} is not a domain")
    return frozenset(fold(name) for name in names)


def _delimiter(value: Any) -> str:
    if not isinstance(value, str) or re.search(r"[\s@\w]", value):
        raise Invalid(f'expected characters such as "+", or "", not {_shown(value)}')
    return str(value)


def _log(value: Any) -> str:
    if value not in ("text", "json"):
        raise Invalid(f"expected text or json, not {_shown(value)}")
    return str(value)


def _url(value: Any) -> str:
    """
    Return the base URL of ``name``, ``name:port`` or a URL.
    """
    text = _text(value)
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[^!-~]", url):
        raise Invalid(f"expected a name, name:port or http(s) URL, not {_shown(value)}")
    if parts.username is not None or parts.query or parts.fragment:
        raise Invalid("expected a URL without user, query and fragment")
    scheme, _, rest = url.partition("://")
    return f"{scheme.lower()}://{rest}".rstrip("/")


def is_loopback(url: str) -> bool:
    """
    Say whether a URL stays on this machine.
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _listen(value: Any) -> Listen:
    if isinstance(value, dict):
        unknown = ", ".join(sorted(map(str, value.keys() - {"listen", "mode", "group"})))
        if unknown or "listen" not in value:
            raise Invalid(f"expected listen, mode and group, not {unknown or 'none of them'}")
        mode, group = value.get("mode", f"{DEFAULT_MODE:o}"), value.get("group", DEFAULT_GROUP)
        if not isinstance(mode, str) or not re.fullmatch(r"0?[0-7]{3}", mode):
            raise Invalid('mode: expected an octal number in quotes, such as "0660"')
        if not isinstance(group, str):
            raise Invalid("group: expected the name of a group")
        return _parse_listen(value["listen"], int(mode, 8), str(group))
    return _parse_listen(value, DEFAULT_MODE, DEFAULT_GROUP)


def _parse_listen(value: Any, mode: int, group: str) -> Listen:
    if not isinstance(value, str):
        raise Invalid(f"expected a path or host:port, not {_shown(value)}")
    try:
        return parse_listen(value, mode, group)
    except ValueError as error:
        raise Invalid(str(error)) from None


def _shown(value: Any) -> str:
    """
    Return a value for a message; of one that may hold a token only what it is.

    A line ``token:…`` without a space behind the colon continues the value of the line before.
    """
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, str) and re.search(r"token|\s\S*:", value, re.IGNORECASE):
        return "a text that may hold another key and its value"
    text = repr(str(value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:60] + "…"


_KEYS: dict[str, Any] = {
    "host": _url,
    "token": _secret,
    "token_file": _secret_path,
    "insecure": _boolean,
    "database": _one_line,
    "ca": _path,
    # It may wait as long for its turn, and Postfix's lmtp_data_done_timeout is 600 s.
    "timeout": _number(1, 280, "seconds"),
    "max_in_flight": _whole(1, 1000, "deliveries"),
    "domains": _domains,
}
SINGLE_ONLY = {"host", "token", "token_file", "database", "insecure"}
INHERITED = _KEYS.keys() - SINGLE_ONLY

SERVER = Schema({Optional(key): check for key, check in {"name": _one_line, **_KEYS}.items()})
FILE = Schema(
    {
        **{Optional(key): check for key, check in _KEYS.items()},
        Optional("servers"): object,
        Optional("aliases"): _map_file,
        Optional("transport"): _map_file,
        Optional("socket"): _listen,
        Optional("socketmap"): _listen,
        Optional("http"): _listen,
        Optional("policy"): _listen,
        Optional("cache"): _path,
        Optional("refresh"): _number(1, 86_400, "seconds"),
        Optional("nexthop"): _one_line,
        Optional("recipient_delimiter"): _delimiter,
        Optional("max_message_size"): _whole(1024, 2_147_483_647, "octets"),
        Optional("hostname"): _one_line,
        Optional("log"): _log,
        Optional("max_shrink"): _number(0, 1, "(a part of the list)"),
        Optional("transport_grace"): _number(0, 31_536_000, "seconds"),
    }
)
