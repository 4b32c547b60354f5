"""
Fuzzing the body that the webhook takes, YAML or JSON.

A body is a list whose targets are its accounts, or a ``ListError`` that can be shown; what it is
made of are plain values, not many more than the body has octets and aliases may repeat.
"""

import datetime
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

from mailer.alias_list import OWN_NEXTHOP, parse_mapping
from mailer.errors import ListError
from mailer.web import _mapping as parse_body
from mailer.yaml_text import MAX_DEPTH, MAX_REPEATED, load

lists = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("lists.py"))))

MAX_LENGTH = 4200  # octets: there is room for a number that Python would not show

SCALARS = {str, int, float, bool, bytes, type(None), datetime.date, datetime.datetime}


def counted(value, depth=1):
    """
    Return how many values there are, each a plain one; what stands in two places counts twice.
    """
    assert depth <= MAX_DEPTH + 1
    if type(value) in SCALARS:
        return 1
    if isinstance(value, dict):
        assert type(value).__module__ in ("builtins", "collections", "ruamel.yaml.compat")
        items = [*value.keys(), *value.values()]
    else:
        assert type(value) in (list, set, tuple), type(value)
        items = list(value)
    return 1 + sum(counted(item, depth + 1) for item in items)


def posted(parse, body):
    """
    Return the list that a body is; None for an error, which is one line of text.
    """
    try:
        return parse(body)
    except ListError as error:
        lists.assert_is_shown(str(error))
        return None


def is_json(body):
    """
    Say whether a body is JSON.
    """
    try:
        json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def check_written(declared):
    """
    Check that the list is read as the same if it is posted as it is written down here.
    """
    written = {account: [] for account in declared.transport}
    for alias, accounts in declared.aliases.items():
        for account in accounts:
            written[account].append(alias)
    again = parse_body(json.dumps(written).encode())
    assert again.transport == declared.transport
    assert sets(again.aliases) == sets(declared.aliases)


def sets(aliases):
    """
    Return aliases whose targets have no order.
    """
    return {alias: set(targets) for alias, targets in aliases.items()}


def check(octets):
    """
    Check the body, and the values that it is if it is read as YAML.
    """
    declared = posted(parse_body, octets)
    if declared is not None:
        lists.assert_is_list(declared)
        assert not declared.local_parts
        assert {OWN_NEXTHOP} >= {*declared.transport.values()}
        check_written(declared)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        assert declared is None
        return
    try:
        value = load(text)
    except ListError:
        assert declared is None or is_json(octets)
        return
    assert counted(value) <= 2 * len(text) + MAX_REPEATED + 2
    # JSON may say what YAML does not; but what is a list in both is the same one.
    assert posted(parse_mapping, value) in (None, declared)
