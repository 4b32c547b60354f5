"""
What one Odoo server declares: its addresses, and how one list becomes another.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from mailer.sharded import Sharded, ShardedBuilder, View

Targets = tuple[str, ...]
Declared = tuple[Targets | None, str | None, int]
V = TypeVar("V")

OWN_NEXTHOP = ""  # the daemon's own next hop, INTERFACE of transport_maps
OWN_TARGET: Targets = ()  # the targets of what is its own only target: shared by a million
MAX_SHARED = 1000  # values that are looked for among those known: most are of a few kinds


@dataclass(frozen=True, slots=True)
class Changes:
    """
    What makes one list of another; None takes an entry away.

    Args:
        entries: As in ``AliasList``.
        parts: As in ``AliasList``.
        domains: None if they stay.
        whole: As in ``AliasList``.
    """

    entries: Mapping[str, Declared | None] = field(default_factory=dict)
    parts: Mapping[str, Targets | None] = field(default_factory=dict)
    domains: frozenset[str] | None = None
    whole: bool = False

    def __bool__(self) -> bool:
        return bool(self.entries or self.parts) or self.domains is not None

    def __len__(self) -> int:
        return len(self.entries) + len(self.parts)

    def release(self) -> None:
        """
        Let go of them slowly, see ``Sharded.release``.
        """
        for changes in (self.entries, self.parts):
            if isinstance(changes, Sharded):
                changes.release()


# What is said of most addresses, by whether the list is whole.
USUAL: dict[bool, Declared] = {True: (OWN_TARGET, None, 0), False: (OWN_TARGET, OWN_NEXTHOP, 0)}
NOTHING: Declared = (None, None, 0)


class AliasList:
    """
    The addresses of one server, all folded. Immutable; see ``Sharded`` for its cost.

    Args:
        aliases: Full address to its targets, at least one, full addresses.
        local_parts: Local part to its targets; the local part itself stands
            for "the address that was asked". Valid in every honoured domain.
        domains: Where Odoo honours the local parts.
        transport: Address to next hop; ``OWN_NEXTHOP`` for the daemon's own.
        whole: There is no page of transport: every target goes to ``OWN_NEXTHOP``.

    Attributes:
        entries: By full address what the pages say of it: its targets, ``OWN_TARGET`` for itself,
            None if it is no alias; its next hop, None if that is not told; in a whole list how
            many others have it as target.
        parts: As ``local_parts``, with ``OWN_TARGET`` for the local part itself.
        alias_count: How many of the entries are aliases.
    """

    __slots__ = ("alias_count", "domains", "entries", "parts", "whole")

    entries: Sharded[Declared]
    parts: Sharded[Targets]
    domains: frozenset[str]
    whole: bool
    alias_count: int

    def __init__(
        self,
        aliases: Mapping[str, Targets] | None = None,
        local_parts: Mapping[str, Targets] | None = None,
        domains: frozenset[str] = frozenset(),
        transport: Mapping[str, str] | None = None,
        whole: bool = False,
    ) -> None:
        builder = ListBuilder(whole)
        for address, targets in (aliases or {}).items():
            builder.alias(address, targets)
        for name, targets in (local_parts or {}).items():
            builder.local_part(name, targets)
        for address, hop in (transport or {}).items():
            builder.transport(address, hop)
        made = builder.build(domains, whole)
        for name in self.__slots__:
            setattr(self, name, getattr(made, name))

    @classmethod
    def of(
        cls,
        entries: Sharded[Declared],
        parts: Sharded[Targets],
        domains: frozenset[str],
        whole: bool,
        alias_count: int,
    ) -> "AliasList":
        """
        Return a list of these attributes.
        """
        made = cls.__new__(cls)
        made.entries, made.parts, made.domains = entries, parts, domains
        made.whole, made.alias_count = whole, alias_count
        return made

    def __len__(self) -> int:
        return len(self.entries) + len(self.parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AliasList):
            return NotImplemented
        mine, its = ((one.whole, one.domains, one.parts, one.entries) for one in (self, other))
        return mine == its

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        views = (self.aliases, self.local_parts, self.transport)
        aliases, local_parts, transport = (dict(view.items()) for view in views)
        domains = set(self.domains)
        return f"AliasList({aliases}, {local_parts}, {domains}, {transport}, whole={self.whole})"

    @property
    def aliases(self) -> Mapping[str, Targets]:
        """Full address to its targets."""
        return View(self.entries, _targets_of)

    @property
    def local_parts(self) -> Mapping[str, Targets]:
        """Local part to its targets."""
        return View(self.parts, lambda name, targets: targets or (name,))

    @property
    def transport(self) -> Mapping[str, str]:
        """Address to next hop, as the page of transport said it."""
        return View(self.entries, lambda _, entry: entry[1])

    @property
    def count(self) -> int:
        """How many aliases and local parts there are."""
        return self.alias_count + len(self.parts)

    def hop_of(self, entry: Declared) -> str | None:
        """
        Return the next hop of an entry: its own, or if each of its targets has one.
        """
        targets, hop, _ = entry
        if self.whole:
            return OWN_NEXTHOP
        return hop if hop is not None or not targets else self._hop_of_targets(targets)

    def hop_of_part(self, targets: Targets) -> str | None:
        """
        Return the next hop of a local part with these targets.

        A bare local part is its own target and goes where all of Odoo's mail goes.
        """
        return OWN_NEXTHOP if self.whole else self._hop_of_targets(targets)

    def hop_at(self, address: str, own: frozenset[str] = frozenset()) -> str | None:
        """
        Return where mail for a full address goes; None if it is not for us to deliver.

        Args:
            own: The daemon's own domains for the local parts.
        """
        entry = self.entries.get(address)
        if entry is not None:
            return self.hop_of(entry)
        local, _, domain = address.partition("@")
        targets = self.parts.get(local)
        if targets is None or not (domain in self.domains or domain in own):
            return None
        return self.hop_of_part(targets)

    def _hop_of_targets(self, targets: Targets) -> str | None:
        known = [self.entries.get(target) for target in targets if "@" in target]
        hops = [None if entry is None else entry[1] for entry in known]
        if None in hops:
            return None
        return hops[0] if hops else OWN_NEXTHOP

    def changed(self, changes: Changes) -> "AliasList":
        """
        Return the list that these changes make of this one.
        """
        return AliasList.of(
            self.entries.with_usual(USUAL[changes.whole]).changed(changes.entries),
            self.parts.changed(changes.parts),
            self.domains if changes.domains is None else changes.domains,
            changes.whole,
            self._alias_count_after(changes),
        )

    def count_after(self, changes: Changes) -> int:
        """
        Return what ``count`` is of the list that these changes make of this one.
        """
        parts = ((now is not None) - (name in self.parts) for name, now in changes.parts.items())
        return self._alias_count_after(changes) + len(self.parts) + sum(parts)

    def _alias_count_after(self, changes: Changes) -> int:
        count = self.alias_count
        for address, entry in changes.entries.items():
            before, after = self.entries.get(address) or NOTHING, entry or NOTHING
            count += (after[0] is not None) - (before[0] is not None)
        return count

    def changes_to(self, other: "AliasList") -> Changes:
        """
        Return the changes that make this list equal to the other.
        """
        return Changes(
            self.entries.changes_to(other.entries),
            self.parts.changes_to(other.parts),
            None if self.domains == other.domains else other.domains,
            other.whole,
        )

    def with_transport(self, transport: Mapping[str, str]) -> "AliasList":
        """
        Return these aliases and local parts with another page of transport.
        """
        builder = ListBuilder(whole=False)
        for address, (targets, _, _) in self.entries.items():
            if targets is not None:
                builder.put(address, (targets, transport.get(address), 0))
        for address, hop in transport.items():
            if self.entries.get(address, NOTHING)[0] is None:
                builder.put(address, (None, hop, 0))
        made = builder.build(self.domains, whole=False)
        parts = self.parts.twin()  # each may be released by itself
        return AliasList.of(made.entries, parts, self.domains, False, made.alias_count)

    def release(self, heir: "AliasList | None" = None) -> None:
        """
        Let go of it slowly, see ``Sharded.release``.
        """
        self.entries.release(None if heir is None else heir.entries)
        self.parts.release(None if heir is None else heir.parts)

    def twin(self) -> "AliasList":
        """
        Return another that shares everything, see ``Sharded.twin``.
        """
        twins = self.entries.twin(), self.parts.twin()
        return AliasList.of(*twins, self.domains, self.whole, self.alias_count)


class ListBuilder:
    """
    Collects what the pages of one server say, in any order.

    Args:
        whole: The list will probably be whole; only what it costs depends on that.
    """

    def __init__(self, whole: bool = True) -> None:
        self._entries = ShardedBuilder[Declared](USUAL[whole])
        self._parts = ShardedBuilder[Targets](OWN_TARGET)
        self._shared: dict[Declared, Declared] = {}
        # What stands in several places, and all its targets: put together once, at the end.
        self._repeated: dict[str, dict[str, None]] = {}
        self._repeated_parts: dict[str, dict[str, None]] = {}

    def alias(self, address: str, targets: Iterable[str]) -> None:
        """
        Add an alias, or more targets to one.
        """
        known, hop, named = self._entries.get(address, NOTHING)
        if known is None:
            self.put(address, (_merged(address, targets), hop, named))
        else:
            _repeat(self._repeated, address, known, targets)

    def local_part(self, name: str, targets: Iterable[str]) -> None:
        """
        Add a local part, or more targets to one.
        """
        known = self._parts.get(name)
        if known is None:
            self.put_part(name, _merged(name, targets))
        else:
            _repeat(self._repeated_parts, name, known, targets)

    def transport(self, address: str, hop: str) -> None:
        """
        Say where mail for an address goes.
        """
        targets, _, named = self._entries.get(address, NOTHING)
        self.put(address, (targets, hop, named))

    def put(self, address: str, entry: Declared) -> None:
        """
        Add an address with all that is said of it.
        """
        self._entries.put(address, self._share(entry))

    def put_usual(self, addresses: Iterable[str]) -> None:
        """
        Add many addresses of which the usual is said, and nothing was said before.
        """
        self._entries.put_usual(addresses)

    def put_part(self, name: str, targets: Targets) -> None:
        """
        Add a local part, its targets as in ``AliasList.parts``.
        """
        self._parts.put(name, targets)

    def build(self, domains: frozenset[str], whole: bool) -> AliasList:
        """
        Return the list; nothing may be added any more.

        Args:
            whole: See ``AliasList``.
        """
        for address, targets in self._repeated.items():
            _, hop, named = self._entries.get(address)
            self.put(address, (_merged(address, targets), hop, named))
        for name, targets in self._repeated_parts.items():
            self.put_part(name, _merged(name, targets))
        if whole:
            self._count_targets()
        entries = self._entries.build()
        aliases = entries.count(lambda entry: entry[0] is not None)
        return AliasList.of(entries, self._parts.build(), domains, whole, aliases)

    def _count_targets(self) -> None:
        counts = ShardedBuilder[int](1)
        lists = (entry[0] for _, entry in self._entries.unusual())
        parts = (targets for _, targets in self._parts.unusual())
        for targets in itertools.chain(lists, parts):
            for target in named_by(targets):
                counts.put(target, counts.get(target, 0) + 1)
        for target, count in counts.build().items():
            known, hop, _ = self._entries.get(target, NOTHING)
            self.put(target, (known, hop, count))

    def _share(self, entry: Declared) -> Declared:
        shared = self._shared.get(entry)
        if shared is None:
            shared = entry
            if len(self._shared) < MAX_SHARED:
                self._shared[entry] = entry
        return shared


def named_by(targets: Targets | None) -> Iterator[str]:
    """
    Yield the full addresses among the targets of an entry, as they are kept.
    """
    return (target for target in targets or () if "@" in target)


def own_or(name: str, targets: Targets) -> Targets:
    """
    Return targets as they are kept: ``OWN_TARGET`` for the name itself.
    """
    return OWN_TARGET if targets == (name,) else targets


def _merged(name: str, targets: Iterable[str]) -> Targets:
    if targets == (name,):  # as most are
        return OWN_TARGET
    return own_or(name, tuple(dict.fromkeys(targets)))


def _repeat(
    repeated: dict[str, dict[str, None]], name: str, known: Targets, more: Iterable[str]
) -> None:
    """
    Note more targets of a name, without going through those known again.
    """
    if name not in repeated:
        repeated[name] = dict.fromkeys(known or (name,))
    repeated[name].update(dict.fromkeys(more))


def _targets_of(address: str, entry: Declared) -> Targets | None:
    targets = entry[0]
    return (address,) if targets == OWN_TARGET else targets
