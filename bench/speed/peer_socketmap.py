"""
The socketmap protocol of postfix-mta-sts-resolver, with an answer from memory.

usage: peer_socketmap.py SOCKET ADDRESSES NEXTHOP asyncio|uvloop
"""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from postfix_mta_sts_resolver import netstring
from postfix_mta_sts_resolver.responder import STSSocketmapResponder


class Responder(STSSocketmapResponder):  # type: ignore[misc]
    """
    Its connections, framing and queues; the policies and their cache are not wanted.
    """

    def __init__(self, path: str, addresses: Path, nexthop: str, loop: Any) -> None:
        self._logger = logging.getLogger("STS")
        self._loop = loop
        self._unix, self._path, self._sockmode = True, path, 0o666
        self._children: set[Any] = set()
        self._server = None
        names = addresses.read_text().split()
        self._answers = {
            **{f"aliases {name}": f"OK {name}".encode() for name in names},
            **{f"transport {name}": f"OK {nexthop}".encode() for name in names},
        }

    async def process_request(self, raw_req: bytes) -> Any:
        return netstring.encode(self._answers.get(raw_req.decode("utf-8"), b"NOTFOUND "))


async def main(path: str, addresses: str, nexthop: str) -> None:
    """
    Serve until killed.
    """
    responder = Responder(path, Path(addresses), nexthop, asyncio.get_running_loop())
    await responder.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[4] == "uvloop":
        import uvloop

        uvloop.run(main(*sys.argv[1:4]))
    else:
        asyncio.run(main(*sys.argv[1:4]))
