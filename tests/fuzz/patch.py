"""
Fuzzing the changes of a list, a merge patch of its page, against the page that is patched here.

Source: RFC 7396.
"""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

from mailer.alias_list import parse_aliases, parse_patch
from mailer.errors import ListError

lists = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("lists.py"))))

MAX_LENGTH = 1500  # octets

PAGE = {
    "aliases": {"info@x": ["a@x"], "all@x": ["a@x", "b@y"], "a@x": [], "b@y": ["b@y"]},
    "local_parts": {"jobs": ["jobs"], "sales": ["a@x", "sales"]},
    "domains": ["x", "z"],
    "transport": True,
}
LIST = parse_aliases(json.dumps(PAGE).encode())


def once(pairs):
    """
    Return a mapping of the pairs; no name stands twice in it, in whatever case.
    """
    mapping = dict(pairs)
    if len({name.casefold() for name in mapping}) < len(pairs):
        raise RecursionError("of names that stand twice there is nothing to be said")
    return mapping


def patched(patch):
    """
    Return the page with the patch, whose names are folded.
    """
    page = {**PAGE, "domains": patch.get("domains", PAGE["domains"])}
    for member in ("aliases", "local_parts"):
        changes = {name.casefold(): value for name, value in patch.get(member, {}).items()}
        merged = {**PAGE[member], **changes}
        page[member] = {name: value for name, value in merged.items() if value is not None}
    return page


def check(octets):
    """
    The list with the changes is that of the page with the patch.
    """
    try:
        changes = parse_patch(octets).changes_of(LIST)
    except ListError as error:
        lists.assert_is_shown(str(error))
        return
    new = LIST.changed(changes)
    lists.assert_is_list(new)
    try:
        patch = json.loads(octets.decode("utf-8-sig"), object_pairs_hook=once)
    except RecursionError:
        return
    expected = parse_aliases(json.dumps(patched(patch)).encode())
    assert expected == new
    assert len(expected) == len(new)
    assert dict(expected.transport) == dict(new.transport)
    assert patch["count"] == len(new.aliases) + len(new.local_parts)
    assert new == LIST.changed(LIST.changes_to(expected))
