"""
What changed between two versions of the sandbox's list, as a patch of its JSON page.

Source: RFC 3229 (delta encoding in HTTP), RFC 7396 (JSON Merge Patch).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailer.alias_list import MERGE_PATCH, AliasList, Targets
from mailer.sandbox_aliases import SandboxAliases, members

REMEMBERED = 16  # versions before the present one

_REFUSED = re.compile(r"q=0(\.0*)?")


@dataclass(frozen=True, slots=True)
class Patch:
    """
    What turns one JSON page into another.

    Args:
        base: ETag of the first, quoted as in the header field.
        etag: Of the second.
        body: A merge patch.
    """

    base: str
    etag: str
    body: bytes


class History:
    """
    The list in force, and the few before it.
    """

    def __init__(self, current: SandboxAliases) -> None:
        self.current = current
        self._earlier: dict[str, AliasList] = {}

    def put(self, current: SandboxAliases) -> Patch | None:
        """
        Put another list in force; return what has changed, if anything has.
        """
        base = self.current.json.etag
        if base == current.json.etag:
            self.current = current  # verdicts are on no page
            return None
        self._earlier.pop(base, None)
        self._earlier[base] = self.current.declared
        for etag in list(self._earlier)[:-REMEMBERED]:
            del self._earlier[etag]
        self.current = current
        return self.since(base)

    def since(self, etag: str) -> Patch | None:
        """
        Return what has changed since a version; None where that is not remembered.

        Args:
            etag: Quoted; a weak one is of no version.
        """
        then = self._earlier.get(etag)
        if then is None:
            return None
        now = self.current
        return Patch(etag, now.json.etag, _patch(then, now))


def wants_patch(a_im: str) -> bool:
    """
    Say whether the ``A-IM`` of a request takes a merge patch.
    """
    for word in a_im.lower().split(","):
        name, *parameters = (part.strip() for part in word.split(";"))
        if name == MERGE_PATCH:
            return not any(_REFUSED.fullmatch(parameter) for parameter in parameters)
    return False


def _patch(then: AliasList, now: SandboxAliases) -> bytes:
    found = now.declared
    patch: dict[str, Any] = {"version": now.version, "count": members(found)}
    aliases = _changed(then.aliases, found.aliases)
    local_parts = _changed(then.local_parts, found.local_parts)
    if aliases:
        patch["aliases"] = aliases
    if local_parts:
        patch["local_parts"] = local_parts
    if then.domains != found.domains:
        patch["domains"] = sorted(found.domains)
    return json.dumps(patch).encode("ascii")


def _changed(then: Mapping[str, Targets], now: Mapping[str, Targets]) -> dict[str, Targets | None]:
    gone: dict[str, Targets | None] = dict.fromkeys(then.keys() - now.keys())
    return gone | {name: targets for name, targets in now.items() if then.get(name) != targets}
