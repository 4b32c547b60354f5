"""
What follows from the seed.
"""

import itertools
import random

from deck import Deck
from messages import (
    LARGEST,
    SMALLEST,
    SPOOLED,
    content_of,
    mailboxes_of,
    messages_of,
    plan_large,
    trace_of,
)


def test_deck():
    """
    Each pass has every card once, and the blanks; the next pass has another order.
    """
    deck = Deck(random.Random(1), "abcdefgh", 4)
    passes = [[deck.draw() for _ in range(12)] for _ in range(2)]
    wanted = sorted([*"abcdefgh", *[None] * 4], key=str)
    assert [sorted(one, key=str) for one in passes] == [wanted, wanted]
    assert passes[0] != passes[1]


def test_card_put_back():
    """
    A card that had no effect comes again in the same pass, not at once.
    """
    deck = Deck(random.Random(1), "abcdefgh")
    card = deck.draw()
    deck.put_back(card)
    assert [deck.draw() for _ in range(8)].index(card) == 2


def planned(seed, client=0, count=400):
    """
    Return the first messages of a client.
    """
    return list(itertools.islice(messages_of(seed, client, 1.0), count))


def test_same_seed_same_messages():
    """
    A run can be repeated.
    """
    assert planned("s") == planned("s")
    assert planned("s") != planned("t")
    assert planned("s") != planned("s", client=1)


def test_every_kind_of_message():
    """
    All sizes, bodies and ends of a session occur.
    """
    messages = [message for client in range(8) for message in planned("s", client)]
    assert {len(message.recipients) for message in messages} == {1, 2, 3, 4, 5}
    assert {message.hang_up for message in messages} == {"", "data", "after"}
    assert any(message.repeated != message.trace for message in messages)
    for flag in ("sender", "has_message_id", "is_8bit", "has_dots"):
        assert {bool(getattr(message, flag)) for message in messages} == {True, False}
    sizes = [message.size for message in messages]
    assert SMALLEST <= min(sizes) < 2 * SMALLEST
    assert SPOOLED < max(sizes) <= LARGEST


def test_no_mailbox_twice():
    """
    No two recipients of a message lead to one mailbox, so that every copy can be told.
    """
    for message in planned("s"):
        mailboxes = [box for name in message.recipients for box in mailboxes_of(name)]
        assert len(mailboxes) == len(set(mailboxes))


def test_content():
    """
    A message has its size and its trace, whole lines, and is the same each time.
    """
    for message in (*planned("s", count=60), plan_large("s", 8, 0)):
        content = content_of("s", message)
        assert content == content_of("s", message)
        assert trace_of(content) == message.trace
        assert content.endswith(b"\r\n")
        assert content.count(b"\n") == content.count(b"\r") == content.count(b"\r\n")
        assert max(map(len, content.split(b"\r\n"))) <= 200
        if message.size > 1000:
            assert abs(len(content) - message.size) < 0.1 * message.size


def test_repeated_content():
    """
    A repetition differs from what it repeats in sender and trace alone.
    """
    messages = planned("s")
    first = {message.trace: message for message in messages}
    again = next(m for m in messages if m.repeated != m.trace and m.has_message_id)
    original = first[again.repeated]
    lines = set(content_of("s", again).split(b"\r\n"))
    other = lines - set(content_of("s", original).split(b"\r\n"))
    assert {line.partition(b":")[0] for line in other} <= {b"From", b"X-Campaign-Trace"}
