"""
Fuzzing the pages of Odoo: text and JSON of the aliases, and the transport list.

A page is a list of good addresses or a ``ListError``; a list that is written down is read as the
same list.
"""

import json
import re
import unicodedata

from mailer.alias_list import AliasList, parse_aliases, parse_transport
from mailer.errors import ListError

MAX_LENGTH = 2000  # octets
MAX_ERROR = 800  # characters: 60 of the page, each escaped with ten

NOT_IN_A_NAME = frozenset('@<>()[],;:"\\\x7f\x85\xa0')
NEXTHOP = re.compile(r"|[A-Za-z][0-9A-Za-z_.-]*:[!-~]*")


def assert_is_name(name):
    """
    Check that a folded local part is one word that goes everywhere.
    """
    assert name
    assert name == name.casefold()
    assert not NOT_IN_A_NAME & set(name)
    assert not any(c <= " " or c.isspace() or unicodedata.category(c) == "Cs" for c in name)


def assert_is_address(address):
    """
    Check that a folded address has two such parts, the domain of labels.
    """
    local, at, domain = address.partition("@")
    assert at
    assert_is_name(local)
    assert_is_domain(domain)


def assert_is_domain(domain):
    """
    Check that a folded domain is made of labels that are not empty.
    """
    for label in domain.split("."):
        assert_is_name(label)
        assert all(c.isalnum() or c in "-_" or c > "\x7f" for c in label)


def assert_is_list(declared):
    """
    Check what an ``AliasList`` promises.
    """
    for address, targets in declared.aliases.items():
        assert_is_address(address)
        assert_are_targets(targets)
    for name, targets in declared.local_parts.items():
        assert_is_name(name)
        assert_are_targets(target for target in targets if target != name)
        assert targets
    for domain in declared.domains:
        assert_is_domain(domain)
    for address, nexthop in declared.transport.items():
        assert_is_address(address)
        assert NEXTHOP.fullmatch(nexthop)


def assert_are_targets(targets):
    """
    Check that targets are addresses, each once.
    """
    found = list(targets)
    assert len(found) == len(set(found))
    for target in found:
        assert_is_address(target)


def assert_is_shown(problem):
    """
    Check that an error is one line that can be sent and logged.
    """
    assert 0 < len(problem) < MAX_ERROR
    assert problem.isprintable()
    assert problem.encode()


def lines(mapping):
    """
    Return the mapping as a text page; a comma in front keeps a word from opening another format.
    """
    return "".join(f",{name} {value}\n" for name, value in mapping.items()).encode()


def check_aliases(page):
    """
    Check the page of the aliases.
    """
    try:
        declared = parse_aliases(page)
    except ListError as error:
        assert_is_shown(str(error))
        return
    assert_is_list(declared)
    assert {} == declared.transport
    document = {
        "aliases": {name: list(targets) for name, targets in declared.aliases.items()},
        "local_parts": {name: list(targets) for name, targets in declared.local_parts.items()},
        "domains": sorted(declared.domains),
        "transport": declared.whole,
        "count": len(declared.aliases) + len(declared.local_parts),
    }
    for is_ascii in (True, False):
        assert declared == parse_aliases(json.dumps(document, ensure_ascii=is_ascii).encode())
    joined = {name: ", ".join(targets) for name, targets in declared.aliases.items()}
    assert AliasList(declared.aliases) == parse_aliases(lines(joined))
    assert declared == parse_aliases(page.replace(b"\n", b"\r\n"))
    if page.decode("utf-8-sig").lstrip()[:1] not in ("{", "["):
        assert declared == parse_aliases(page + b"\n \n# x\n\t\n#")


def check_transport(page):
    """
    Check the page of the transport list.
    """
    try:
        transport = parse_transport(page)
    except ListError as error:
        assert_is_shown(str(error))
        return
    assert_is_list(AliasList(transport=transport))
    assert transport == parse_transport(lines(transport))
    assert transport == parse_transport(page.replace(b"\n", b"\r\n"))
    assert transport == parse_transport(page + b"\n \n# x\n\t\n#")


def check(octets):
    """
    Check the octets as either page.
    """
    check_aliases(octets)
    check_transport(octets)
