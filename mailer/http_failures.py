"""
What an answer that was not expected means, in an administrator's words.
"""

from mailer.http_exchange import Response


def explained(response: Response) -> str:
    """
    Return what a refusal most likely means to an administrator.
    """
    match response.code:
        case 401 | 403:
            return f"HTTP {response.code}, Odoo does not accept the token"
        case 404 | 405:
            return (
                f"HTTP {response.code}, mail_delivery is not there: "
                "is the addon installed, and is this the right host and database?"
            )
        case code if 300 <= code <= 399:
            location = (response.field("Location") or "")[:200]
            return f"HTTP {code}, a redirect to {location!r}; not followed"
        case 502 | 503 | 504:
            return f"HTTP {response.code}, Odoo does not answer the proxy before it"
        case code:
            return f"HTTP {code}"
