"""
LMTP replies, and what they mean to pipe(8).

Source: RFC 5321 4.2, RFC 2033 5, RFC 3463 (enhanced status codes), sysexits(3).
"""

import os
import re
from dataclasses import dataclass, field

MAX_TEXT = 500  # octets: RFC 5321 4.5.3.1.5 allows 512 for the whole line

_STATUS = re.compile(r"([245])\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})")


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One reply line.

    Args:
        code: 200 to 599.
        status: Enhanced code, ``2.1.5``, of the code's own class; empty only
            for greetings and 354, which have none.
        text: One line; made printable ASCII of at most 500 octets here.

    Raises:
        ValueError: The code is out of range or the status contradicts it.
    """

    code: int
    status: str
    text: str
    _line: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"reply code {self.code} is not 200 to 599")
        if self.status:
            match = _STATUS.fullmatch(self.status)
            if match is None or match[1] != str(self.code)[0]:
                raise ValueError(f"status {self.status!r} does not go with code {self.code}")
        object.__setattr__(self, "text", printable(self.text))
        object.__setattr__(self, "_line", f"{self}\r\n".encode("ascii"))

    @property
    def is_success(self) -> bool:
        """The recipient is taken care of."""
        return self.code < 300

    @property
    def is_permanent(self) -> bool:
        """Postfix will bounce."""
        return self.code >= 500

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.status, self.text) if part)

    def line(self) -> bytes:
        """
        Return the reply as it goes over the wire, CRLF included.
        """
        return self._line


def printable(text: str) -> str:
    """
    Return the text as one line of printable ASCII, at most 500 octets.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())[:MAX_TEXT]
    words = "".join(c if " " < c <= "~" else " " if c.isspace() else "?" for c in text)
    return " ".join(words.split())[:MAX_TEXT]


def exit_status(reply: Reply) -> int:
    """
    Return the sysexits(3) value that tells pipe(8) the same as the reply.
    """
    if reply.is_success:
        return os.EX_OK
    if not reply.is_permanent:
        return os.EX_TEMPFAIL
    if reply.status.startswith("5.1."):
        return os.EX_NOUSER
    if reply.status.startswith("5.6."):
        return os.EX_DATAERR
    if reply.status.startswith("5.7."):
        return os.EX_NOPERM
    return os.EX_UNAVAILABLE


SENDER_OK_250 = Reply(250, "2.1.0", "Sender ok")
RECIPIENT_OK_250 = Reply(250, "2.1.5", "Recipient ok")
OK_250 = Reply(250, "2.0.0", "Ok")
BYE_221 = Reply(221, "2.0.0", "Bye")
CANNOT_VERIFY_252 = Reply(252, "2.0.0", "Cannot verify, try RCPT")
START_DATA_354 = Reply(354, "", "End data with <CR><LF>.<CR><LF>")

TIMEOUT_421 = Reply(421, "4.4.2", "Timeout, closing connection")
SHUTTING_DOWN_421 = Reply(421, "4.3.2", "Shutting down, try again")
TOO_MANY_CONNECTIONS_421 = Reply(421, "4.3.2", "Too many connections, try again later")
TOO_MANY_ERRORS_421 = Reply(421, "4.7.0", "Too many errors, closing connection")

NO_LIST_451 = Reply(451, "4.3.0", "The alias list is not loaded yet")
LOCAL_ERROR_451 = Reply(451, "4.3.0", "Local error, try again later")
NOT_UNDERSTOOD_451 = Reply(451, "4.3.0", "Odoo gave no answer that could be understood")
BUSY_451 = Reply(451, "4.3.2", "Odoo is busy, try again later")
BODY_LIMIT_451 = Reply(451, "4.3.4", "A proxy before Odoo refuses a message of this size")
NOT_FOUND_451 = Reply(451, "4.3.5", "Odoo's mail_delivery was not found where it should be")
UNREACHABLE_451 = Reply(451, "4.4.1", "Odoo cannot be reached")
TOKEN_REFUSED_451 = Reply(451, "4.7.0", "Odoo does not accept the token of this mail host")
TLS_FAILED_451 = Reply(451, "4.7.5", "TLS to Odoo failed")
TOO_MANY_RECIPIENTS_452 = Reply(452, "4.5.3", "Too many recipients")

LINE_TOO_LONG_500 = Reply(500, "5.5.2", "Line too long")
UNKNOWN_COMMAND_500 = Reply(500, "5.5.2", "Unknown command")
USE_LHLO_500 = Reply(500, "5.5.1", "This is LMTP, say LHLO")
BAD_SYNTAX_501 = Reply(501, "5.5.4", "Syntax error in parameters")
BAD_ADDRESS_501 = Reply(501, "5.1.3", "Syntax error in address")
NOT_IMPLEMENTED_502 = Reply(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE_503 = Reply(503, "5.5.1", "Bad sequence of commands")
NO_RECIPIENTS_503 = Reply(503, "5.5.1", "No valid recipients")
UNKNOWN_RECIPIENT_550 = Reply(550, "5.1.1", "No such address in Odoo")
MESSAGE_TOO_LARGE_552 = Reply(552, "5.3.4", "Message is larger than allowed here")
MAIL_LOOP_554 = Reply(554, "5.4.6", "Mail loop: already delivered to this address")
UNKNOWN_PARAMETER_555 = Reply(555, "5.5.4", "Unknown parameter")
