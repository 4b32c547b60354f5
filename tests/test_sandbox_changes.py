"""
What the sandbox says has changed.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.sandbox_aliases import parse_file
from mailer.sandbox_changes import REMEMBERED, History, wants_patch

ADDRESSES = st.sampled_from(["a@x.example", "b@x.example", "c@y.example"])
TARGETS = st.lists(ADDRESSES, max_size=2)
FILES = st.fixed_dictionaries(
    {
        "aliases": st.dictionaries(ADDRESSES, TARGETS, max_size=3),
        "local_parts": st.dictionaries(st.sampled_from(["jobs", "help"]), TARGETS, max_size=2),
        "domains": st.lists(st.sampled_from(["x.example", "y.example"]), unique=True),
    }
).filter(lambda file: file["aliases"] or file["local_parts"])


def read(file):
    """
    Return the list of an alias file; JSON is YAML.
    """
    return parse_file(json.dumps(file))


@given(st.lists(FILES, min_size=2, max_size=5))
def test_patch_makes_the_present_page(fakes, files):
    """
    From every list that is remembered the patch leads to the page in force, count included.
    """
    lists = [read(file) for file in files]
    history = History(lists[0])
    for following in lists[1:]:
        history.put(following)
    last = lists[-1].json
    for earlier in lists:
        patch = history.since(earlier.json.etag)
        if patch is None:
            assert earlier.json.etag == last.etag
            continue
        document = fakes.patched(json.loads(earlier.json.body), json.loads(patch.body))

        assert document == json.loads(last.body)
        assert document["count"] == len(document["aliases"]) + len(document["local_parts"])
        assert (patch.base, patch.etag) == (earlier.json.etag, last.etag)


def test_only_what_changed():
    """
    What stays as it is, is not in the patch.
    """
    history = History(read({"aliases": {"a@x.example": [], "b@x.example": []}}))
    patch = history.put(read({"aliases": {"b@x.example": [], "c@x.example": []}}))

    assert json.loads(patch.body) == {
        "aliases": {"a@x.example": None, "c@x.example": ["c@x.example"]},
        "version": history.current.version,
        "count": 2,
    }


def test_so_many_are_remembered():
    """
    Of long ago nothing is known any more.
    """
    lists = [read({"aliases": {f"a{n}@x.example": []}}) for n in range(REMEMBERED + 2)]
    history = History(lists[0])
    for following in lists[1:]:
        history.put(following)

    assert history.since(lists[0].json.etag) is None
    assert history.since(lists[1].json.etag) is not None


def test_same_list_is_no_change():
    """
    Other verdicts are in force at once, and change nothing about the list.
    """
    file = {"aliases": {"a@x.example": []}}
    verdicts = {"a@x.example": {"code": 550, "status": "5.7.1", "text": "No"}}
    history = History(read(file))

    assert history.put(read({**file, "verdicts": verdicts})) is None
    assert "a@x.example" in history.current.verdicts


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
