"""
Reads pages and patches, as what they change of the list in force.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mailer.alias_list import AliasList, parse_aliases, parse_patch, parse_transport
from mailer.declared import Changes
from mailer.errors import ListError, TemporaryError
from mailer.pages import Page, Pages

InThread = Callable[..., Deferred[Any]]
Read = Callable[[AliasList | None], Changes]  # of the list in force, to what becomes of it


class OvertakenError(TemporaryError):
    """
    Another list was put in force while this one was fetched or sent.
    """


class Reading:
    """
    The reading of pages; one of aliases is read only once.

    Args:
        serial: Of the list in force when they were asked for.
        was_whole: That list was whole.
    """

    def __init__(self, in_thread: InThread, serial: int, was_whole: bool) -> None:
        self.serial = serial
        self._in_thread = in_thread
        self._was_whole = was_whole
        self._page: Page | None = None
        self._aliases: AliasList | None = None

    async def is_whole(self, page: Page) -> bool:
        """
        See ``OdooClient.fetch``.
        """
        if page.content is None:
            return self._was_whole
        self._aliases = await self._in_thread(parse_aliases, page.content)
        self._page = page
        return self._aliases.whole

    def changes(self, pages: Pages, known: AliasList | None) -> Changes:
        """
        Return what the pages change of the list that they were asked for with.

        Raises:
            ListError: A page is no list, or no patch of this one; says where and why.
        """
        if pages.aliases.is_patch and pages.aliases.content is not None:
            if known is None or not known.whole:
                raise ListError("changes of a list that is not whole")
            return parse_patch(pages.aliases.content).changes_of(known)
        parsed = self._aliases if pages.aliases is self._page else None
        declared = declared_by(pages, known, parsed)
        # Twins, as one of them may be the list in force itself.
        others = [] if self._aliases is None or self._aliases is declared else [self._aliases]
        used = [one.twin() for one in (declared, *others)]
        try:
            return changes_to(declared)(known)
        finally:
            del declared, parsed
            self._aliases = None
            for one in used:
                one.release()


def changes_to(declared: AliasList) -> Read:
    """
    Return what says how a list becomes this one.
    """
    return lambda known: (AliasList() if known is None else known).changes_to(declared)


def declared_by(
    pages: Pages, known: AliasList | None, parsed: AliasList | None = None
) -> AliasList:
    """
    Return the list of the pages; a page that has not changed is taken from the known list.

    Args:
        parsed: The page of aliases, if it was read before.

    Raises:
        ListError: A page is no list; says where and why.
    """
    known = AliasList() if known is None else known
    aliases, transport = pages.aliases.content, pages.transport.content
    if parsed is None:
        parsed = known if aliases is None else parse_aliases(aliases)
    if parsed.whole:
        return parsed
    hops = known.transport if transport is None else parse_transport(transport)
    return parsed.with_transport(hops)
