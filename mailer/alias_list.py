"""
What one Odoo server declares, and the pages it is read from.

Lenient where the formats are (comments, blank lines, continuation lines,
several targets, many addresses a line), strict where a wrong page could pass
for a list: one word that cannot be an address refuses the whole page.

Source: virtual(5) and transport(5), TABLE FORMAT.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailer.address import fold, is_address, is_domain, is_local_part
from mailer.errors import ListError

Targets = tuple[str, ...]

OWN_NEXTHOP = ""  # the daemon's own next hop, INTERFACE of transport_maps

_NEXTHOP = re.compile(r"[A-Za-z][\w.-]*:[!-~]*")


@dataclass(frozen=True, slots=True)
class AliasList:
    """
    The addresses of one server, all folded.

    Args:
        aliases: Full address to its targets, at least one, full addresses.
        local_parts: Local part to its targets; the local part itself stands
            for "the address that was asked". Valid in every honoured domain.
        domains: Where Odoo honours the local parts.
        transport: Address to next hop; ``OWN_NEXTHOP`` for the daemon's own.
    """

    aliases: Mapping[str, Targets] = field(default_factory=dict)
    local_parts: Mapping[str, Targets] = field(default_factory=dict)
    domains: frozenset[str] = frozenset()
    transport: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names())

    def names(self) -> frozenset[str]:
        """
        Return every address and local part that is declared.
        """
        return frozenset((*self.aliases, *self.transport, *self.local_parts))


def parse_aliases(page: bytes) -> AliasList:
    """
    Read the page of ``/mail_delivery/aliases``, text or JSON; ``transport`` stays empty.

    Raises:
        ListError: The page is not an alias list; says where and why.
    """
    text = _text(page)
    if text.lstrip()[:1] in ("{", "["):
        return _parse_json(text)
    aliases: dict[str, Targets] = {}
    for number, words in _lines(text):
        address, *targets = (_address(word, number) for word in words)
        aliases[address] = _merged(aliases.get(address, ()), targets or [address])
    return AliasList(aliases)


def parse_transport(page: bytes) -> dict[str, str]:
    """
    Read the page of ``/mail_delivery/transport``: address to next hop.

    A word with a ``:`` in it is the next hop of the addresses before it on its line.

    Raises:
        ListError: The page is not a transport list; says where and why.
    """
    transport: dict[str, str] = {}
    for number, words in _lines(_text(page)):
        waiting: list[str] = []
        for word in words:
            if ":" not in word:
                waiting.append(_address(word, number))
                continue
            if not waiting or not _NEXTHOP.fullmatch(word):
                raise ListError(f"line {number}: {_excerpt(word)} is no next hop for an address")
            transport.update(dict.fromkeys(waiting, word))
            waiting = []
        transport.update(dict.fromkeys(waiting, OWN_NEXTHOP))
    return transport


def parse_mapping(mapping: Any) -> AliasList:
    """
    Read the mapping that the webhook takes: ``account@domain: [alias, …]``.

    The accounts are the transport list; aliases without ``@`` take the domain of their account.

    Args:
        mapping: As loaded from YAML.

    Raises:
        ListError: It is not such a mapping; says where and why.
    """
    if not isinstance(mapping, dict):
        raise ListError(f"a mapping was expected, not {_kind(mapping)}")
    aliases: dict[str, Targets] = {}
    transport: dict[str, str] = {}
    for key, value in mapping.items():
        account = _address(key, 0)
        transport[account] = OWN_NEXTHOP
        for name in _names(value, account):
            alias = _address(name if "@" in name else name + account[account.index("@") :], 0)
            aliases[alias] = _merged(aliases.get(alias, ()), [account])
    return AliasList(aliases, transport=transport)


def _text(page: bytes) -> str:
    try:
        text = page.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListError(f"octet {error.start} is not UTF-8 text") from None
    if text.lstrip().startswith("<"):
        raise ListError("an HTML page, not a list")
    return text


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """
    Yield the number and the words of each logical line.
    """
    number, words = 0, list[str]()
    for count, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if not line[0].isspace() or not words:
            if words:
                yield number, words
            number, words = count, []
        words += stripped.replace(",", " ").split()
    if words:
        yield number, words


def _parse_json(text: str) -> AliasList:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ListError("begins like JSON, but is not") from None
    if not isinstance(document, dict) or not isinstance(document.get("aliases"), dict):
        raise ListError('JSON of another kind: no mapping "aliases" in it')
    local_parts = document.get("local_parts", {})
    if not isinstance(local_parts, dict):
        raise ListError(f'"local_parts" is {_kind(local_parts)}, a mapping was expected')
    domains = [fold(name) for name in _names(document.get("domains", []), "domains")]
    for name in domains:
        if not is_domain(name):
            raise ListError(f"{_excerpt(name)} is not a domain")
    return AliasList(
        _entries(document["aliases"], _whole_address),
        _entries(local_parts, _local_part),
        frozenset(domains),
    )


def _entries(mapping: dict[str, Any], name_of: Callable[[str], str]) -> dict[str, Targets]:
    entries: dict[str, Targets] = {}
    for key, value in mapping.items():
        name = name_of(key)
        entries[name] = _merged(entries.get(name, ()), _targets(key, value))
    return entries


def _targets(name: str, value: Any) -> Targets:
    """
    Return the targets of one JSON entry; none at all means the name itself.
    """
    own = fold(name)
    words = [fold(word) for word in _names(value, name)]
    return _merged((), [word if word == own else _address(word, 0) for word in words] or [own])


def _names(value: Any, key: str) -> list[str]:
    """
    Return one name or a list of names as a list; null is an empty one.
    """
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ListError(f"{_excerpt(key)}: a list of names was expected, not {_kind(value)}")
    return names


def _address(word: Any, number: int) -> str:
    if not isinstance(word, str) or not is_address(word):
        place = f"line {number}: " if number else ""
        raise ListError(f"{place}{_excerpt(word)} is not an address")
    return fold(word)


def _whole_address(word: str) -> str:
    return _address(word, 0)


def _local_part(word: str) -> str:
    if not is_local_part(word):
        raise ListError(f"{_excerpt(word)} is not a local part")
    return fold(word)


def _merged(known: Targets, more: Iterable[str]) -> Targets:
    return tuple(dict.fromkeys((*known, *more)))


def _excerpt(word: Any) -> str:
    text = str(word)
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")
