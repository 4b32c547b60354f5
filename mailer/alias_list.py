"""
The pages that a server's list is read from, and what is posted to us of it.

Lenient where the formats are (comments, blank lines, continuation lines,
several targets, many addresses a line), strict where a wrong page could pass
for a list: one word that cannot be an address refuses the whole page.

Pages may come in pieces; they are read a little at a time.

Source: virtual(5) and transport(5), TABLE FORMAT; RFC 7396 (JSON Merge Patch).
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailer.address import fold, is_address, is_domain, is_local_part
from mailer.declared import (
    NOTHING,
    OWN_NEXTHOP,
    AliasList,
    Changes,
    Declared,
    ListBuilder,
    Targets,
    named_by,
    own_or,
)
from mailer.errors import ListError
from mailer.page_text import JsonText, lines, texts
from mailer.sharded import ShardedBuilder

__all__ = [
    "MERGE_PATCH",
    "MERGE_PATCH_TYPE",
    "OWN_NEXTHOP",
    "AliasList",
    "Patch",
    "Targets",
    "parse_aliases",
    "parse_json_mapping",
    "parse_mapping",
    "parse_patch",
    "parse_transport",
]

MERGE_PATCH = "merge-patch"  # as an instance manipulation, RFC 3229
MERGE_PATCH_TYPE = "application/merge-patch+json"  # RFC 7396

PageContent = bytes | Iterable[bytes]

_NEXTHOP = re.compile(r"[A-Za-z][\w.-]*:[!-~]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Patch:
    """
    What has changed of a page of ``/mail_delivery/aliases``; None takes an entry away.

    Args:
        count: How many aliases and local parts there are afterwards.
        domains: All of them, None if they stay.
    """

    count: int
    aliases: Mapping[str, Targets | None] = field(default_factory=dict)
    local_parts: Mapping[str, Targets | None] = field(default_factory=dict)
    domains: frozenset[str] | None = None

    def changes_of(self, known: AliasList) -> Changes:
        """
        Return what the patch changes of the list that it was made for.

        Raises:
            ListError: It was made for another: the count does not fit.
        """
        named: dict[str, int] = {}
        aliases, before = _kept(self.aliases, {}), {}
        for address in aliases:
            before[address] = (known.entries.get(address) or NOTHING)[0]
            _count(named, before[address], aliases[address])
        parts = _kept(self.local_parts, known.parts)
        parts = {name: now for name, now in parts.items() if now is not None or name in known.parts}
        for name, targets in parts.items():
            _count(named, known.parts.get(name), targets)
        entries: dict[str, Declared | None] = {}
        for address in {**aliases, **named}:
            was = known.entries.get(address)
            targets, _, count = was or NOTHING
            now = (aliases.get(address, targets), None, count + named.get(address, 0))
            if now != (was or NOTHING):
                entries[address] = None if now == NOTHING else now
        same_domains = self.domains is None or self.domains == known.domains
        changes = Changes(entries, parts, None if same_domains else self.domains, whole=True)
        if known.count_after(changes) != self.count:
            raise ListError(f"the changes do not make {self.count} aliases of those in force")
        return changes


def _kept(changes: Mapping[str, Targets | None], known: Mapping[str, Targets]) -> dict[str, Any]:
    """
    Return the changes as a list keeps them, without those that change nothing.
    """
    kept = {
        name: None if targets is None else own_or(name, targets)
        for name, targets in changes.items()
    }
    return {name: targets for name, targets in kept.items() if known.get(name, 0) != targets}


def _count(named: dict[str, int], before: Targets | None, after: Targets | None) -> None:
    """
    Count how often addresses are targets, after less before.
    """
    for targets, step in ((before, -1), (after, 1)):
        for target in named_by(targets):
            named[target] = named.get(target, 0) + step


def parse_aliases(page: PageContent) -> AliasList:
    """
    Read the page of ``/mail_delivery/aliases``, text or JSON.

    ``transport`` stays empty; a JSON page may say that the list is whole without.

    Raises:
        ListError: The page is not an alias list; says where and why.
    """
    pieces, is_json = _peeked(texts(page))
    if is_json:
        return _parse_json(JsonText(pieces))
    builder = ListBuilder()
    for number, words in _lines(pieces):
        address, *targets = (_address(word, number) for word in words)
        builder.alias(address, targets or [address])
    return builder.build(frozenset(), whole=False)


def parse_transport(page: PageContent) -> Mapping[str, str]:
    """
    Read the page of ``/mail_delivery/transport``: address to next hop.

    A word with a ``:`` in it is the next hop of the addresses before it on its line.

    Raises:
        ListError: The page is not a transport list; says where and why.
    """
    transport = ShardedBuilder(OWN_NEXTHOP)
    for number, words in _lines(texts(page)):
        waiting: list[str] = []
        for word in words:
            if ":" not in word:
                address = _address(word, number)
                waiting.append(address)
                transport.put(address, OWN_NEXTHOP)
                continue
            if not waiting or not _NEXTHOP.fullmatch(word):
                raise ListError(f"line {number}: {_excerpt(word)} is no next hop for an address")
            for address in waiting:
                transport.put(address, word)
            waiting = []
    return transport.build()


def parse_patch(page: PageContent) -> Patch:
    """
    Read what has changed of the JSON page, a merge patch of it.

    Raises:
        ListError: It is not such a patch, or one that leaves no list whose every target is
            ours; says where and why.
    """
    aliases: dict[str, Targets | None] = {}
    parts: dict[str, Targets | None] = {}
    others: dict[str, Any] = {}
    text = JsonText(texts(page))
    if not text.begins_with("{"):
        raise ListError("not JSON, or JSON of another kind")
    for member in _members(text):
        if member == "aliases":
            _patched(text, aliases, _whole_address)
        elif member == "local_parts":
            _patched(text, parts, _local_part)
        else:
            others[member] = text.value()
    text.end()
    if others.get("transport", True) is not True:
        raise ListError('"transport" is no longer true')
    if type(others.get("count")) is not int:
        raise ListError('no "count" in it')
    domains = _domains(others["domains"]) if others.get("domains", ()) != () else None
    return Patch(others["count"], aliases, parts, domains)


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
    builder = ListBuilder(whole=False)
    for key, value in mapping.items():
        _account(builder, key, value)
    return builder.build(frozenset(), whole=False)


def parse_json_mapping(body: PageContent) -> AliasList:
    """
    Read the same mapping as JSON, which is much faster than YAML, and done a little at a time.

    Raises:
        NotJsonError: It may be YAML.
        ListError: It is not such a mapping; says where and why.
    """
    text, builder, seen = JsonText(texts(body)), ListBuilder(whole=False), ShardedBuilder(True)
    try:
        for key, value in text.items():
            if seen.get(key):
                raise ListError(f"{_excerpt(key)} stands twice")
            seen.put(key, True)
            _account(builder, key, value)
    finally:
        seen.build().release()
    text.end()
    return builder.build(frozenset(), whole=False)


def _account(builder: ListBuilder, key: Any, value: Any) -> None:
    account = _address(key, 0)
    builder.transport(account, OWN_NEXTHOP)
    for name in _names(value, account):
        alias = _address(name if "@" in name else name + account[account.index("@") :], 0)
        builder.alias(alias, [account])


def _peeked(pieces: Iterator[str]) -> tuple[Iterator[str], bool]:
    """
    Return the pieces, and whether they begin like JSON.
    """
    begin = ""
    for piece in pieces:
        begin += piece
        if begin.lstrip():
            break
    return itertools.chain([begin], pieces), begin.lstrip()[:1] in ("{", "[")


def _lines(pieces: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """
    Yield the number and the words of each logical line.
    """
    number, words = 0, list[str]()
    for count, line in enumerate(lines(pieces), 1):
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


def _parse_json(text: JsonText) -> AliasList:
    builder = ListBuilder()
    others: dict[str, Any] = {}
    seen: set[str] = set()
    if not text.begins_with("{"):
        text.value()
        text.end()
        raise ListError(_NO_ALIASES)
    for member in _members(text):
        seen.add(member)
        if member == "aliases":
            if not text.begins_with("{"):
                raise ListError(_NO_ALIASES)
            _entries(text, _whole_address, builder.alias)
        elif member == "local_parts":
            if not text.begins_with("{"):
                kind = _kind(text.value())
                raise ListError(f'"local_parts" is {kind}, a mapping was expected')
            _entries(text, _local_part, builder.local_part)
        else:
            others[member] = text.value()
    text.end()
    if "aliases" not in seen:
        raise ListError(_NO_ALIASES)
    whole = others.get("transport", False)
    if type(whole) is not bool:
        raise ListError(f'"transport" is {_kind(whole)}, true was expected')
    declared = builder.build(_domains(others.get("domains")), whole)
    told = others.get("count", declared.count)
    if type(told) is not int or told != declared.count:
        count = declared.count
        raise ListError(f'{count} aliases and local parts, where "count" is {_excerpt(told)}')
    return declared


_NO_ALIASES = 'JSON of another kind: no mapping "aliases" in it'


def _members(text: JsonText) -> Iterator[str]:
    """
    Yield the names of the members of a page; none may stand twice.
    """
    seen: set[str] = set()
    for name in text.members():
        if name in seen:
            raise ListError(f"{_excerpt(name)} stands twice")
        seen.add(name)
        yield name


def _entries(
    text: JsonText,
    name_of: Callable[[str], str],
    add: Callable[[str, Iterable[str]], None],
) -> None:
    """
    Read the entries of a page.
    """
    for key, value in text.items():
        name = name_of(key)
        add(name, (name,) if value == [name] else _targets(key, value))


def _patched(
    text: JsonText, changes: dict[str, Targets | None], name_of: Callable[[str], str]
) -> None:
    """
    Read the changes of a patch; where two are of one name, nobody knows which holds.
    """
    if not text.begins_with("{"):
        raise ListError("a mapping was expected")
    for key, value in text.items():
        name = name_of(key)
        if name in changes:
            raise ListError(f"{_excerpt(name)} stands twice")
        changes[name] = None if value is None else _targets(key, value)


def _domains(value: Any) -> frozenset[str]:
    domains = frozenset(fold(name) for name in _names(value, "domains"))
    for name in domains:
        if not is_domain(name):
            raise ListError(f"{_excerpt(name)} is not a domain")
    return domains


def _targets(name: str, value: Any) -> Targets:
    """
    Return the targets of one JSON entry; none at all means the name itself.
    """
    own = fold(name)
    words = [fold(word) for word in _names(value, name)]
    found = [word if word == own else _address(word, 0) for word in words] or [own]
    return tuple(dict.fromkeys(found))


def _names(value: Any, key: str) -> list[str]:
    """
    Return one name or a list of names as a list; null is an empty one.
    """
    names = [value] if isinstance(value, str) else [] if value is None else value
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


def _excerpt(word: Any) -> str:
    text = str(word)
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")
