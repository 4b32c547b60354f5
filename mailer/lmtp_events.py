"""
What an LMTP session tells the server that runs it.
"""

from dataclasses import dataclass

from mailer.alias_table import Match
from mailer.reply import Reply


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    Who sent a message to whom.

    Args:
        sender: Reverse path, empty for the null one; None where it is not known.
        recipients: One for each accepted RCPT, in order; may repeat.
        queue_id: Postfix's, as XFORWARD told it; empty where it did not.
    """

    sender: str | None
    recipients: tuple[Match, ...]
    queue_id: str = ""


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """
    DATA was accepted; message data follows.
    """

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class MessageData:
    """
    Some octets of the message, dots unstuffed.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class MessageDiscarded:
    """
    What was given of this message is of no more use; the session answers by itself.
    """


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """
    A message that was refused has ended; the session has answered.
    """

    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class MessageEnded:
    """
    The message is complete; ``send_replies`` is owed before anything else is read.
    """


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """
    Close the connection after sending what is to send.
    """


Event = (
    MessageStarted | MessageData | MessageDiscarded | MessageRefused | MessageEnded | SessionClosed
)
