"""
The sandbox's alias file, and the pages that an Odoo server would make of it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailer.address import fold, is_address
from mailer.alias_list import AliasList, Targets, parse_aliases
from mailer.errors import ListError
from mailer.reply import Reply
from mailer.yaml_text import load

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

EXAMPLE = """\
# What the sandbox declares in Odoo's place. A change counts once the file is saved.

# Full addresses and their targets; without targets an address is its own.
aliases:
  info@example.com:
  sales@example.com:
  catchall@example.com:
  bounce@example.com:
  refused@example.com:
  # team@example.com: [info@example.com, sales@example.com]

# Local parts that hold in each of the domains.
local_parts:
  jobs:
domains: [example.com]

# What the sandbox answers for an address instead of keeping its mail.
verdicts:
  refused@example.com: {code: 550, status: 5.7.1, text: Only partners may write here}
"""

_KEYS = ("aliases", "local_parts", "domains", "verdicts")


@dataclass(frozen=True, slots=True)
class Page:
    """
    One form of the list, ready to be served.

    Args:
        body: Octets.
        content_type: Value of the header field.
        etag: Quoted, as in the header field; changes with the body and not otherwise.
    """

    body: bytes
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class SandboxAliases:
    """
    A good alias file.

    Args:
        declared: Its addresses.
        verdicts: Folded address to the reply that it gets in any case.
        version: Of the list; changes with it and not otherwise.
        text: For virtual_alias_maps, local parts expanded over the domains.
        json: The same with the local parts apart.
        transport: Every target, one a line.
    """

    declared: AliasList
    verdicts: Mapping[str, Reply]
    version: str
    text: Page
    json: Page
    transport: Page

    def knows(self, address: str, domains: Iterable[str] = ()) -> bool:
        """
        Say whether an address is in the list, as an alias or a target.

        Args:
            address: Folded.
            domains: Where local parts hold besides the domains of the file.
        """
        local, _, domain = address.rpartition("@")
        if local in self.declared.local_parts and domain in {*self.declared.domains, *domains}:
            return True
        return address in self.declared.aliases or address in self.declared.transport


def parse_file(text: str) -> SandboxAliases:
    """
    Read the text of an alias file.

    Raises:
        ListError: It is not one; says why, and where if it is no YAML.
    """
    document = load(text)
    if not isinstance(document, dict):
        raise ListError(f"expected a mapping with the keys {', '.join(_KEYS)}")
    unknown = [repr(key) for key in document if key not in _KEYS]
    if unknown:
        raise ListError(f"unknown key {unknown[0]}, expected {', '.join(_KEYS)}")
    found = parse_aliases(_as_json(document))
    expanded = dict(_expanded(found))
    transport = _targets(found, expanded)
    declared = AliasList(
        found.aliases, found.local_parts, found.domains, dict.fromkeys(transport, "")
    )
    content, version = _json(found)
    return SandboxAliases(
        declared,
        _verdicts(document.get("verdicts")),
        version,
        text=_page(_lines(f"{a} {', '.join(targets)}" for a, targets in expanded.items()), TEXT),
        json=_page(content, JSON),
        transport=_page(_lines(transport), TEXT),
    )


def _as_json(document: Mapping[str, Any]) -> bytes:
    """
    Return the mapping as the JSON page that ``parse_aliases`` judges.
    """
    page = {key: document.get(key) or {} for key in ("aliases", "local_parts")}
    try:
        return json.dumps({**page, "domains": document.get("domains")}).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise ListError("something other than names and lists of names is in it") from None


def _expanded(found: AliasList) -> Iterator[tuple[str, Targets]]:
    """
    Yield every full address with its targets; an alias takes precedence over a local part.
    """
    yield from found.aliases.items()
    for part, targets in found.local_parts.items():
        for domain in sorted(found.domains):
            address = f"{part}@{domain}"
            if address not in found.aliases:
                yield address, tuple(address if word == part else word for word in targets)


def _targets(found: AliasList, expanded: Mapping[str, Targets]) -> list[str]:
    """
    Return every target once; those of local parts count even where no domain is declared.
    """
    lists = (*expanded.values(), *found.local_parts.values())
    return sorted({target for targets in lists for target in targets if "@" in target})


def members(found: AliasList) -> int:
    """
    Return the number that the page gives as ``count``.
    """
    return len(found.aliases) + len(found.local_parts)


def _json(found: AliasList) -> tuple[bytes, str]:
    """
    Return page and version; every target is in the transport page, without a next hop.
    """
    content = {
        "aliases": dict(found.aliases),
        "local_parts": dict(found.local_parts),
        "domains": sorted(found.domains),
    }
    version = _hash(json.dumps(content, sort_keys=True).encode("ascii"))
    more = {"transport": True, "version": version, "count": members(found)}
    return json.dumps({**content, **more}, indent=1).encode("ascii"), version


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _page(body: bytes, content_type: str) -> Page:
    return Page(body, content_type, f'"{_hash(body)}"')


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _verdicts(value: Any) -> dict[str, Reply]:
    if not isinstance(value or {}, dict):
        raise ListError("verdicts: expected a mapping of addresses to code, status and text")
    verdicts: dict[str, Reply] = {}
    for address, verdict in (value or {}).items():
        if not isinstance(address, str) or not is_address(address):
            raise ListError(f"verdicts: {address!r} is not an address")
        verdicts[fold(address)] = _verdict(address, verdict)
    return verdicts


def _verdict(address: str, verdict: Any) -> Reply:
    if not isinstance(verdict, dict) or verdict.keys() != {"code", "status", "text"}:
        raise ListError(f"verdicts: {address}: expected code, status and text")
    code, status, text = verdict["code"], verdict["status"], verdict["text"]
    if type(code) is not int or not isinstance(text, str) or 300 <= code <= 399:
        raise ListError(f"verdicts: {address}: expected a code such as 550, and a text")
    if not isinstance(status, str) or not status:
        raise ListError(f"verdicts: {address}: expected a status such as 5.7.1")
    try:
        return Reply(code, status, text)
    except ValueError as error:
        raise ListError(f"verdicts: {address}: {error}") from None
