"""
What becomes of a message.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from mailer.verdict import Answer, replies_for

OK = (250, "2.0.0")
UNKNOWN = (550, "5.1.1")

ODD = [
    pytest.param(b"caf\xe9\r\n", id="8-bit"),
    pytest.param(bytes(range(256)) + b"\r\n", id="every octet"),
    pytest.param(b"a\x00b\r\n", id="NUL"),
    pytest.param(b"bare\nand\rends\r\n.\r\n..\r\n", id="line ends and dots"),
    pytest.param(b"no end", id="no last line end"),
    pytest.param(b"a" * 70_000 + b"\r\n", id="long line"),
]


def test_known_address_is_250(odoo):
    """
    Mail for a known address is taken.
    """
    message = odoo.message(odoo.address)

    assert odoo.pipe(message, odoo.address).verdicts() == {odoo.address: OK}


def test_unknown_address_is_550(odoo):
    """
    Mail for an unknown address is refused for good.
    """
    nobody = odoo.nobody()

    assert odoo.pipe(odoo.message(nobody), nobody).verdicts() == {nobody: UNKNOWN}


def test_daemon_understands_the_answer(odoo):
    """
    The daemon takes each verdict for what it is.
    """
    nobody = odoo.nobody()
    answer = odoo.pipe(odoo.message(odoo.address, nobody), odoo.address, nobody)
    given = Answer(answer.code, answer.marked, answer.body)
    replies = replies_for(given, [odoo.address, nobody], marked_before=True)

    assert {address: (r.code, r.status) for address, r in replies.items()} == {
        odoo.address: OK,
        nobody: UNKNOWN,
    }


def test_each_recipient_has_a_verdict(odoo, other):
    """
    One POST for several recipients brings a verdict for each of them.
    """
    recipients = [odoo.nobody(), odoo.address, odoo.nobody(), other]
    verdicts = odoo.pipe(odoo.message(*recipients), *recipients).verdicts()

    assert verdicts == dict(zip(recipients, [UNKNOWN, OK, UNKNOWN, OK], strict=True))


def test_only_known_recipients_have_a_copy(odoo, other, mails):
    """
    A message is stored for those who were answered 250.
    """
    recipients = [odoo.nobody(), odoo.address, other]
    message = odoo.message(*recipients)
    odoo.pipe(message, *recipients)

    assert [address for address, _ in mails.copies(message)] == sorted([odoo.address, other])


def test_same_post_has_the_same_verdicts(odoo):
    """
    Another try is answered as the first one was.
    """
    recipients = [odoo.nobody(), odoo.address]
    message = odoo.message(*recipients)
    first = odoo.pipe(message, *recipients).verdicts()

    assert first == {recipients[0]: UNKNOWN, odoo.address: OK}
    for _ in range(3):
        assert odoo.pipe(message, *recipients).verdicts() == first


def test_same_post_stores_nothing_more(odoo, mails):
    """
    However often a message is tried, there is one copy of it.
    """
    message = odoo.message(odoo.address)
    for _ in range(3):
        odoo.pipe(message, odoo.address)

    assert mails.copies(message) == [(odoo.address, message.octets)]


def test_other_message_is_stored(odoo, mails):
    """
    Messages with the same body are two.
    """
    for message in (odoo.message(odoo.address), odoo.message(odoo.address)):
        odoo.pipe(message, odoo.address)

        assert len(mails.copies(message)) == 1


def test_further_recipient_is_250(odoo, other):
    """
    A digest that one recipient has is not yet delivered to another.
    """
    message = odoo.message(odoo.address)

    assert odoo.pipe(message, odoo.address).verdicts() == {odoo.address: OK}
    assert odoo.pipe(message, other).verdicts() == {other: OK}
    assert odoo.pipe(message, odoo.address, other).verdicts() == {odoo.address: OK, other: OK}


def test_further_recipient_is_stored(odoo, other, mails):
    """
    Each recipient of a digest has one copy, in whatever transactions they came.
    """
    message = odoo.message(odoo.address)
    odoo.pipe(message, odoo.address)
    odoo.pipe(message, odoo.address, other)
    odoo.pipe(message, other)

    assert [address for address, _ in mails.copies(message)] == sorted([odoo.address, other])


@pytest.mark.parametrize("body", ODD)
def test_odd_octets_are_250(odoo, body):
    """
    No octets in a body are too odd to be taken.
    """
    message = odoo.message(odoo.address, body=body)

    assert odoo.pipe(message, odoo.address).verdicts() == {odoo.address: OK}


@pytest.mark.parametrize("body", ODD)
def test_octets_arrive_exactly(odoo, mails, body):
    """
    Every octet is stored as it was posted.
    """
    message = odoo.message(odoo.address, body=body)
    odoo.pipe(message, odoo.address)

    assert mails.copies(message) == [(odoo.address, message.octets)]


def test_five_megabytes_are_250(odoo):
    """
    A large message is taken.
    """
    message = odoo.message(odoo.address, body=b"a line of text, 32 octets long\r\n" * 163_840)

    assert odoo.pipe(message, odoo.address).verdicts() == {odoo.address: OK}


def test_five_megabytes_arrive_exactly(odoo, mails):
    """
    A large message is stored in whole.
    """
    message = odoo.message(odoo.address, body=bytes(range(256)) * 20_480)
    odoo.pipe(message, odoo.address)

    assert mails.copies(message) == [(odoo.address, message.octets)]


def at_once(odoo, message):
    """
    Post a message eight times at once, each until the answer is final.
    """
    with ThreadPoolExecutor(8) as threads:
        tries = [threads.submit(odoo.pipe_until_final, message, odoo.address) for _ in range(8)]
        return [one.result() for one in tries]


def test_identical_posts_at_once_are_250(odoo):
    """
    Of identical POSTs at once, none is refused for good, and all end in 250.
    """
    for answers in at_once(odoo, odoo.message(odoo.address)):
        assert answers[-1].verdicts() == {odoo.address: OK}


def test_identical_posts_at_once_store_one_copy(odoo, mails):
    """
    Of identical POSTs at once, one is stored, and no other has to be tried again.
    """
    message = odoo.message(odoo.address)
    answers = at_once(odoo, message)

    assert [len(tries) for tries in answers] == [1] * 8
    assert mails.copies(message) == [(odoo.address, message.octets)]
