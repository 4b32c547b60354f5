"""
Tests for logic.list_version.
"""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logic.list_version import (
    HASHES,
    MAX_SNAPSHOT,
    Change,
    Version,
    make_patch,
    parse_etag,
    wants_patch,
)
from mailer.alias_list import parse_aliases

FACTS = "0123456789abcdef"
KEYS = st.sampled_from(
    ["a@x", "b@x", "c@x", "#a", "#b", "own@x", "two words@x", "bare", "#no part", "#a@x", "#"]
)
NUMBERS = st.integers(1, 10**17)


@st.composite
def snapshots(draw):
    """
    A txid_snapshot as PostgreSQL writes one.
    """
    running = sorted(draw(st.sets(NUMBERS, max_size=5)))
    low = running[0] if running else draw(NUMBERS)
    high = draw(st.integers(max([low, *(n + 1 for n in running)]), 10**18 - 1))
    return f"{low}:{high}:{','.join(map(str, running))}"


VERSIONS = st.builds(
    Version,
    st.just(FACTS),
    st.integers(0, 10**9),
    st.integers(0, HASHES - 1),
    st.just("") | snapshots(),
    st.integers(0, 10**9),
)


def hash_of(key):
    """
    Return 64 bits that stand for a key, with a sign as PostgreSQL's have.
    """
    return hash(("key", key)) % HASHES - HASHES // 2


def version(rows, members=0, facts=FACTS):
    """
    Return the version of a list in which each key has so many aliases.
    """
    hashes = sum(hash_of(key) * count for key, count in rows.items())
    return Version(facts, sum(rows.values()), hashes % HASHES, "1:1:", members)


def document(rows):
    """
    Return the page of a list, as far as aliases make it, and the address that every list has.
    """
    listed = {key for key, count in rows.items() if count}
    aliases = {key: [key] for key in listed & {"a@x", "b@x", "c@x"}} | {"own@x": ["own@x"]}
    parts = {key[1:]: [key[1:]] for key in listed & {"#a", "#b"}}
    return {
        "aliases": aliases,
        "local_parts": parts,
        "version": version(rows).content,
        "count": len(aliases) + len(parts),
    }


def changes_between(then, now):
    """
    Return the changes of keys, those that were undone too.
    """
    rows = {key: now[key] - then[key] for key in {*then, *now}}
    return [Change(key, count, hash_of(key) * count) for key, count in rows.items()]


ROWS = st.dictionaries(KEYS, st.integers(0, 2)).map(Counter)


@given(ROWS, ROWS)
def test_a_patch_makes_the_present_page(fakes, then, now):
    """
    Whatever came and went, the patch makes the one page of the other, count and version too.
    """
    before = document(then)
    changes = changes_between(then, now)
    patch = make_patch(
        version(then, before["count"]), version(now), changes, now, ["own@x", "other@x"]
    )

    if any(change.key == "own@x" for change in changes):
        assert patch is None
    else:
        assert document(now) == fakes.patched(before, json.loads(patch.body))
        assert patch.base == version(then, before["count"]).etag("json")
        assert patch.etag == version(now, document(now)["count"]).etag("json")
        parse_aliases(json.dumps(fakes.patched(before, json.loads(patch.body))).encode())


@given(ROWS, ROWS, st.data())
def test_no_patch_from_changes_that_are_not_all(then, now, data):
    """
    A change that is missing, or one too many, is found.
    """
    changes = [change for change in changes_between(then, now) if change.rows]
    wrong = list(changes)
    if changes and data.draw(st.booleans()):
        wrong.remove(data.draw(st.sampled_from(changes)))
    else:
        wrong.append(Change("d@x", 1, hash_of("d@x")))

    assert make_patch(version(then, 9), version(now), wrong, now, []) is None


def test_no_patch_where_the_facts_differ():
    """
    What is not an alias is in no change.
    """
    then, now = Counter(), Counter({"a@x": 1})
    changes = changes_between(then, now)

    assert make_patch(version(then, 1, "0" * 16), version(now), changes, now, []) is None


def test_no_patch_where_more_went_than_there_was():
    """
    Changes that cannot be are no patch, though their sums fit.
    """
    then, now = Counter({"a@x": 1}), Counter({"b@x": 1})
    changes = changes_between(then, now)

    assert make_patch(version(then, 1), version(now), changes, Counter(), []) is None


@given(VERSIONS)
def test_an_etag_is_read_back(one):
    """
    What a version says is in its ETag, which any header field holds.
    """
    etag = one.etag("json")

    assert one == parse_etag(etag, "json")
    assert etag.isascii()
    assert not {*' ",;:\\'} & {*etag}
    assert parse_etag(etag, "text") is None
    assert replace(one, snapshot="", members=0) == parse_etag(one.etag("text"), "text")


@given(VERSIONS, VERSIONS)
def test_the_content_tells_lists_apart(one, other):
    """
    The same list has the same content, whatever the snapshot.
    """
    same = (one.rows, one.hashes) == (other.rows, other.hashes)

    assert same == (one.content == other.content)
    assert one.content == replace(one, snapshot="5:5:", members=3).content


def test_a_long_snapshot_is_left_out():
    """
    With hundreds of transactions under way the next answer is a whole page, no long header.
    """
    running = ",".join(str(n) for n in range(10**6, 10**6 + 300))
    one = Version(FACTS, 1, 1, f"{10**6}:{10**6 + 300}:{running}", 1)

    assert len(one.snapshot) > MAX_SNAPSHOT
    assert replace(one, snapshot="") == parse_etag(one.etag("json"), "json")


@given(st.text() | st.from_regex(r"[0-9a-f]{16}\.[0-9a-f]+\.[0-9a-f]{16}(\..*)?~json"))
@example(f"{FACTS}.01.{FACTS}.1.~json")
@example(f"{FACTS}.1.{FACTS}~json")
def test_any_text_is_an_etag_of_ours_or_none(text):
    """
    What is taken for an ETag is exactly one that is made here.
    """
    found = parse_etag(text, "json")

    assert found is None or text == found.etag("json")


@pytest.mark.parametrize(
    "snapshot",
    ["0-0-", "1-", "2-1-", "1-1-1", "1-9-8_7", "1-9-7_7", "5-9-4", "1-9-9", "1-9-7_", "01-2-"],
)
def test_what_is_no_snapshot_is_no_etag(snapshot):
    """
    PostgreSQL fails on a text that is no snapshot, so it must not get there.
    """
    assert parse_etag(f"{FACTS}.1.{FACTS}.1.{snapshot}~json", "json") is None


@pytest.mark.parametrize(
    ("a_im", "expected"),
    [
        ("merge-patch", True),
        ("Merge-Patch", True),
        ("vcdiff, merge-patch", True),
        ("merge-patch;q=0.1", True),
        ("merge-patch ; q=0", False),
        ("merge-patch;q=0.00", False),
        ("merge-patch2", False),
        ("", False),
        (",;,", False),
    ],
)
def test_who_takes_a_patch(a_im, expected):
    """
    A-IM lists what is taken, each with its weight; none is none.
    """
    assert wants_patch(a_im) is expected
