"""
A mapping of very many texts that is never changed, and yet cheaply changed.

It lies in 251 dicts. One that differs from another shares with it every dict
in which they agree, so that a change costs what it changes and not what there
is; and nothing that is done with a dict, such as enlarging or freeing it, is
ever done with a million entries at once, while every other thread has to wait.
"""

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

V = TypeVar("V")

SHARDS = 251  # a prime: by the lowest bits of its hash an entry finds its place in its dict
_EMPTY: dict[str, Any] = {}


def new_shards() -> list[dict[str, Any]]:
    """
    Return the dicts for a new ``Sharded``, to be filled with ``shard_of``.
    """
    return [{} for _ in range(SHARDS)]


def shard_of(key: str) -> int:
    """
    Return the number of the dict in which a key lies.
    """
    return hash(key) % SHARDS


class Sharded(Mapping[str, V]):
    """
    Args:
        shards: As many as ``SHARDS``, each key where ``shard_of`` says; nobody changes them
            any more.
    """

    __slots__ = ("_len", "_shards")

    def __init__(self, shards: list[dict[str, V]]) -> None:
        self._shards = [shard or _EMPTY for shard in shards]
        self._len = sum(map(len, self._shards))

    @classmethod
    def of(cls, content: "Mapping[str, V] | Iterable[tuple[str, V]]") -> "Sharded[V]":
        """
        Return what holds the same as a mapping, or as pairs of which the last counts.
        """
        if isinstance(content, Sharded):
            return content
        shards = new_shards()
        for key, value in content.items() if isinstance(content, Mapping) else content:
            shards[hash(key) % SHARDS][key] = value
        return cls(shards)

    def __getitem__(self, key: str) -> V:
        return self._shards[hash(key) % SHARDS][key]

    def get(self, key: str, default: Any = None) -> Any:
        return self._shards[hash(key) % SHARDS].get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._shards[hash(key) % SHARDS]

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[str]:
        for shard in self._shards:
            yield from shard

    def items(self) -> ItemsView[str, V]:
        return _Items(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sharded):
            pairs = zip(self._shards, other._shards, strict=True)
            return self._len == other._len and all(mine == its for mine, its in pairs)
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def beside(self, keys: Iterable[str]) -> Iterator[tuple[str, V]]:
        """
        Yield whatever lies in the same dicts as these keys.
        """
        for place in {shard_of(key) for key in keys}:
            yield from self._shards[place].items()

    def changed(self, changes: "Mapping[str, V | None]") -> "Sharded[V]":
        """
        Return what it is after some changes; None takes an entry away.
        """
        shards = self._shards.copy()
        for place, some in _by_shard(changes):
            if not shards[place] and None not in some.values():
                shards[place] = cast("dict[str, V]", some)
                continue
            shard = shards[place] = shards[place].copy()
            for key, value in some.items():
                if value is None:
                    shard.pop(key, None)
                else:
                    shard[key] = value
        return Sharded(shards)

    def changes_to(self, other: "Sharded[V]") -> "Sharded[V | None]":
        """
        Return the changes that make this one equal to the other.
        """
        pairs = zip(self._shards, other._shards, strict=True)
        return Sharded([_difference(mine, its) for mine, its in pairs])

    def release(self) -> None:
        """
        Let go of everything, a little at a time; nobody may use it any more.
        """
        shards = self._shards
        while shards:
            shards.pop()
        self._len = 0

    def twin(self) -> "Sharded[V]":
        """
        Return another that holds the same dicts: whoever releases it last, frees them.
        """
        return Sharded(self._shards)


class _Items(ItemsView[str, V]):
    """
    The entries, without a look-up of each.
    """

    _mapping: Sharded[V]

    def __iter__(self) -> Iterator[tuple[str, V]]:
        for shard in self._mapping._shards:
            yield from shard.items()


def _by_shard(changes: Mapping[str, V | None]) -> Iterator[tuple[int, dict[str, V | None]]]:
    """
    Yield the changes of each shard that has any.
    """
    if isinstance(changes, Sharded):
        yield from ((place, some) for place, some in enumerate(changes._shards) if some)
        return
    found: dict[int, dict[str, V | None]] = {}
    for key, value in changes.items():
        found.setdefault(shard_of(key), {})[key] = value
    yield from found.items()


def _difference(before: dict[str, V], after: dict[str, V]) -> dict[str, V | None]:
    if before is after or before == after:
        return {}
    if not before:
        return cast("dict[str, V | None]", after)
    changes: dict[str, V | None] = {
        key: value for key, value in after.items() if before.get(key) != value
    }
    changes.update((key, None) for key in before if key not in after)
    return changes


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
