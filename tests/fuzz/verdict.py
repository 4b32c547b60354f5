"""
Fuzzing the answers of ``/mail_delivery/pipe``: no mail is taken or refused but by Odoo's own word.

The first octet chooses the HTTP status, the second whether there is a mark, now and before; the
rest is the body.
"""

import json
import re
from typing import NamedTuple

from mailer.verdict import Answer, all_replies, replies_for

MAX_LENGTH = 1500  # octets

CODES = [200, 201, 204, 301, 307, 400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 502, 503, 504]
RECIPIENTS = ["a@x", "b@x", "\u00e9@x"]
STATUS = re.compile(r"[245](?:\.(?:0|[1-9][0-9]{0,2})){2}")


class Verdict(NamedTuple):
    """
    What a body says of a recipient, all of it good.
    """

    code: int
    status: str


def verdicts(body):
    """
    Yield each recipient of a body, folded, and its verdict; None for one that is not good.
    """
    try:
        recipients = json.loads(body)["recipients"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    if not isinstance(recipients, dict):
        return
    for address, said in recipients.items():
        yield address.casefold(), verdict(said) if isinstance(said, dict) else None


def verdict(said):
    """
    Return a verdict if all that it says goes together.
    """
    code, status, text = said.get("code"), said.get("status"), said.get("text")
    if type(code) is not int or not isinstance(status, str) or not isinstance(text, str):
        return None
    is_range = code in range(200, 300) or code in range(400, 600)
    if not is_range or not STATUS.fullmatch(status) or status[0] != str(code)[0]:
        return None
    return Verdict(code, status)


def check_reply(reply, answer, marked_before, said):
    """
    Check one reply.

    Args:
        said: The good verdicts of Odoo that it may be.
    """
    assert re.fullmatch(rb"[ -~]{4,512}\r\n", reply.line())
    if not answer.marked or not said:
        is_taken = answer.code == 200 and not answer.marked and not marked_before
        assert reply.code == (250 if is_taken else 451)
        return
    assert (reply.code, reply.status) in said


def check(octets):
    """
    Check the reply to each recipient, and those to a message without any.
    """
    choice, mark, body = octets[:1] or b"\0", octets[1:2] or b"\0", octets[2:]
    answer = Answer(CODES[choice[0] % len(CODES)], bool(mark[0] & 1), body)
    marked_before = bool(mark[0] & 2)
    found = dict(verdicts(body))  # of an address written in two ways the last one counts
    replies = replies_for(answer, RECIPIENTS, marked_before)
    assert RECIPIENTS == list(replies)
    for recipient, reply in replies.items():
        check_reply(reply, answer, marked_before, {found.get(recipient)} - {None})
    every = all_replies(answer, marked_before)
    assert every
    for reply in every:
        check_reply(reply, answer, marked_before, {*found.values()} - {None})
