"""
The pages of the list, as Odoo gave them.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from mailer.store import Etags


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page of the list.

    Args:
        content: None where Odoo says that it has not changed; in pieces where it is large.
        etag: Its validator; empty where Odoo gives none.
        is_patch: The content is a merge patch of the page with the etag that was sent.
    """

    content: bytes | Iterable[bytes] | None
    etag: str
    is_patch: bool = False


@dataclass(frozen=True, slots=True)
class Pages:
    """
    The list as Odoo gave it, not yet parsed.

    Args:
        transport: One that has not changed where the list is whole without.
    """

    aliases: Page
    transport: Page

    @property
    def etags(self) -> Etags:
        """The validators for the next call."""
        return Etags(self.aliases.etag, self.transport.etag)

    @property
    def changed(self) -> bool:
        """At least one of the pages has changed."""
        return self.aliases.content is not None or self.transport.content is not None


IsWhole = Callable[[Page], Awaitable[bool]]
