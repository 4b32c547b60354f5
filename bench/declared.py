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
        others: Which part of the addresses, 0 to 1, has a target that is another address; the
            rest are their own.

    Attributes:
        etag: Of the list as it is now.
    """

    def __init__(self, name: str, domain: str, others: float = 0.0) -> None:
        self.etag = ""
        self._name = name
        self._domain = domain
        self._others = others
        self._aliases: list[tuple[str, str]] = []  # addresses and targets
        self._shape = (0, 0, "")  # how many addresses, how many of these are new, since when
        self._listed = b""  # the members of the aliases, which are the most of a page
        self._marks: list[str] = []  # come on top
        self._before = ""
        self._pages: dict[str, bytes] = {}

    def declare(self, addresses: int, renewed: int, mark: str) -> None:
        """
        Declare another list.

        Args:
            addresses: How many.
            renewed: How many of these no list before had.
            mark: One more, by which the list can be told.
        """
        shape = (addresses, renewed, mark if renewed else "")
        if shape != self._shape:
            self._shape = shape
            self._aliases = self._made(addresses, renewed, mark.partition("@")[0])
            members = (f'"{name}":["{target}"]' for name, target in self._aliases)
            self._listed = ",".join(members).encode()
        self._marks = [mark]
        self._before = ""
        self._revised(mark)
        for name in ("aliases", "transport"):
            self.page(name)  # now: a request does not wait for it

    def _made(self, addresses: int, renewed: int, since: str) -> list[tuple[str, str]]:
        """
        Return addresses and targets: those that are their own and stay come first, then those
        that are new, which begin with ``since``, then those with others.
        """
        others = round(addresses * self._others)
        own = addresses - others
        numbers = range(own)
        names = [address(self._name, number, self._domain) for number in numbers[: own - renewed]]
        names += [address(since, number, self._domain) for number in numbers[own - renewed :]]
        pairs = list(zip(names, names, strict=True))
        for number in range(others):
            kinds = (f"{self._name}-sales", f"{self._name}-people")
            name, target = (address(kind, number, self._domain) for kind in kinds)
            pairs.append((name, target))
        return pairs

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
        aliases = self._aliases + [(mark, mark) for mark in self._marks]
        if name == "transport":
            return "".join(f"{one}\n" for one, _ in aliases).encode()
        if name == "aliases, text":
            return "".join(f"{one} {target}\n" for one, target in aliases).encode()
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
        return len(self._aliases) + len(self._marks)

    def _revised(self, mark: str) -> None:
        self.etag = f'"{mark}"'
        self._pages = {}


def address(name: str, number: int, domain: str) -> str:
    """
    Return one of many, each of which is as long as the others.
    """
    return f"{name}-{number:06}@{domain}"
