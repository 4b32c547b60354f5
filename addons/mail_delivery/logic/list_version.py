"""
Which list someone has, and the patch that makes the present one of it.

A version says what is on the list, by sums that are kept while it changes, and what
the database had seen when it was read. Of two versions with the same sums the lists
are the same, whatever became of the database between them. A patch is made only if the
changes since then add up to the difference of the sums: where some are not known any
more, or are of another history, they do not, and the whole list is served.

Source: RFC 3229 (delta encoding in HTTP), RFC 7396 (JSON Merge Patch).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .address_list import is_address, is_local_part

MANIPULATION = "merge-patch"  # in A-IM and IM
PATCH_TYPE = "application/merge-patch+json"
HASHES = 2**64  # the sum of the hashes is kept modulo this
MAX_SNAPSHOT = 2_000  # octets in an ETag: 100 transactions under way at once

_ETAG = re.compile(
    r"(?P<facts>[0-9a-f]{16})\.(?P<rows>[0-9a-f]{1,15})\.(?P<hashes>[0-9a-f]{16})"
    r"(?:\.(?P<members>[0-9a-f]{1,15})\.(?P<snapshot>[0-9_-]{0,2000}))?~(?P<form>[a-z]+)"
)
_SNAPSHOT = re.compile(r"([1-9]\d{0,17}):([1-9]\d{0,17}):([1-9]\d{0,17}(?:,[1-9]\d{0,17})*)?")


@dataclass(frozen=True)
class Version:
    """
    Args:
        facts: Hash of all that is not an alias, 16 hexadecimal digits.
        rows: How many aliases are listed; one address may have several.
        hashes: The sum of their hashes, modulo ``HASHES``; their order does not matter.
        snapshot: PostgreSQL's txid_snapshot of the moment; empty where it was too long.
        members: Of the JSON page: aliases and local parts together.
    """

    facts: str
    rows: int
    hashes: int
    snapshot: str = ""
    members: int = 0

    @property
    def content(self) -> str:
        """The same for the same list, another for another."""
        return f"{self.facts}.{self.rows:x}.{self.hashes:016x}"

    def etag(self, form: str) -> str:
        """
        Return the validator of a page, without quotes.

        Args:
            form: Its name; of ``json`` alone there are patches.
        """
        if form != "json":
            return f"{self.content}~{form}"
        snapshot = self.snapshot if len(self.snapshot) <= MAX_SNAPSHOT else ""
        since = snapshot.replace(":", "-").replace(",", "_")
        return f"{self.content}.{self.members:x}.{since}~{form}"


def parse_etag(etag: str, form: str) -> Version | None:
    """
    Return what an ETag says; None for one of another page, or of anyone else.
    """
    found = _ETAG.fullmatch(etag)
    if found is None or found["form"] != form:
        return None
    snapshot = (found["snapshot"] or "").replace("-", ":").replace("_", ",")
    if snapshot and not _is_snapshot(snapshot):
        return None
    rows, hashes, members = (int(found[name] or "0", 16) for name in ("rows", "hashes", "members"))
    version = Version(found["facts"], rows, hashes, snapshot, members)
    return version if version.etag(form) == etag else None


def _is_snapshot(text: str) -> bool:
    """
    Say whether PostgreSQL reads a text as a snapshot: it fails on any other.
    """
    found = _SNAPSHOT.fullmatch(text)
    if found is None:
        return False
    low, high = int(found[1]), int(found[2])
    running = [int(word) for word in (found[3] or "").split(",") if word]
    return low <= high and running == sorted({n for n in running if low <= n < high})


def wants_patch(a_im: str) -> bool:
    """
    Say whether the ``A-IM`` of a request takes a merge patch.
    """
    for word in a_im.lower().split(","):
        name, *parameters = (part.strip() for part in word.split(";"))
        if name == MANIPULATION:
            return not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
    return False


@dataclass(frozen=True)
class Change:
    """
    What became of one key of the list since some version.

    Args:
        key: An address, or ``#`` and a local part; folded.
        rows: How many aliases with it came, less those that went.
        hashes: The hash of the key, as many times.
    """

    key: str
    rows: int
    hashes: int


@dataclass(frozen=True)
class Patch:
    """
    What turns one JSON page into another.

    Args:
        base: ETag of the first, without quotes.
        etag: Of the second.
    """

    base: str
    etag: str
    body: bytes


def make_patch(
    then: Version,
    now: Version,
    changes: Iterable[Change],
    rows: Mapping[str, int],
    services: Iterable[str],
) -> Patch | None:
    """
    Return the patch between two versions; None in any doubt.

    Args:
        now: Its ``members`` play no part: they follow from those of ``then``.
        changes: All since ``then``, at most one for a key.
        rows: How many aliases have each changed key now.
        services: The addresses of the domains, which are listed with and without an alias.
    """
    changes, own = list(changes), {*services}
    if not _adds_up(then, now, changes) or any(change.key in own for change in changes):
        return None
    members = then.members
    aliases: dict[str, list[str] | None] = {}
    parts: dict[str, list[str] | None] = {}
    for change in changes:
        name = change.key.removeprefix("#")
        is_part = name != change.key
        after = rows.get(change.key, 0)
        before = after - change.rows
        if before < 0:
            return None
        if bool(before) == bool(after) or not (is_local_part if is_part else is_address)(name):
            continue
        members += 1 if after else -1
        (parts if is_part else aliases)[name] = [name] if after else None
    changed = {"aliases": aliases, "local_parts": parts}
    document = {
        "version": now.content,
        "count": members,
        **{name: entries for name, entries in changed.items() if entries},
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    return Patch(then.etag("json"), replace(now, members=members).etag("json"), body)


def _adds_up(then: Version, now: Version, changes: Iterable[Change]) -> bool:
    """
    Say whether changes are all that is between two versions.
    """
    rows = then.rows + sum(change.rows for change in changes)
    hashes = then.hashes + sum(change.hashes for change in changes)
    return (then.facts, rows, hashes % HASHES) == (now.facts, now.rows, now.hashes)
