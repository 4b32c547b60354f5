"""
The list that a stand-in declares, as mail_delivery writes it: whole, or what has changed.

Source of changes: RFC 3229 (226, A-IM, Delta-Base), RFC 7396 (JSON Merge Patch).
"""

import json


class Declared:
    """
    Args:
        name: Begins every address.
        domain: Of every address.

    Attributes:
        etag: Of the list as it is now.
    """

    def __init__(self, name: str, domain: str) -> None:
        self.etag = ""
        self._name = name
        self._domain = domain
        self._names: list[str] = []
        self._listed = b""  # the members of the aliases, which are the most of a page
        self._marks: list[str] = []  # come on top
        self._before = ""
        self._pages: dict[str, bytes] = {}

    def declare(self, addresses: int, mark: str) -> None:
        """
        Declare another list.

        Args:
            addresses: How many.
            mark: One more, by which the list can be told.
        """
        if addresses != len(self._names):
            numbers = range(addresses)
            self._names = [f"{self._name}-{number}@{self._domain}" for number in numbers]
            self._listed = ",".join(f'"{name}":["{name}"]' for name in self._names).encode()
        self._marks = [mark]
        self._before = ""
        self._revised(mark)
        for name in ("aliases", "transport"):
            self.page(name)  # now: a request does not wait for it

    def change(self, mark: str) -> None:
        """
        Declare one address more.
        """
        self._marks.append(mark)
        self._before = self.etag
        self._revised(mark)

    def patch_from(self, etag: str) -> bytes | None:
        """
        Return what has changed since a list; None if that is not known.
        """
        if not self._before or etag != self._before:
            return None
        mark = self._marks[-1]
        document = {"aliases": {mark: [mark]}, "version": mark, "count": self._count()}
        return json.dumps(document, separators=(",", ":")).encode()

    def latest_change(self) -> tuple[str, str, bytes]:
        """
        Return the ETag before, the one now, and the patch between them.
        """
        patch = self.patch_from(self._before)
        assert patch is not None, "nothing has changed"
        return self._before, self.etag, patch

    def page(self, name: str) -> bytes:
        """
        Return a page: ``aliases``, ``aliases, text`` or ``transport``.
        """
        if name not in self._pages:
            self._pages[name] = self._page(name)
        return self._pages[name]

    def _page(self, name: str) -> bytes:
        names = self._names + self._marks
        if name == "transport":
            return "".join(f"{one}\n" for one in names).encode()
        if name == "aliases, text":
            return "".join(f"{one} {one}\n" for one in names).encode()
        marks = ",".join(f'"{mark}":["{mark}"]' for mark in self._marks).encode()
        rest = {
            "local_parts": {},
            "domains": [self._domain],
            "version": self._marks[-1],
            "transport": True,
            "count": self._count(),
        }
        end = json.dumps(rest, separators=(",", ":"))[1:].encode()
        members = self._listed + b"," + marks if self._listed else marks
        return b'{"aliases":{' + members + b"}," + end

    def _count(self) -> int:
        return len(self._names) + len(self._marks)

    def _revised(self, mark: str) -> None:
        self.etag = f'"{mark}"'
        self._pages = {}
