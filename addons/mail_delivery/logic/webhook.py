"""
The call that tells a mailer that the list has changed, and what its answer means.
"""

import socket
from dataclasses import dataclass

import requests

TIMEOUT = 2.0  # seconds to connect, and again to answer


@dataclass(frozen=True)
class Mailer:
    """
    Where to call, and with which token.
    """

    url: str
    token: str


def call(mailer: Mailer) -> tuple[bool, str]:
    """
    Have a mailer fetch the list now.

    Returns:
        Whether it said that it does, and a sentence that says what is wrong if it did not.

    Source: odoo-mailer, the webhook of ``daemon`` (POST with an empty body).
    """
    try:
        answer = requests.post(
            mailer.url,
            data=b"",
            headers={"X-Mail-Token": mailer.token},
            timeout=TIMEOUT,
            allow_redirects=False,  # the token would go with it
            stream=True,  # the answer's body is of no interest
        )
        answer.close()
    except requests.exceptions.SSLError:
        return False, "TLS failed: is it https there, with a certificate that is trusted here?"
    except requests.exceptions.Timeout:
        return False, f"No answer within {TIMEOUT:g} s: does a firewall stand between?"
    except requests.exceptions.ConnectionError as error:
        return False, _connection_failed(error)
    except (requests.exceptions.RequestException, ValueError):
        return False, "This is no address that can be called: http://HOST:8000/aliases is expected."
    return answer.status_code == 202, _MEANING.get(answer.status_code, _meaning(answer.status_code))


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
