"""
The message on standard input to Odoo, for Postfix's pipe(8).
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import BinaryIO

from mailer.address import fold, without_extension
from mailer.config import Config, Server
from mailer.errors import TemporaryError
from mailer.handover import make_delivery, replies_to, same_reply
from mailer.http_exchange import Http
from mailer.lmtp_events import Envelope
from mailer.message import parse_header
from mailer.odoo import Delivery, OdooClient
from mailer.reply import MESSAGE_TOO_LARGE_552, Reply
from mailer.spool import Spool
from mailer.store import FILE_NAME, Store
from mailer.verdict import reply_for_error

_CHUNK = 65_536


async def pipe(
    config: Config,
    connect: Callable[[Server], Http],
    stdin: BinaryIO,
    sender: str | None,
    recipients: Sequence[str],
    log: Callable[[str], None] = lambda _: None,
) -> Reply:
    """
    Deliver one message to everyone; return the reply that stands for all.

    Of several replies a temporary one wins: the recipients that are served
    already are told apart by their digest when the mail comes again. Then a
    refusal wins, so that nobody's refusal goes unnoticed.

    Args:
        connect: Returns what speaks HTTP with a server.
        sender: None to leave it to the header.
        recipients: None to leave them to the header.
        log: Gets the reason where there was no answer.
    """
    spool = Spool()
    try:
        while chunk := stdin.read(_CHUNK):
            spool.write(chunk)
            if spool.size > config.max_message_size:
                return MESSAGE_TOO_LARGE_552
        return await _Pipe(config, connect, log).deliver(spool, sender, recipients)
    finally:
        spool.close()


class _Pipe:
    def __init__(
        self, config: Config, connect: Callable[[Server], Http], log: Callable[[str], None]
    ) -> None:
        self._config = config
        self._store = _store(config)
        self._connect = connect
        self._log = log

    async def deliver(self, spool: Spool, sender: str | None, recipients: Sequence[str]) -> Reply:
        groups: dict[Server, dict[str, None]] = {}
        for recipient in recipients:
            server, address = _route(self._config, self._store, recipient)
            groups.setdefault(server, {})[address] = None
        if not recipients:
            groups[_only_server(self._config)] = {}
        header = parse_header(spool.beginning())
        replies: list[Reply] = []
        for server, group in groups.items():
            delivery = make_delivery(Envelope(sender, ()), tuple(group), header, spool)
            replies += await self._hand_over(delivery, server)
        return max(replies, key=lambda reply: (reply.code // 100 == 4, reply.code))

    async def _hand_over(self, delivery: Delivery, server: Server) -> list[Reply]:
        store = self._store
        marked = store is not None and store.is_marked(server.name)

        def on_mark() -> None:
            if store is not None:
                with contextlib.suppress(TemporaryError):
                    store.save_mark(server.name)

        client = OdooClient(server, self._connect(server), on_mark, marked)
        try:
            answer = await client.deliver(delivery)
        except TemporaryError as error:
            self._log(f"{server.name}: {error}")
            return same_reply(delivery, reply_for_error(error))
        return replies_to(delivery, answer, client.marked)


def _store(config: Config) -> Store | None:
    """
    Return the daemon's store; None where there is no cache folder, or this user may not use it.

    Raises:
        TemporaryError: It is locked or damaged. Nobody knows then whether the server marks its
            answers, and a proxy's page could pass for one.
    """
    path = os.path.join(config.cache, FILE_NAME)
    may_make = not os.path.lexists(path) and os.access(config.cache, os.W_OK | os.X_OK)
    return Store(config.cache, mends=False) if may_make or os.access(path, os.R_OK) else None


def _only_server(config: Config) -> Server:
    if len(config.servers) > 1:
        raise TemporaryError("there are several servers: --recipient has to tell which is meant")
    return config.servers[0]


def _route(config: Config, store: Store | None, recipient: str) -> tuple[Server, str]:
    """
    Return the server of a recipient, and its address as that server knows it.
    """
    whole = fold(recipient)
    bare = without_extension(whole, config.recipient_delimiter)
    candidates = [whole] if bare is None else [whole, bare]
    if store is not None:
        for server in config.servers:
            for candidate in candidates:
                if store.knows(server.name, candidate, server.domains):
                    return server, candidate
    return _only_server(config), candidates[-1]
