"""
A mapping of very many texts that is never changed, and yet cheaply changed.

Most of its keys have one and the same value, and lie in sets: a look-up among a million
then reads half of the memory that it would in a dict. All others lie in dicts. There are
many of both. One mapping that differs from another shares with it all in which they agree,
so that a change costs what it changes and not what there is; and nothing that is done with
a set, such as enlarging or freeing it, is ever done with a million entries at once, while
every other thread has to wait.
"""

import functools
import gc
import operator
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Generic, TypeVar

T = TypeVar("T")
V = TypeVar("V")

SHARDS = 251  # a prime: by the lowest bits of its hash an entry finds its place in its set

_NO_NAMES: set[str] = set()
_NO_OTHERS: dict[str, Any] = {}


class _Shards(Generic[V]):
    """
    The keys, each in the shard that its hash says.

    Attributes:
        usual: The value of all names.
    """

    __slots__ = ("_names", "_others", "usual")

    usual: V
    _names: list[set[str]]
    _others: list[dict[str, V]]

    def get(self, key: str, default: Any = None) -> Any:
        place = hash(key) % SHARDS
        if key in self._names[place]:
            return self.usual
        return self._others[place].get(key, default)

    def unusual(self) -> Iterator[tuple[str, V]]:
        """
        Yield the entries of another value than the usual one.
        """
        for others in self._others:
            yield from others.items()


class Sharded(_Shards[V], Mapping[str, V]):
    """
    Args:
        usual: The value that most keys have; as any other, it leads back to no mapping.
        names: As many as ``SHARDS``, the keys of this value; nobody changes them any more.
        others: As many, the entries of any other value; nobody changes them any more.
    """

    __slots__ = ("_len",)

    def __init__(self, usual: V, names: list[set[str]], others: list[dict[str, V]]) -> None:
        self.usual = usual
        self._names = [some or _NO_NAMES for some in names]
        self._others = [_untracked(some) if some else _NO_OTHERS for some in others]
        self._len = sum(map(len, self._names)) + sum(map(len, self._others))

    @classmethod
    def of(
        cls, content: "Mapping[str, V] | Iterable[tuple[str, V]]", usual: Any = None
    ) -> "Sharded[V]":
        """
        Return what holds the same as a mapping, or as pairs of which the last counts.
        """
        if isinstance(content, Sharded):
            return content
        builder = ShardedBuilder[V](usual)
        for key, value in content.items() if isinstance(content, Mapping) else content:
            builder.put(key, value)
        return builder.build()

    def __getitem__(self, key: str) -> V:
        place = hash(key) % SHARDS
        return self.usual if key in self._names[place] else self._others[place][key]

    def __contains__(self, key: object) -> bool:
        return self._has(hash(key) % SHARDS, key)

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[str]:
        for names, others in zip(self._names, self._others, strict=True):
            yield from names
            yield from others

    def items(self) -> ItemsView[str, V]:
        return _Items(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sharded) or other.usual != self.usual:
            return super().__eq__(other)
        pairs = ((self._names, other._names), (self._others, other._others))
        return self._len == other._len and all(
            all(map(operator.eq, mine, its)) for mine, its in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def beside(self, keys: Iterable[str]) -> Iterator[tuple[str, V]]:
        """
        Yield whatever lies in the same shards as these keys.
        """
        for place in {hash(key) % SHARDS for key in keys}:
            yield from self._pairs(place)

    def count(self, fits: Callable[[V], bool]) -> int:
        """
        Return how many entries have a value of some kind.
        """
        usual = sum(map(len, self._names)) if fits(self.usual) else 0
        return usual + sum(fits(value) for _, value in self.unusual())

    def with_usual(self, usual: V) -> "Sharded[V]":
        """
        Return what holds the same, and where most keys have this value.
        """
        return self if usual == self.usual else Sharded.of(self.items(), usual)

    def changed(self, changes: "Mapping[str, V | None]") -> "Sharded[V]":
        """
        Return what it is after some changes; None takes an entry away.
        """
        if not self and isinstance(changes, Sharded) and not changes.count(_is_none):
            return changes.with_usual(self.usual).twin()
        names, others = self._names.copy(), self._others.copy()
        for place, some in _by_shard(changes):
            names[place], others[place] = self._changed_shard(place, some)
        return Sharded(self.usual, names, others)

    def changes_to(self, other: "Sharded[V]") -> "Sharded[V | None]":
        """
        Return the changes that make this one equal to the other.
        """
        mine = self.with_usual(other.usual)
        names, others = [], []
        for place in range(SHARDS):
            added, changes = mine._shard_changes(place, other)
            names.append(added)
            others.append(changes)
        return Sharded(other.usual, names, others)

    def release(self, heir: "Sharded[V] | None" = None) -> None:
        """
        Let go of everything, a little at a time; nobody may use it any more.

        Args:
            heir: What it shares with this one is not looked through: it stays.
        """
        names, others = ((), ()) if heir is None else (heir._names, heir._others)
        kept = {id(shard) for shard in (*names, *others)}
        while self._names:
            # One by one: with the last of its texts all of the list's memory is given back, and in
            # one step of C that would hold up all other threads.
            usual, unusual = self._names.pop(), self._others.pop()
            mine: list[Any] = [] if id(usual) in kept else list(usual)
            if id(unusual) not in kept:
                mine += unusual.items()
            del usual, unusual
            while mine:
                mine.pop()
        self._len = 0

    def twin(self) -> "Sharded[V]":
        """
        Return another that holds the same sets: whoever releases it last, frees them.
        """
        return Sharded(self.usual, self._names, self._others)

    def _has(self, place: int, key: object) -> bool:
        return key in self._names[place] or key in self._others[place]

    def _pairs(self, place: int) -> Iterator[tuple[str, V]]:
        """
        Return the entries of one shard.
        """
        return chain(zip(self._names[place], repeat(self.usual)), self._others[place].items())

    def _changed_shard(
        self, place: int, changes: dict[str, V | None]
    ) -> tuple[set[str], dict[str, V]]:
        names, others = set(self._names[place]), self._others[place].copy()
        for key, value in changes.items():
            names.discard(key)
            others.pop(key, None)
            if value is None:
                continue
            if value == self.usual:
                names.add(key)
            else:
                others[key] = value
        # A copy takes half the memory, or a quarter, of a set that much was put into.
        return _untracked(set(names)), others

    def _shard_changes(
        self, place: int, other: "Sharded[V]"
    ) -> tuple[set[str], dict[str, V | None]]:
        """
        Return the names to be added, and all other changes.

        Args:
            other: Of the same usual value.
        """
        before, names = self._names[place], other._names[place]
        mine, its = self._others[place], other._others[place]
        if names is before and its is mine:
            return _NO_NAMES, {}
        # Python's own difference of two sets would hold up all other threads until it is done.
        added = {name for name in names if name not in before} if before else names
        changes: dict[str, V | None] = {}
        changes.update((key, value) for key, value in its.items() if mine.get(key) != value)
        if len(before) + len(added) != len(names):  # else none of them is missing
            changes.update((name, None) for name in before if not other._has(place, name))
        changes.update((key, None) for key in mine if not other._has(place, key))
        return _untracked(added), changes


class _Items(ItemsView[str, V]):
    """
    The entries, without a look-up of each.
    """

    _mapping: Sharded[V]

    def __iter__(self) -> Iterator[tuple[str, V]]:
        for place in range(SHARDS):
            yield from self._mapping._pairs(place)


class ShardedBuilder(_Shards[V]):
    """
    Collects the entries of a ``Sharded``; of those of one key the last counts.

    Args:
        usual: See ``Sharded``.
    """

    __slots__ = ()

    def __init__(self, usual: V) -> None:
        self.usual = usual
        self._names = [_untracked(set()) for _ in range(SHARDS)]
        self._others = [{} for _ in range(SHARDS)]

    def put(self, key: str, value: V) -> None:
        """
        Give a key its value.
        """
        place = hash(key) % SHARDS
        names, others = self._names[place], self._others[place]
        if value == self.usual:
            names.add(key)
            if others:
                others.pop(key, None)
        else:
            names.discard(key)
            others[key] = _untracked(value)  # else the dict would be tracked, too

    def put_usual(self, keys: Iterable[str]) -> None:
        """
        Give many keys, none of which has a value yet, the usual one.
        """
        names = self._names
        for key in keys:
            names[hash(key) % SHARDS].add(key)

    def build(self) -> Sharded[V]:
        """
        Return the mapping; nothing may be put any more.
        """
        return Sharded(self.usual, self._names, self._others)


class View(Mapping[str, V]):
    """
    A part of what is said of each name; names of which it says nothing are not in it.
    """

    def __init__(self, content: Sharded[Any], read: Callable[[str, Any], V | None]) -> None:
        self._content = content
        self._read = read

    def __getitem__(self, name: str) -> V:
        found = self._content.get(name)
        value = None if found is None else self._read(name, found)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        read = self._read
        return (name for name, found in self._content.items() if read(name, found) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _untracked(value: T) -> T:
    """
    Return a set, dict, tuple or other value that is not looked through whenever Python looks for
    garbage, which takes 50 ms for a million texts. There is nothing to find: it is in no cycle.
    """
    if gc.is_tracked(value):
        _untrack()(value)
    return value


@functools.cache
def _untrack() -> Callable[[Any], None]:
    try:
        import ctypes  # late: ``pipe`` does without
    except ImportError:  # Python was built without; all of it is looked through
        return lambda _: None
    untrack = ctypes.pythonapi.PyObject_GC_UnTrack
    untrack.argtypes, untrack.restype = (ctypes.py_object,), None
    return untrack


def _is_none(value: object) -> bool:
    return value is None


def _by_shard(changes: Mapping[str, V | None]) -> Iterator[tuple[int, dict[str, V | None]]]:
    """
    Yield the changes of each shard that has any.
    """
    if isinstance(changes, Sharded):
        shards = ((place, dict(changes._pairs(place))) for place in range(SHARDS))
        yield from ((place, some) for place, some in shards if some)
        return
    found: dict[int, dict[str, V | None]] = {}
    for key, value in changes.items():
        found.setdefault(hash(key) % SHARDS, {})[key] = value
    yield from found.items()
