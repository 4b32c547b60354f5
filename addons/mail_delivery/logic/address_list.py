"""
The pages of the address list.

The database makes the lines of the aliases, because a million of them would
cost Python seconds; what is said of each domain is joined to them here.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

FORMAT = 2  # of the pages: another one is another list, also of the same addresses

_NAME_OCTETS = b"!#$%&'*+-./0123456789=?_^`{|}~abcdefghijklmnopqrstuvwxyz"
# A text page takes "#" at the start of a line for a comment, and "{" for JSON.
_LOCAL_PART = re.compile(r"(?![#{])[a-z0-9!#$%&'*+\-./=?^_`{|}~]+")
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@dataclass(frozen=True)
class Domain:
    """
    An alias domain, as Odoo stores it.

    Args:
        default_from: A local part or a whole address; may be empty.
    """

    id: int
    name: str
    bounce_alias: str
    catchall_alias: str
    default_from: str

    @property
    def folded(self) -> str:
        """The name as mail servers compare it."""
        return self.name.lower()

    @property
    def usable(self) -> bool:
        """Its name can stand in a list; one fault there would spoil the whole page."""
        return is_domain(self.folded)

    def service_addresses(self) -> list[str]:
        """
        Return catchall, bounce and default-from address, folded; only what are addresses.
        """
        names = filter(None, (self.bounce_alias, self.catchall_alias, self.default_from))
        whole = (name if "@" in name else f"{name}@{self.name}" for name in names)
        return [address for address in map(str.lower, whole) if is_address(address)]


@dataclass(frozen=True)
class AddressList:
    """
    Everything the pages are made of.

    Args:
        domains: Every alias domain.
        allowed: The domains of ``mail.catchall.domain.allowed``.
        local_parts: Of the aliases that hold for a local part, folded.
        taken: The domains' own addresses that are aliases as well, without a local part.
    """

    domains: tuple[Domain, ...]
    allowed: tuple[str, ...]
    local_parts: tuple[str, ...] = ()
    taken: frozenset[str] = frozenset()

    def local_domains(self) -> list[str]:
        """
        Return the domains in which the local parts hold for certain, in order.
        """
        names = [*(domain.folded for domain in self.domains), *map(str.lower, self.allowed)]
        return sorted({name for name in names if is_domain(name)})

    def service_addresses(self) -> list[str]:
        """
        Return the addresses that every domain has of its own, in order.
        """
        return sorted({a for domain in self.domains for a in domain.service_addresses()})

    def _services(self) -> list[str]:
        return [address for address in self.service_addresses() if address not in self.taken]

    def _more(self) -> Iterable[str]:
        """
        Return the addresses that are not among the entries of the aliases, each once.
        """
        domains = self.local_domains()
        local = (f"{part}@{domain}" for part in self.local_parts for domain in domains)
        return dict.fromkeys((*self._services(), *local))

    def text_page(self, aliases: bytes) -> bytes:
        """
        Return the virtual(5) lines.

        Args:
            aliases: Lines ``address address`` of the aliases, without the last line end.
        """
        lines = "".join(f"{address} {address}\n" for address in self._more()).encode()
        return b"".join((lines, aliases, b"\n" if aliases else b""))

    def transport_page(self, aliases: bytes) -> bytes:
        """
        Return the addresses, one a line.

        Args:
            aliases: Lines of one address, without the last line end.
        """
        lines = "".join(f"{address}\n" for address in self._more()).encode()
        return b"".join((lines, aliases, b"\n" if aliases else b""))

    def json_page(self, aliases: bytes, version: str, members: int) -> bytes:
        """
        Return the JSON document.

        Args:
            aliases: Members ``address":["address`` with ``"],"`` between them.
            members: See ``members``.
        """
        rest = {
            "local_parts": {part: [part] for part in self.local_parts},
            "domains": self.local_domains(),
            "transport": True,  # all of it comes here
            "version": version,
            "count": members,
        }
        services = '"],"'.join(f'{address}":["{address}' for address in self._services()).encode()
        entries = b'"],"'.join(filter(None, (services, aliases)))
        around = (b'"', b'"]') if entries else (b"", b"")
        tail = json.dumps(rest, separators=(",", ":"))[1:].encode()
        return b"".join((b'{"aliases":{', around[0], entries, around[1], b"},", tail))

    def members(self, aliases: int) -> int:
        """
        Return how many aliases and local parts the JSON document has.

        Args:
            aliases: How many addresses aliases have, each counted once.
        """
        return len(self._services()) + aliases + len(self.local_parts)

    def facts(self) -> str:
        """
        Return a hash of all that is not an alias, 16 hexadecimal digits.
        """
        facts = [FORMAT, self.service_addresses(), self.local_domains()]
        return sha256(json.dumps(facts).encode()).hexdigest()[:16]


def is_address(word: str) -> bool:
    """
    Say whether a folded word can be on the list: one ``@``, nothing quoted, ASCII.
    """
    local, _, domain = word.rpartition("@")
    return _LOCAL_PART.fullmatch(local) is not None and is_domain(domain)


def is_domain(word: str) -> bool:
    """
    Say whether a folded word is a domain name.
    """
    return _DOMAIN.fullmatch(word) is not None


def is_local_part(word: str) -> bool:
    """
    Say whether a folded word is a local part.
    """
    return _LOCAL_PART.fullmatch(word) is not None


def is_clean(lines: bytes, texts: Sequence[bytes], rows: int) -> bool:
    """
    Say whether lines that the database made hold nothing but addresses.

    One pass without a regular expression: 60 MB take a tenth of a second.

    Args:
        texts: What stands behind each address of an entry; behind the last entry nothing.
        rows: How many entries.
    """
    if not rows:
        return not lines
    left = lines.translate(None, delete=_NAME_OCTETS)
    entry = b"".join(b"@" + text for text in texts)
    return left + texts[-1] == entry * rows
