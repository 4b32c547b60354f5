"""
The error tree: each class says what Postfix, or the administrator, does next.
"""

from dataclasses import dataclass


class MailerError(Exception):
    """
    Whatever odoo-mailer raises on purpose.
    """


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing wrong with a configuration file.

    Args:
        line: Counted from 1; 0 where no line can be named.
        key: Dotted path, ``servers.1.host``; empty for the file itself.
        text: What is wrong and what was expected, without secrets.
    """

    line: int
    key: str
    text: str


class ConfigError(MailerError):
    """
    The configuration cannot be used; the administrator has to mend it.

    Args:
        source: Name of the file, for messages.
        faults: All that was found, at least one, in the order of the file.
    """

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__("\n".join(self._line(fault) for fault in faults))

    def _line(self, fault: Fault) -> str:
        place = f"{self.source}:{fault.line}" if fault.line else self.source
        return ": ".join(part for part in (place, fault.key, fault.text) if part)


class ProtocolError(MailerError):
    """
    A peer sent what its protocol does not allow.
    """


class ListError(ProtocolError):
    """
    A page fetched or posted is not an alias list; the list in force stays.
    """


class TemporaryError(MailerError):
    """
    Not now: the mail stays in Postfix's queue, the list in force stays.
    """


class RefusedError(TemporaryError):
    """
    A list was understood, but dropping so much of the one in force needs a person's word.
    """


class ListenError(MailerError):
    """
    A listening place cannot be had.
    """


class UnreachableError(TemporaryError):
    """
    There is no way to a server: no such name, refused, no connection in time.
    """


class NoAnswerError(UnreachableError):
    """
    A server was reached, but the connection broke or the time ran out before its answer.
    """


class EarlyAnswerError(MailerError):
    """
    A server answered before it had read the whole message; no fault of anyone here.
    """


class TlsError(TemporaryError):
    """
    TLS failed: a wrong name, an untrusted certificate, no common protocol.
    """
