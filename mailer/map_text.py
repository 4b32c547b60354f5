"""
The table as map files for postmap(1), where socketmap is not used.

Source: virtual(5) and transport(5), TABLE FORMAT.
"""

from collections.abc import Iterable, Iterator

from mailer.alias_table import AliasTable, Entry

_HEAD = "# Written by odoo-mailer; changes made here are lost.\n"


def aliases_text(table: AliasTable) -> str:
    """
    Return the table for virtual_alias_maps, sorted.
    """
    return _HEAD + "".join(
        f"{address} {', '.join(_targets(address, entry))}\n" for address, entry in _entries(table)
    )


def transport_text(table: AliasTable, now: float) -> str:
    """
    Return the table for transport_maps: one address and its next hop a line, sorted.

    Addresses removed within the table's grace are in it: mail for them may be queued.

    Args:
        now: Seconds, Unix time.
    """
    return _HEAD + "".join(
        f"{address} {entry.nexthop}\n"
        for address, entry in _entries(table, table.removed(now))
        if entry.nexthop
    )


def _entries(
    table: AliasTable, more: Iterable[tuple[str, Entry]] = ()
) -> Iterator[tuple[str, Entry]]:
    everything = dict(more)
    for address, entry in table.entries():
        everything.setdefault(address, entry)
    # A line that begins with # would be a comment.
    yield from sorted(
        (item for item in everything.items() if not item[0].startswith("#")),
        key=lambda item: item[0],
    )


def _targets(address: str, entry: Entry) -> list[str]:
    return [target if "@" in target else address for target in entry.targets or (address,)]
