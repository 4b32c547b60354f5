"""
The odoo-mailer.yaml that an administrator copies to the mail host.
"""

import json
from urllib.parse import SplitResult, urlsplit

PLACE_FOR_TOKEN = "the token that was shown when it was made"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def configuration(base_url: str, database: str, token: str, webhook: str) -> str:
    """
    Return the file.

    Args:
        base_url: Odoo's own, ``web.base.url``.
        token: Empty where it is not to be shown.
        webhook: The mailer's webhook address; may be empty.
    """
    url = _split(base_url)
    lines = [
        "# /etc/odoo-mailer/odoo-mailer.yaml",
        f"host: {_quoted(base_url.rstrip('/'))}",
        f"token: {_quoted(token or PLACE_FOR_TOKEN)}",
    ]
    if url.scheme == "http" and url.hostname not in _LOOPBACK:
        lines.append("insecure: true  # the token crosses the network in clear: use https")
    if listen := _listen(webhook):
        lines.append(f"http: {_quoted(listen)}  # where Odoo calls the webhook")
    lines.append(f"# database: {_quoted(database)}  # Odoo 19, where it serves several databases")
    return "\n".join(lines) + "\n"


def _split(address: str) -> SplitResult:
    """
    Split a web address; an impossible one has no parts, as while it is being typed.
    """
    try:
        url = urlsplit(address)
        return url if url.port != 0 else urlsplit("")
    except ValueError:
        return urlsplit("")


def _listen(webhook: str) -> str:
    """
    Return where to listen for the webhook; empty where that cannot be told from its address.
    """
    url = _split(webhook)
    if url.scheme != "http" or not url.hostname:
        return ""  # with https something else stands in front
    if url.hostname == "localhost":
        host = "127.0.0.1"
    elif url.hostname in _LOOPBACK:
        host = url.hostname
    else:
        host = "::" if ":" in url.hostname else "0.0.0.0"  # noqa: S104
    return f"[{host}]:{url.port or 80}" if ":" in host else f"{host}:{url.port or 80}"


def _quoted(value: str) -> str:
    """
    Return a text as YAML reads it; its double quotes are JSON's.
    """
    return json.dumps(value)
