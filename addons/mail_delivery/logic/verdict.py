"""
What Odoo made of a message, and the reply that each recipient gets for it.

An outcome is permanent (550) only where Odoo itself decided so; whatever is
not understood is ``failed``, which leaves the mail in Postfix's queue.
"""

import re
import unicodedata
from dataclasses import dataclass
from email.errors import MessageError

MAX_TEXT = 400  # octets of a reply text; LMTP allows 512 a line, RFC 5321 4.5.3.1.5


@dataclass(frozen=True)
class Verdict:
    """
    A reply of RFC 5321 with the status of RFC 3463.

    Args:
        text: One line of printable ASCII.
    """

    code: int
    status: str
    text: str

    def as_json(self) -> dict[str, int | str]:
        """
        Return it as ``/mail_delivery/pipe`` answers it.
        """
        return {"code": self.code, "status": self.status, "text": self.text}

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.text}"


VERDICTS = {
    "stored": Verdict(250, "2.0.0", "stored in Odoo"),
    "duplicate": Verdict(250, "2.0.0", "Odoo has this message already"),
    "processed": Verdict(250, "2.0.0", "delivery report processed by Odoo"),
    "refused": Verdict(550, "5.7.1", "Odoo takes no mail from this sender for this address"),
    "unknown": Verdict(550, "5.1.1", "Odoo has no such address for new mail"),
    "unparsable": Verdict(550, "5.6.0", "Odoo cannot read this message"),
    "loop_notice": Verdict(550, "5.4.6", "this answers an automatic notice of Odoo"),
    "loop": Verdict(451, "4.7.1", "too much mail from this sender, Odoo will take it later"),
    "failed": Verdict(451, "4.3.0", "Odoo failed to store this message, see its receipt there"),
    "busy": Verdict(451, "4.3.2", "Odoo is busy with this message, try again"),
}

# Answered 250: such a receipt is never delivered again.
DELIVERED = frozenset({"stored", "duplicate", "processed"})


def verdict_of(outcome: str, text: str = "") -> Verdict:
    """
    Return the verdict for an outcome, with a text of its own where there is one.
    """
    verdict = VERDICTS[outcome]
    return Verdict(verdict.code, verdict.status, one_line(text) or verdict.text)


def one_line(text: str) -> str:
    """
    Return the text as one line of printable ASCII, without accents.
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    line = " ".join(re.sub(r"[^!-~]+", " ", plain.replace("\u2019", "'")).split())
    return line[:MAX_TEXT].rstrip()


def storable(text: str) -> str:
    """
    Return the text without what PostgreSQL cannot store: NUL and lone surrogates.
    """
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def is_content_fault(error: BaseException, parsing: bool) -> bool:
    """
    Say whether an error lies in the octets of the message, so that no other try will do.

    Unknown charsets and undecodable text count only while the message was
    parsed; elsewhere they may come from any record. Text that PostgreSQL
    cannot store counts everywhere: NUL, and lone surrogates.
    """
    if isinstance(error, UnicodeEncodeError):
        return error.reason == "surrogates not allowed"
    if isinstance(error, ValueError) and "cannot contain NUL" in str(error):
        return True
    # Not its subclasses, IndexError and KeyError, which are faults of a program.
    unknown_charset = type(error) is LookupError
    return parsing and (unknown_charset or isinstance(error, UnicodeError | MessageError))


def is_no_route(error: ValueError) -> bool:
    """
    Say whether Odoo found no route, by its text, which is not translated.
    """
    return str(error).startswith("No possible route found")
