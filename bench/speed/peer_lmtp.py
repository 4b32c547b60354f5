"""
aiosmtpd's LMTP, which forgets what it takes.

usage: peer_lmtp.py SOCKET
"""

import asyncio
import sys
from typing import Any

from aiosmtpd.controller import UnixSocketUnthreadedController
from aiosmtpd.lmtp import LMTP


class Sink:
    """
    Takes everything.
    """

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """
        Reply for each recipient.
        """
        return "\r\n".join("250 OK" for _ in envelope.rcpt_tos)


class Controller(UnixSocketUnthreadedController):  # type: ignore[misc]
    """
    Serves LMTP instead of SMTP.
    """

    def factory(self) -> LMTP:
        return LMTP(self.handler, **self.SMTP_kwargs)


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    Controller(Sink(), unix_socket=sys.argv[1], loop=loop).begin()
    loop.run_forever()
