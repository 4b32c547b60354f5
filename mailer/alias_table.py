"""
The table that every lookup is answered from: the lists of all servers, merged.

A table is immutable; a refresh builds another and rebinds one attribute, so
that ``aliases``, ``transport`` and LMTP always speak from one snapshot.
"""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mailer.address import fold, without_extension
from mailer.alias_list import OWN_NEXTHOP, AliasList, Targets


class Removed(NamedTuple):
    """
    An address that was Odoo's: when it left the list (seconds, Unix time), and its next hop.
    """

    at: float
    nexthop: str


@dataclass(frozen=True, slots=True)
class ServerList:
    """
    The list of one server, with what it dropped lately.

    Args:
        server: Name of the server.
        declared: None as long as no list was ever loaded.
        removed: Full addresses, kept for ``transport_grace``.
        loaded_at: Seconds, Unix time, of the last answer that confirmed the list.
        count: Addresses and local parts in it.
    """

    server: str
    declared: AliasList | None = None
    removed: Mapping[str, Removed] = field(default_factory=dict)
    loaded_at: float = 0.0
    count: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What is known of one address.

    Args:
        server: Name of the server it belongs to.
        targets: None for an address that is its own target.
        nexthop: None where mail for it is not for us to deliver.
    """

    server: str
    targets: Targets | None
    nexthop: str | None


class Match(NamedTuple):
    """
    An address as the list has it (folded, extension gone where it was), and its entry.
    """

    address: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class AliasTable:
    """
    Every address of every server.

    Args:
        entries: By folded address.
        local_parts: By domain, in order of precedence, entries by local part.
        removed: By folded address; only the nexthop counts.
        delimiters: Characters that begin an address extension.
        grace: Seconds for which ``removed`` holds.
        missing: Servers of which no list was ever loaded.
        conflicts: Addresses claimed by a second server: address, keeper, loser.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    local_parts: Mapping[str, Sequence[Mapping[str, Entry]]] = field(default_factory=dict)
    removed: Mapping[str, tuple[float, Entry]] = field(default_factory=dict)
    delimiters: str = "+"
    grace: float = 0.0
    missing: tuple[str, ...] = ()
    conflicts: tuple[tuple[str, str, str], ...] = ()

    def find(self, address: str) -> Match | None:
        """
        Return the entry of an address that is declared now.

        Args:
            address: As Postfix sent it; folded here, looked up whole, then
                without its extension.
        """
        for candidate in self._candidates(address):
            entry = self.entries.get(candidate) or _by_local_part(self.local_parts, candidate)
            if entry is not None:
                return Match(candidate, entry)
        return None

    def find_deliverable(self, address: str, now: float) -> Match | None:
        """
        Return the entry of an address whose mail goes to Odoo.

        An address removed less than ``grace`` seconds ago is one: mail for it
        may still be queued, and Odoo itself has to judge it.

        Args:
            now: Seconds, Unix time.
        """
        match = self.find(address)
        if match is not None and match.entry.nexthop is not None:
            return match
        for candidate in self._candidates(address) if self.removed else ():
            at, entry = self.removed.get(candidate, _NEVER)
            if entry is not None and now - at < self.grace:
                return Match(candidate, entry)
        return None

    def _candidates(self, address: str) -> Iterator[str]:
        whole = fold(address)
        if whole.count("@") != 1:
            return
        yield whole
        bare = without_extension(whole, self.delimiters)
        if bare is not None:
            yield bare


_NEVER: tuple[float, Entry | None] = (0.0, None)


def merge(
    lists: Iterable[ServerList],
    domains: Mapping[str, frozenset[str]],
    nexthop: str,
    delimiters: str = "+",
    grace: float = 0.0,
    needed: Container[str] | None = None,
) -> AliasTable:
    """
    Build the table of several servers; the first that claims an address keeps it.

    Args:
        lists: In order of precedence.
        domains: By server, the daemon's own domains for local parts.
        nexthop: What transport answers where a list names nothing else.
        delimiters: See ``AliasTable``.
        grace: Seconds; see ``AliasTable``.
        needed: Servers without whose list no address is unknown; all, if not given.
    """
    entries: dict[str, Entry] = {}
    local_parts: dict[str, list[Mapping[str, Entry]]] = {}
    removed: dict[str, tuple[float, Entry]] = {}
    missing: list[str] = []
    conflicts: list[tuple[str, str, str]] = []
    for server_list in lists:
        name, declared = server_list.server, server_list.declared
        for address, (at, hop) in server_list.removed.items():
            removed.setdefault(address, (at, Entry(name, None, hop or nexthop)))
        if declared is None:
            if needed is None or name in needed:
                missing.append(name)
            continue
        for address, entry in _entries(name, declared, nexthop):
            kept = entries.get(address) or _by_local_part(local_parts, address)
            if kept is None:
                entries[address] = entry
            else:
                conflicts.append((address, kept.server, name))
        parts = dict(_local_part_entries(name, declared, nexthop))
        for domain in (declared.domains | domains.get(name, frozenset())) if parts else ():
            conflicts += _claimed(entries, local_parts, domain, parts, name)
            local_parts.setdefault(domain, []).append(parts)
    return AliasTable(
        entries, local_parts, removed, delimiters, grace, tuple(missing), tuple(conflicts)
    )


def keep_removed(
    old: ServerList,
    new: AliasList,
    domains: frozenset[str],
    now: float,
    grace: float,
) -> dict[str, Removed]:
    """
    Return the addresses that were deliverable lately and are no longer.

    Args:
        old: The list in force until now, with what it remembers.
        new: The list that takes its place.
        domains: The daemon's own domains for this server's local parts.
        now: Seconds, Unix time.
        grace: Seconds for which a removed address is remembered.
    """
    removed = {address: gone for address, gone in old.removed.items() if now - gone.at < grace}
    if old.declared is not None:
        for address, nexthop in _deliverable(old.declared, domains):
            removed.setdefault(address, Removed(now, nexthop))
    for address, _ in _deliverable(new, domains):
        removed.pop(address, None)
    return removed


def dropped_share(old: AliasList, new: AliasList, domains: frozenset[str] = frozenset()) -> float:
    """
    Return the part of the old list that the new one lacks, 0 to 1; 0 if there was none.

    What is declared counts, and what of it is for us to deliver: an address
    that is still an alias but has lost its next hop would bounce.

    Args:
        domains: The daemon's own domains for this server's local parts.
    """
    declared = _dropped(old.names(), new.names())
    deliverable = _dropped(dict(_deliverable(old, domains)), dict(_deliverable(new, domains)))
    return max(declared, deliverable)


def is_emptied(old: AliasList, new: AliasList, domains: frozenset[str]) -> bool:
    """
    Say whether nothing is left where there was something, see ``dropped_share``.
    """
    had, has = (any(True for _ in _deliverable(one, domains)) for one in (old, new))
    return bool(old and not new) or (had and not has)


def _dropped(before: Collection[str], after: Container[str]) -> float:
    return sum(name not in after for name in before) / len(before) if before else 0.0


def _by_local_part(
    local_parts: Mapping[str, Sequence[Mapping[str, Entry]]], address: str
) -> Entry | None:
    """
    Return the entry of an address by its local part; the first server's wins.
    """
    local, _, domain = address.partition("@")
    for entries in local_parts.get(domain, ()):
        entry = entries.get(local)
        if entry is not None:
            return entry
    return None


def _claimed(
    entries: Mapping[str, Entry],
    local_parts: Mapping[str, Sequence[Mapping[str, Entry]]],
    domain: str,
    parts: Iterable[str],
    server: str,
) -> Iterator[tuple[str, str, str]]:
    """
    Yield the local parts of a server that another one before it has in this domain.
    """
    for part in parts:
        address = f"{part}@{domain}"
        kept = entries.get(address) or _by_local_part(local_parts, address)
        if kept is not None and kept.server != server:
            yield address, kept.server, server


def _nexthop_of(name: str, targets: Targets, declared: AliasList) -> str | None:
    """
    Return the next hop of an alias: its own, or if each of its targets has one.

    A bare local part is its own target and goes where all of Odoo's mail goes.
    """
    if name in declared.transport:
        return declared.transport[name]
    hops = [declared.transport.get(target) for target in targets if "@" in target]
    if None in hops:
        return None
    return hops[0] if hops else OWN_NEXTHOP


def _entries(server: str, declared: AliasList, nexthop: str) -> Iterator[tuple[str, Entry]]:
    shared = {hop: Entry(server, None, hop or nexthop) for hop in {*declared.transport.values()}}
    for address, hop in declared.transport.items():
        if address not in declared.aliases:
            yield address, shared[hop]
    for address, targets in declared.aliases.items():
        found = _nexthop_of(address, targets, declared)
        if found is not None and targets == (address,):
            yield address, shared[found]
        else:
            yield address, _entry(server, targets, address, found, nexthop)


def _local_part_entries(
    server: str, declared: AliasList, nexthop: str
) -> Iterator[tuple[str, Entry]]:
    for part, targets in declared.local_parts.items():
        found = _nexthop_of(part, targets, declared)
        yield part, _entry(server, targets, part, found, nexthop)


def _entry(server: str, targets: Targets, own: str, hop: str | None, nexthop: str) -> Entry:
    itself = targets == (own,)
    return Entry(server, None if itself else targets, None if hop is None else hop or nexthop)


def _deliverable(declared: AliasList, domains: frozenset[str]) -> Iterator[tuple[str, str]]:
    """
    Yield every full address whose mail goes to Odoo, and its next hop.
    """
    yield from declared.transport.items()
    for address, targets in declared.aliases.items():
        hop = _nexthop_of(address, targets, declared)
        if hop is not None:
            yield address, hop
    for part, targets in declared.local_parts.items():
        hop = _nexthop_of(part, targets, declared)
        if hop is None:
            continue
        for domain in declared.domains | domains:
            address = f"{part}@{domain}"
            if address not in declared.aliases:
                yield address, hop
