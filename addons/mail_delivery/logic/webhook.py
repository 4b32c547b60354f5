"""
The call that tells a mailer that the list has changed, or how, and what its answer means.
"""

import socket
from dataclasses import dataclass

import requests

from .list_version import PATCH_TYPE, Patch

TIMEOUT = 2.0  # seconds to connect, and again to answer


@dataclass(frozen=True)
class Mailer:
    """
    Where to call, and with which token.

    Args:
        id: Of its record.
        patch: What turns the list that it has into the present one, if that is known.
    """

    url: str
    token: str
    id: int = 0
    patch: Patch | None = None


def call(mailer: Mailer) -> tuple[bool, str]:
    """
    Have a mailer fetch the list now.

    Returns:
        Whether it said that it does, and a sentence that says what is wrong if it did not.

    Source: odoo-mailer, the webhook of ``daemon`` (POST with an empty body).
    """
    try:
        code = _post(mailer, b"")
    except requests.exceptions.SSLError:
        return False, "TLS failed: is it https there, with a certificate that is trusted here?"
    except requests.exceptions.Timeout:
        return False, f"No answer within {TIMEOUT:g} s: does a firewall stand between?"
    except requests.exceptions.ConnectionError as error:
        return False, _connection_failed(error)
    except (requests.exceptions.RequestException, ValueError):
        return False, "This is no address that can be called: http://HOST:8000/aliases is expected."
    return code == 202, _MEANING.get(code, _meaning(code))


def send(mailer: Mailer, patch: Patch) -> int:
    """
    Have a mailer apply a patch to the list that it has.

    Returns:
        The status: 200 if it has the new list now, 202 if it had another one and
        fetches; 0 if there was no answer. Anything else asks for a call without a body.

    Source: odoo-mailer, the webhook of ``daemon``; older ones answer 415.
    """
    headers = {
        "Content-Type": PATCH_TYPE,
        "Delta-Base": f'"{patch.base}"',
        "ETag": f'"{patch.etag}"',
    }
    try:
        return _post(mailer, patch.body, headers)
    except (requests.exceptions.RequestException, ValueError):
        return 0


def _post(mailer: Mailer, body: bytes, headers: dict[str, str] | None = None) -> int:
    answer = requests.post(
        mailer.url,
        data=body,
        headers={"X-Mail-Token": mailer.token, **(headers or {})},
        timeout=TIMEOUT,
        allow_redirects=False,  # the token would go with it
        stream=True,  # the answer's body is of no interest
    )
    answer.close()
    return answer.status_code


_MEANING = {
    202: "It answered, and fetches the list.",
    401: "It does not know this token: put the token into its odoo-mailer.yaml and reload it.",
    404: "It does not serve this path: /aliases is expected, unless it was started with -p.",
    405: "What answered is no odoo-mailer: the call is not allowed there.",
}


def _meaning(code: int) -> str:
    if 300 <= code <= 399:
        return f"It redirects (HTTP {code}), which is not followed: write where it leads to."
    return f"It answered HTTP {code}, where 202 is expected: is this odoo-mailer?"


def _connection_failed(error: BaseException | None) -> str:
    """
    Say why there was no connection, by the operating system's error beneath.
    """
    while error is not None:
        if isinstance(error, socket.gaierror):
            return "The name of the host cannot be resolved."
        if isinstance(error, ConnectionRefusedError):
            return "Nothing listens there: is http in odoo-mailer.yaml a place that Odoo reaches?"
        error = error.__cause__ or error.__context__
    return "There is no connection: is the host up, and reachable from Odoo?"
