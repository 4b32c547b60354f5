"""
Asking the running daemon, as Postfix or Odoo would.
"""

import http.client
import os
import socket
import sys

from mailer.address import encode
from mailer.config import Config, Server, Token
from mailer.errors import ProtocolError, TemporaryError
from mailer.listen import Listen
from mailer.socketmap import netstring, parse_netstring
from mailer.visible import visible, visible_lines

LOOKUP_TIMEOUT = 10.0  # seconds


def ask_lookup(config: Config, map_name: str, key: str) -> int:
    """
    Print the daemon's answer; return 0 found, 1 not found, 75 temporary.

    Raises:
        TemporaryError: The daemon cannot be asked.
    """
    try:
        with _connected(config.socketmap, LOOKUP_TIMEOUT) as connection:
            connection.sendall(netstring(encode(f"{map_name} {key}")))
            received = b""
            while (answer := parse_netstring(received)) is None:
                data = connection.recv(65_536)
                if not data:
                    raise TemporaryError(f"{config.socketmap} closed the connection")
                received += data
    except (OSError, ProtocolError) as error:
        raise TemporaryError(f"{config.socketmap}: {_said(error)}") from None
    text = answer.decode("utf-8", "replace")
    print(visible(text.strip()))
    return {"OK": os.EX_OK, "NOTFOUND": 1}.get(text.partition(" ")[0], os.EX_TEMPFAIL)


def ask_refresh(config: Config, force: bool) -> int:
    """
    Have the daemon fetch every list, and print how each ended; return 0 or 75.

    Raises:
        TemporaryError: The daemon cannot be asked.
    """
    status = os.EX_OK
    for server in config.servers:
        code, text = _refresh(config, server, force)
        print(visible_lines(text), file=sys.stdout if code == 200 else sys.stderr)
        if code != 200:
            status = os.EX_TEMPFAIL
    return status


def _refresh(config: Config, server: Server, force: bool) -> tuple[int, str]:
    """
    Return code and text of the daemon's answer; it may know only one of two tokens yet.
    """
    for token in server.tokens:
        code, text = _post_refresh(config, server, token, force)
        if code != 401:
            break
    return code, text


def _post_refresh(config: Config, server: Server, token: Token, force: bool) -> tuple[int, str]:
    # Two pages to fetch, each within the deadline, behind a refresh under way.
    connection = http.client.HTTPConnection("localhost", timeout=4 * server.timeout)
    try:
        connection.sock = _connected(config.http, connection.timeout or 0)
        headers = {"X-Mail-Token": token.value}
        connection.request("POST", f"/refresh?force={int(force)}", headers=headers)
        response = connection.getresponse()
        text = response.read(65_536).decode("utf-8", "replace").strip()
        return response.status, text.replace(token.value, "***")
    except (OSError, http.client.HTTPException) as error:
        reason = _said(error).replace(token.value, "***")
        raise TemporaryError(f"{config.http}: {reason}") from None
    finally:
        connection.close()


def _connected(listen: Listen, timeout: float) -> socket.socket:
    if listen.path:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(listen.path)
        except OSError:
            connection.close()
            raise
        return connection
    if listen.port:
        return socket.create_connection((listen.reachable_host, listen.port), timeout)
    raise TemporaryError(f"{listen}: it cannot be told from this how to connect there")


def _said(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"{reason}; is the daemon running?" if isinstance(error, OSError) else reason
