"""
Tests for mailer.sharded.
"""

import gc
import sys

from hypothesis import given
from hypothesis import strategies as st

from mailer.sharded import Sharded, ShardedBuilder

NAMES = st.text("abc", max_size=2)
VALUES = st.integers(0, 3)
CONTENTS = st.dictionaries(NAMES, VALUES)
CHANGES = st.dictionaries(NAMES, st.none() | VALUES)
USUAL = st.none() | VALUES
MANY = {f"alias-{number}@example.com": number % 10 for number in range(10_000)}


@given(CONTENTS, USUAL)
def test_it_holds_what_it_is_made_of(content, usual):
    """
    It is a mapping like any other.
    """
    sharded = Sharded.of(content, usual)
    assert content == sharded
    assert content == dict(sharded.items()) == {key: sharded[key] for key in sharded}
    assert len(content) == len(sharded)
    assert ("a" in content, content.get("a")) == ("a" in sharded, sharded.get("a"))
    assert repr(sharded) == repr(dict(sharded))
    assert {key: value for key, value in content.items() if value != usual} == dict(
        sharded.unusual()
    )
    assert list(content.values()).count(2) == sharded.count(lambda value: value == 2)


@given(st.lists(st.tuples(NAMES, VALUES)), st.sets(NAMES), USUAL)
def test_the_last_value_of_a_key_counts(pairs, first, usual):
    """
    Whatever a key was put with before, and were it with many others.
    """
    builder = ShardedBuilder(usual)
    builder.put_usual(first)
    for key, value in pairs:
        builder.put(key, value)
    expected = dict.fromkeys(first, usual) | dict(pairs)
    assert expected == dict(builder.build().items())
    assert len(expected) == len(builder.build())


@given(CONTENTS, USUAL, CONTENTS, USUAL)
def test_which_value_is_usual_is_nobodys_business(one, usual_of_one, two, usual_of_two):
    """
    It makes no difference but in cost.
    """
    first, second = Sharded.of(one, usual_of_one), Sharded.of(two, usual_of_two)
    assert (one == two) == (first == second)
    assert one == first.with_usual(usual_of_two)
    assert usual_of_two == first.with_usual(usual_of_two).usual


@given(CONTENTS, CHANGES, st.booleans(), USUAL, USUAL)
def test_changed(content, changes, sharded, usual, usual_change):
    """
    Changes put entries in and take them away; what was there before stays as it was.
    """
    before = Sharded.of(content, usual)
    after = before.changed(Sharded.of(changes, usual_change) if sharded else changes)
    expected = {key: value for key, value in {**content, **changes}.items() if value is not None}
    assert expected == after
    assert after == Sharded.of(expected, usual)
    assert len(expected) == len(after)
    assert content == before


@given(CONTENTS, USUAL, CONTENTS, USUAL)
def test_changes_lead_from_one_to_the_other(one, usual_of_one, two, usual_of_two):
    """
    The changes between two are what differs, and make the second of the first.
    """
    before, after = Sharded.of(one, usual_of_one), Sharded.of(two, usual_of_two)
    changes = before.changes_to(after)
    assert after == before.changed(changes)
    assert all(one.get(key) != value for key, value in changes.items())
    assert (before == after) == (not changes)


def test_entries_lie_everywhere_alike():
    """
    No part is so large that a change of it would take long.
    """
    sharded = Sharded.of({f"alias-{number}@example.com": number for number in range(100_000)})
    sizes = [len(shard) for shard in sharded._others]
    assert max(sizes) < 2 * min(sizes)


def test_what_is_the_same_is_shared():
    """
    A change makes anew only the part that it touches.
    """
    before = Sharded.of(MANY, 7)
    for changes in ({"alias-7@example.com": None}, {"alias-8@example.com": None}):
        after = before.changed(changes)
        pairs = zip(before._names, after._names, strict=True)
        assert 1 == sum(a is not b for a, b in pairs)
        pairs = zip(before._others, after._others, strict=True)
        assert 1 == sum(a is not b for a, b in pairs)


def test_nothing_is_looked_through_for_garbage():
    """
    However a mapping was made: a million texts would take long, and hold up all else.
    """
    few = dict(list(MANY.items())[::3])
    made, other = Sharded.of(MANY, 7), Sharded.of(few, 7)
    changed = made.changed({"alias-7@example.com": None, "alias-8@example.com": 7})
    for each in (made, changed, made.with_usual(8), other.changes_to(made), made.twin()):
        names = [some for some in each._names if some]
        assert names
        assert not any(map(gc.is_tracked, (*names, *each._others)))


def test_values_are_not_looked_through_either():
    """
    Nor what is still being put together: tuples of texts would have their dicts looked through.
    """
    builder = ShardedBuilder(None)
    values = [(f"target-{number}@example.com",) for number in range(1000)]
    for number, value in enumerate(values):
        builder.put(f"alias-{number}@example.com", value)
    assert not any(map(gc.is_tracked, (*values, *builder._others)))
    made = builder.build().changed({"alias-1@example.com": ("other@example.com",)})
    assert not any(map(gc.is_tracked, made._others))


def test_what_is_left_of_much_that_was_put_in_is_compact():
    """
    A set that was enlarged for what came before others went would stay as large for good.
    """
    before = Sharded.of(dict.fromkeys(MANY, 7), 7)
    changes = {**dict.fromkeys(MANY), **{f"new-{name}": 7 for name in MANY}}
    after = before.changed(changes)
    assert len(before) == len(after)
    sizes = [sum(map(sys.getsizeof, each._names)) for each in (before, after)]
    assert sizes[1] < 1.5 * sizes[0]


def test_what_an_heir_shares_is_not_looked_through():
    """
    What is let go of costs what has changed; what is shared stays.
    """
    before = Sharded.of(MANY, 7)
    heir = before.changed({"alias-7@example.com": None})
    looked: list[object] = []

    class Noted(set):
        def __iter__(self):
            looked.append(self)
            return super().__iter__()

    retired = before.twin()
    retired._names = [Noted(some) if some not in heir._names else some for some in retired._names]
    expected = dict(heir.items())
    retired.release(heir)
    assert 0 == len(retired)
    assert expected == heir
    assert 1 == len(looked)


def test_what_lies_beside_a_key():
    """
    It is the part that has the key, and all parts in turn are everything.
    """
    content = {str(number): number for number in range(1000)}
    sharded = Sharded.of(content, 7)
    beside = dict(sharded.beside(["7"]))
    assert "7" in beside
    assert len(beside) < 100
    assert content == dict(sharded.beside(content))


def test_a_released_one_leaves_its_twin_alone():
    """
    Nothing is left of the one, and everything of the other.
    """
    content = {str(number): number for number in range(1000)}
    sharded = Sharded.of(content, 7)
    twin = sharded.twin()
    sharded.release()
    assert 0 == len(sharded)
    assert content == twin


def test_released_changes_leave_what_they_made_alone():
    """
    Also the first list, which is nothing but its changes.
    """
    content = {str(number): number % 10 for number in range(1000)}
    for before in (Sharded.of({}, 7), Sharded.of({"7": 7, "8": 9}, 7)):
        changes = before.changes_to(Sharded.of(content, 7))
        after = before.changed(changes)
        changes.release()
        assert content == after
