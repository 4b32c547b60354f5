"""
Fetching the lists into map files, without a daemon.
"""

from typing import Any

from mailer.alias_table import AliasTable, ServerList, merge
from mailer.config import Config, Server
from mailer.errors import ListError, MailerError, TemporaryError
from mailer.http_client import make_agent
from mailer.main_cf import nexthop
from mailer.map_files import write_map_file
from mailer.map_text import aliases_text, transport_text
from mailer.odoo import OdooClient
from mailer.postfix import queue_directory
from mailer.reading import declared_by
from mailer.store import Etags
from mailer.twisted_http import TwistedHttp


async def write_aliases(config: Config, reactor: Any) -> str:
    """
    Write the map file for virtual_alias_maps; return its text.

    Raises:
        TemporaryError: A list was not fetched or the file not written; it stays as it was.
    """
    text = aliases_text(await _fetch_table(config, reactor))
    write_map_file(config.aliases, text)
    return text


async def write_transport(config: Config, reactor: Any) -> str:
    """
    Write the map file for transport_maps; return its text.

    Raises:
        TemporaryError: A list was not fetched or the file not written; it stays as it was.
    """
    text = transport_text(await _fetch_table(config, reactor), reactor.seconds())
    write_map_file(config.transport, text)
    return text


def write_both(config: Config, table: AliasTable, now: float) -> None:
    """
    Write both map files from the table in force.

    Transport first: an address that is valid already has a way to go.

    Args:
        now: Seconds, Unix time.

    Raises:
        TemporaryError: A list is not loaded yet, or a file was not written.
    """
    if table.missing:
        raise TemporaryError(f"map files not written: no list of {', '.join(table.missing)} yet")
    write_map_file(config.transport, transport_text(table, now))
    write_map_file(config.aliases, aliases_text(table))


async def _fetch_table(config: Config, reactor: Any) -> AliasTable:
    lists = [await _fetch(server, reactor) for server in config.servers]
    hop = nexthop(config, queue_directory())
    return merge(lists, config.domains, hop)


async def _fetch(server: Server, reactor: Any) -> ServerList:
    client = OdooClient(server, TwistedHttp(make_agent(reactor, server), reactor), lambda: None)
    try:
        pages = await client.fetch(Etags())
        declared = declared_by(pages, None)
        if not declared and not client.marked:
            raise ListError("the answer is empty and not marked by mail_delivery")
    except MailerError as error:
        raise TemporaryError(f"{server.name} ({server.url}): {error}") from None
    return ServerList(server.name, declared)
