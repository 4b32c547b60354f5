"""
One list after another: what was lost, what is remembered of it, whether it is too much.

Where both lists are whole, all of this costs what has changed, and not what there is.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from mailer.alias_table import Removed, ServerList
from mailer.declared import OWN_NEXTHOP, AliasList, Changes
from mailer.sharded import Sharded, ShardedBuilder

_NEVER = Removed(float("-inf"), "")


@dataclass(frozen=True, slots=True)
class Succession:
    """
    What becomes of a server's list by some changes.

    Args:
        before: The list in force.
        declared: What it declares afterwards.
        own: The daemon's own domains for this server's local parts.
        lost: Full addresses that were deliverable and are no longer, with their next hop.
        dropped: How many names are gone.
    """

    before: AliasList
    changes: Changes
    declared: AliasList
    own: frozenset[str]
    lost: Sharded[str]
    dropped: int

    @classmethod
    def of(cls, before: AliasList, changes: Changes, own: frozenset[str]) -> "Succession":
        """
        Return what becomes of a list.
        """
        declared = before.changed(changes)
        lost = _lost(before, changes, declared, own)
        entries = itertools.chain(changes.entries.items(), changes.parts.items())
        dropped = sum(value is None for _, value in entries)
        return cls(before, changes, declared, own, lost, dropped)

    @property
    def added(self) -> int:
        """How many names are new."""
        return len(self.declared) - len(self.before) + self.dropped

    def dropped_share(self, tolerated: float = 0.0) -> float:
        """
        Return the part of the old list that the new one lacks, 0 to 1; 0 if there was none.

        What is declared counts, and what of it is for us to deliver: an address
        that is still an alias but has lost its next hop would bounce.

        Args:
            tolerated: A share up to which it need not be exact.
        """
        before = self.before
        share = self.dropped / len(before) if before else 0.0
        if not self.lost:
            return share
        domains = before.domains | self.own
        # There are at least as many that are deliverable.
        least = max(len(before.entries), len(before.parts) * len(domains)) if before.whole else 0
        if not least or len(self.lost) / least > tolerated:
            least = sum(1 for _ in deliverable(before, self.own))
        return max(share, len(self.lost) / least)

    def is_emptied(self) -> bool:
        """
        Say whether nothing is left where there was something, see ``dropped_share``.
        """
        old, new = self.before, self.declared
        had, has = (any(True for _ in deliverable(one, self.own)) for one in (old, new))
        return bool(old and not new) or (had and not has)

    def removed(
        self, known: Mapping[str, Removed], now: float, grace: float
    ) -> Sharded[Removed | None]:
        """
        Return how what is remembered of removed addresses changes.

        Args:
            known: What is remembered up to now.
            now: Seconds, Unix time.
            grace: Seconds for which a removed address is remembered.
        """
        changes = ShardedBuilder[Removed | None](Removed(now, OWN_NEXTHOP))
        made = cache(lambda nexthop: Removed(now, nexthop))  # one for all of them
        for address, nexthop in self.lost.items():
            if now - known.get(address, _NEVER).at >= grace:
                changes.put(address, made(nexthop))
        for address, gone in self._beside(known):
            is_kept = now - gone.at < grace and self.declared.hop_at(address, self.own) is None
            if not is_kept and changes.get(address) is None:
                changes.put(address, None)
        return changes.build()

    def _beside(self, known: Mapping[str, Removed]) -> Iterable[tuple[str, Removed]]:
        """
        Return the removed addresses that are to be looked at: all, or what lies near the changes.

        So everything is looked at in time, and never all of it because of one address.
        """
        is_all = self.changes.parts or self.changes.domains is not None
        if not (self.before.whole and self.declared.whole) or is_all or not known:
            return known.items()
        return Sharded.of(known).beside(self.changes.entries)


def deliverable(declared: AliasList, own: frozenset[str]) -> Iterator[tuple[str, str]]:
    """
    Yield every full address whose mail goes to Odoo, once, and its next hop.

    Args:
        own: The daemon's own domains for the local parts.
    """
    for address, entry in declared.entries.items():
        hop = declared.hop_of(entry)
        if hop is not None:
            yield address, hop
    yield from _by_local_part(declared, declared.parts, declared.domains | own)


def succeed(
    before: ServerList,
    succession: Succession,
    removed: Mapping[str, Removed | None],
    now: float,
) -> ServerList:
    """
    Return the list of a server as it is after all that.

    Args:
        removed: What ``Succession.removed`` returned.
        now: Seconds, Unix time.
    """
    kept = Sharded.of(before.removed).changed(removed) if removed else before.removed
    declared = succession.declared
    return dataclasses.replace(
        before, declared=declared, removed=kept, loaded_at=now, count=len(declared)
    )


def twin(before: ServerList) -> ServerList:
    """
    Return another that shares everything, see ``Sharded.twin``.
    """
    declared = None if before.declared is None else before.declared.twin()
    return dataclasses.replace(before, declared=declared, removed=Sharded.of(before.removed).twin())


def release(before: ServerList, successor: ServerList) -> None:
    """
    Let go of a list slowly, but for what its successor shares, see ``Sharded.release``.
    """
    if before.declared is not None:
        before.declared.release(successor.declared)
    Sharded.of(before.removed).release(Sharded.of(successor.removed))


def touched(succession: Succession) -> Iterator[str] | None:
    """
    Return the full addresses of which a server may say something else now; None for any.
    """
    changes, domains = succession.changes, succession.before.domains | succession.own
    if changes.domains is not None:
        return None
    parts = (f"{part}@{domain}" for part in changes.parts for domain in domains)
    return (address for several in (changes.entries, parts) for address in several)


def _by_local_part(
    declared: AliasList, parts: Iterable[str], domains: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """
    Yield the full addresses that local parts make deliverable, and their next hops.
    """
    domains = tuple(domains)
    for part in parts:
        targets = declared.parts.get(part)
        hop = None if targets is None else declared.hop_of_part(targets)
        if hop is None:
            continue
        for domain in domains:
            address = f"{part}@{domain}"
            if address not in declared.entries:
                yield address, hop


def _lost(
    before: AliasList, changes: Changes, declared: AliasList, own: frozenset[str]
) -> Sharded[str]:
    if before.whole and declared.whole:
        candidates = _candidates(before, changes, own)
    else:
        candidates = deliverable(before, own)
    lost = ((address, hop) for address, hop in candidates if declared.hop_at(address, own) is None)
    return Sharded.of(lost, OWN_NEXTHOP)


def _candidates(
    before: AliasList, changes: Changes, own: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """
    Yield what may be lost of a whole list: all that is taken away of it.
    """
    for address, entry in changes.entries.items():
        hop = before.hop_at(address, own) if entry is None else None
        if hop is not None:
            yield address, hop
    domains = before.domains | own
    yield from _by_local_part(before, changes.parts, domains)
    if changes.domains is not None:
        yield from _by_local_part(before, before.parts, domains - changes.domains - own)
