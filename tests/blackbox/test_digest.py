"""
What stays the same when Postfix tries a mail again, and what does not.
"""

import email
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import policy

import pytest
from fake_odoo import Failure, FakeOdoo
from installation import Installation
from mail_host import Mail, compose
from other_odoo import other_odoo
from waiting import eventually

pytestmark = pytest.mark.postfix

INFO, SALES = "info@example.test", "sales@example.test"
BODY = "Grüße\r\n.\r\n..\r\n".encode() + b"a\nb\rc\0\r\n" + b"x" * 3000 + b"\r\n"


def nameless(mail: Mail) -> Mail:
    """
    Return the mail without its Message-ID.
    """
    lines = mail.content.split(b"\r\n")
    return Mail("", b"\r\n".join(line for line in lines if not line.startswith(b"Message-ID:")))


@contextmanager
def settings(site: Installation, *changes: str) -> Iterator[Callable[..., None]]:
    """
    Change main.cf, and yield a function that changes it further; in the end it is as before.
    """
    main_cf = site.postfix.config / "main.cf"
    before = main_cf.read_text()

    def change(*more: str) -> None:
        if more:
            site.postfix.command("postconf", "-e", *more)
        site.postfix.command("postfix", "reload")

    try:
        change(*changes)
        yield change
    finally:
        main_cf.write_text(before)
        change()


def deferred(site: Installation, odoo: FakeOdoo, mail: Mail) -> str:
    """
    Send a mail to an Odoo that has no verdict; return its queue id after three tries.
    """
    odoo.gate.set()
    odoo.failure = Failure(500)
    queue_id = site.send(mail, [INFO, SALES])
    eventually(lambda: len(odoo.posts) >= 3, "three tries", site.postfix.flush)
    return queue_id


def digests(odoo: FakeOdoo) -> set[str]:
    """
    Return the digests under which mail was delivered.
    """
    return {post["X-Mail-Digest"] for post in odoo.posts}


def message_ids(odoo: FakeOdoo) -> set[str]:
    """
    Return the Message-IDs of what was delivered.
    """
    parsed = [email.message_from_bytes(m, policy=policy.SMTP) for m in odoo.messages]
    return {str(message["Message-ID"]) for message in parsed}


def test_tries(site: Installation) -> None:
    """
    However often Postfix tries, and however it parts the recipients, it is one message.
    """
    with (
        settings(site, "local_header_rewrite_clients=") as change,
        other_odoo(site, INFO, SALES) as (odoo, _),
    ):
        deferred(site, odoo, nameless(compose(body=BODY)))
        change("lmtp_destination_recipient_limit=1", "myhostname=other.example.test")
        recipients = (INFO, SALES)
        eventually(
            lambda: {*recipients} <= {post["X-Mail-Recipients"] for post in odoo.posts},
            "a try with a transaction for each recipient",
            site.postfix.flush,
        )
        odoo.failure = None
        eventually(lambda: not site.postfix.queued(), "the queue to be empty", site.postfix.flush)
    (digest,) = digests(odoo)
    assert {f"<{digest.removeprefix('sha-256=')}@odoo-mailer.invalid>"} == message_ids(odoo)


def test_requeued(site: Installation) -> None:
    """
    A mail that is requeued has another Received field: another digest, but its Message-ID.
    """
    mail = compose(body=BODY)
    with other_odoo(site, INFO, SALES) as (odoo, _):
        queue_id = deferred(site, odoo, mail)
        site.postfix.command("postsuper", "-r", queue_id)
        odoo.failure = None
        eventually(lambda: not site.postfix.queued(), "the queue to be empty", site.postfix.flush)
    assert len(digests(odoo)) == 2
    assert {mail.message_id} == message_ids(odoo)
    assert odoo.posts[0]["X-Mail-Queue-Id"] == queue_id != odoo.posts[-1]["X-Mail-Queue-Id"]
