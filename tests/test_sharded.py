"""
Tests for mailer.sharded.
"""

from hypothesis import given
from hypothesis import strategies as st

from mailer.sharded import Sharded

NAMES = st.text("abc", max_size=2)
CONTENTS = st.dictionaries(NAMES, st.integers(0, 3))
CHANGES = st.dictionaries(NAMES, st.none() | st.integers(0, 3))


@given(CONTENTS)
def test_it_holds_what_it_is_made_of(content):
    """
    It is a mapping like any other.
    """
    sharded = Sharded.of(content)
    assert content == sharded
    assert content == dict(sharded.items()) == {key: sharded[key] for key in sharded}
    assert len(content) == len(sharded)
    assert ("a" in content, content.get("a")) == ("a" in sharded, sharded.get("a"))
    assert repr(sharded) == repr(dict(sharded))


@given(CONTENTS, CHANGES, st.booleans())
def test_changed(content, changes, sharded):
    """
    Changes put entries in and take them away; what was there before stays as it was.
    """
    before = Sharded.of(content)
    after = before.changed(Sharded.of(changes) if sharded else changes)
    expected = {**content, **changes}
    assert {key: value for key, value in expected.items() if value is not None} == after
    assert content == before


@given(CONTENTS, CONTENTS)
def test_changes_lead_from_one_to_the_other(one, two):
    """
    The changes between two are what differs, and make the second of the first.
    """
    before, after = Sharded.of(one), Sharded.of(two)
    changes = before.changes_to(after)
    assert after == before.changed(changes)
    assert all(one.get(key) != value for key, value in changes.items())
    assert (before == after) == (not changes)


def test_entries_lie_everywhere_alike():
    """
    No part is so large that a change of it would take long.
    """
    sharded = Sharded.of({f"alias-{number}@example.com": number for number in range(100_000)})
    sizes = [len(shard) for shard in sharded._shards]
    assert max(sizes) < 2 * min(sizes)


def test_what_is_the_same_is_shared():
    """
    A change makes anew only the part that it touches.
    """
    before = Sharded.of({str(number): number for number in range(10_000)})
    after = before.changed({"7": None})
    assert 1 == sum(a is not b for a, b in zip(before._shards, after._shards, strict=True))


def test_what_lies_beside_a_key():
    """
    It is the part that has the key, and all parts in turn are everything.
    """
    content = {str(number): number for number in range(1000)}
    sharded = Sharded.of(content)
    beside = dict(sharded.beside(["7"]))
    assert "7" in beside
    assert len(beside) < 100
    assert content == dict(sharded.beside(content))


def test_a_released_one_leaves_its_twin_alone():
    """
    Nothing is left of the one, and everything of the other.
    """
    content = {str(number): number for number in range(1000)}
    sharded = Sharded.of(content)
    twin = sharded.twin()
    sharded.release()
    assert 0 == len(sharded)
    assert content == twin
