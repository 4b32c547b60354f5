"""
The table that every lookup is answered from: the lists of all servers.

A table is immutable; a refresh makes another and rebinds one attribute, so
that ``aliases``, ``transport`` and LMTP always speak from one snapshot. It holds
no copy of the lists, but asks them one after the other.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mailer.address import fold, without_extension
from mailer.declared import OWN_NEXTHOP, USUAL, AliasList, Declared, Targets


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
        revision: Of the list as it is stored, see ``store.Store.save``; 0 where it is not.
    """

    server: str
    declared: AliasList | None = None
    removed: Mapping[str, Removed] = field(default_factory=dict)
    loaded_at: float = 0.0
    count: int = field(default=0, compare=False)
    revision: int = field(default=0, compare=False)


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


Found = tuple[str, Entry]  # as a ``Match``, which takes longer to make than this to find


@dataclass(frozen=True, slots=True)
class Served:
    """
    The list of one server, as lookups ask it.

    Args:
        domains: Where its local parts hold.
        nexthop: What transport answers where the list names nothing else.
        common: The entry of an address that is its own target and goes there.
        usual: What the list says of such an address; this very object, as a rule.
    """

    server: str
    declared: AliasList
    removed: Mapping[str, Removed]
    domains: frozenset[str]
    nexthop: str
    common: Entry
    usual: Declared

    def find(self, address: str) -> Entry | None:
        """
        Return the entry of a full address, folded.
        """
        return self.entry(address, self.declared.entries.get(address))

    def entry(self, address: str, declared: Declared | None) -> Entry | None:
        """
        Return the entry of a full address, folded.

        Args:
            declared: What the entries of the list say of it.
        """
        if declared is self.usual:
            return self.common
        if declared is not None:
            return self._entry(declared)
        if not self.declared.parts:
            return None
        local, _, domain = address.partition("@")
        targets = self.declared.parts.get(local) if domain in self.domains else None
        if targets is None:
            return None
        return self._made(targets, self.declared.hop_of_part(targets))

    def find_removed(self, address: str, since: float) -> Entry | None:
        """
        Return the entry of an address that left the list after some time.

        Args:
            since: Seconds, Unix time.
        """
        gone: Removed | None = self.removed.get(address)
        return None if gone is None or gone.at <= since else self._made((), gone.nexthop)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """
        Yield every full address and its entry; some twice, of which the first counts.
        """
        for address, declared in self.declared.entries.items():
            yield address, self._entry(declared)
        for part, targets in self.declared.parts.items():
            entry = self._made(targets, self.declared.hop_of_part(targets))
            for domain in self.domains:
                yield f"{part}@{domain}", entry

    def _entry(self, declared: Declared) -> Entry:
        return self._made(declared[0], self.declared.hop_of(declared))

    def _made(self, targets: Targets | None, hop: str | None) -> Entry:
        if hop == OWN_NEXTHOP and not targets:
            return self.common
        return Entry(self.server, targets or None, None if hop is None else hop or self.nexthop)


@dataclass(frozen=True, slots=True)
class AliasTable:
    """
    Every address of every server.

    Args:
        servers: Those of which there is a list, or something removed, in order of precedence.
        delimiters: Characters that begin an address extension.
        grace: Seconds for which what was removed is remembered.
        missing: Servers of which no list was ever loaded.
        conflicts: Addresses claimed by a second server: address, keeper, loser.
        remembers: Something removed is remembered.
    """

    servers: tuple[Served, ...] = ()
    delimiters: str = "+"
    grace: float = 0.0
    missing: tuple[str, ...] = ()
    conflicts: tuple[tuple[str, str, str], ...] = ()
    remembers: bool = False

    def find(self, address: str) -> Found | None:
        """
        Return an address that is declared now, as the list has it, and its entry.

        Args:
            address: As Postfix sent it; folded here, looked up whole, then
                without its extension.
        """
        whole = fold(address)
        for served in self.servers:
            declared = served.declared.entries.get(whole)
            if declared is served.usual:  # as ``Served.entry`` says; a call less for most
                return whole, served.common
            entry = served.entry(whole, declared)
            if entry is not None:
                return whole, entry
        for delimiter in self.delimiters:
            if delimiter in whole:
                return self._find_bare(whole)
        return None

    def find_deliverable(self, address: str, now: float) -> Found | None:
        """
        Return an address whose mail goes to Odoo, as the list has it, and its entry.

        An address removed less than ``grace`` seconds ago is one: mail for it
        may still be queued, and Odoo itself has to judge it.

        Args:
            now: Seconds, Unix time.
        """
        found = self.find(address)
        if found is not None and found[1].nexthop is not None:
            return found
        if not self.remembers:
            return None
        whole = fold(address)
        if whole.count("@") != 1:
            return None
        for candidate in (whole, without_extension(whole, self.delimiters)):
            entry = None if candidate is None else self._removed(candidate, now)
            if candidate is not None and entry is not None:
                return candidate, entry
        return None

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """
        Yield every address and its entry; some twice, of which the first counts.
        """
        for served in self.servers:
            yield from served.entries()

    def removed(self, now: float) -> Iterator[tuple[str, Entry]]:
        """
        Yield the addresses that are in their time of grace, and no longer declared.

        Args:
            now: Seconds, Unix time.
        """
        for served in self.servers:
            for address in served.removed:
                entry = self._removed(address, now)
                if entry is not None and self.find(address) is None:
                    yield address, entry

    def _find_bare(self, whole: str) -> Found | None:
        if whole.count("@") != 1:
            return None
        bare = without_extension(whole, self.delimiters)
        if bare is None:
            return None
        for served in self.servers:
            entry = served.find(bare)
            if entry is not None:
                return bare, entry
        return None

    def _removed(self, address: str, now: float) -> Entry | None:
        for served in self.servers:
            entry = served.find_removed(address, now - self.grace)
            if entry is not None:
                return entry
        return None


def merge(
    lists: Iterable[ServerList],
    domains: Mapping[str, frozenset[str]],
    nexthop: str,
    delimiters: str = "+",
    grace: float = 0.0,
    needed: Container[str] | None = None,
    before: AliasTable | None = None,
    touched: Iterable[str] | None = None,
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
        before: The table before, where the conflicts of but a few addresses have changed.
        touched: These addresses.
    """
    served: list[Served] = []
    missing: list[str] = []
    for server_list in lists:
        name, declared = server_list.server, server_list.declared
        if declared is None and (needed is None or name in needed):
            missing.append(name)
        declared = AliasList() if declared is None else declared
        served.append(
            Served(
                name,
                declared,
                server_list.removed,
                declared.domains | domains.get(name, frozenset()),
                nexthop,
                Entry(name, None, nexthop),
                USUAL[declared.whole],
            )
        )
    conflicts = _conflicts(served, before, touched)
    remembers = any(one.removed for one in served)
    return AliasTable(tuple(served), delimiters, grace, tuple(missing), conflicts, remembers)


def _conflicts(
    servers: Sequence[Served], before: AliasTable | None, touched: Iterable[str] | None
) -> tuple[tuple[str, str, str], ...]:
    """
    Return the conflicts of these servers; those of addresses that are not touched are known.
    """
    if len(servers) < 2:
        return ()
    kept: list[tuple[str, str, str]] = []
    if before is None or touched is None:
        touched = (address for served in servers[1:] for address, _ in served.entries())
    else:
        touched = set(touched)
        kept = [conflict for conflict in before.conflicts if conflict[0] not in touched]
    found = (conflict for address in touched for conflict in _claimed(servers, address))
    return tuple(dict.fromkeys((*kept, *found)))


def _claimed(servers: Sequence[Served], address: str) -> Iterator[tuple[str, str, str]]:
    """
    Yield the address, its keeper, and each other server that claims it.
    """
    keeper, *losers = [one.server for one in servers if one.find(address) is not None] or [""]
    return ((address, keeper, loser) for loser in losers)
