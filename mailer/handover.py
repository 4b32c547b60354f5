"""
A message as one server gets it, and what its answer is for each recipient.
"""

from mailer.lmtp_events import Envelope
from mailer.message import Header, new_beginning
from mailer.odoo import Delivery
from mailer.reply import Reply
from mailer.spool import MessageReader, Spool
from mailer.verdict import Answer, all_replies, replies_for


def make_delivery(
    envelope: Envelope, recipients: tuple[str, ...], header: Header, spool: Spool
) -> Delivery:
    """
    Return a message as it goes to one server.

    Args:
        recipients: Those of this server; none where Odoo is to find them in the header.
    """
    beginning = new_beginning(header, envelope.sender, recipients, spool.digest)
    return Delivery(
        envelope.sender or "",
        recipients,
        spool.digest,
        envelope.queue_id or header.queue_id,
        MessageReader(beginning, spool, header.length),
    )


def replies_to(delivery: Delivery, answer: Answer, marked: bool) -> list[Reply]:
    """
    Return one reply for each recipient, in order; where none is named, those of all recipients
    that Odoo found, at least one.

    Args:
        marked: This server has marked an answer at some time.
    """
    if not delivery.recipients:
        return all_replies(answer, marked)
    replies = replies_for(answer, delivery.recipients, marked)
    return [replies[recipient] for recipient in delivery.recipients]


def same_reply(delivery: Delivery, reply: Reply) -> list[Reply]:
    """
    Return this reply for each recipient.
    """
    return [reply] * (len(delivery.recipients) or 1)
