"""
Odoo or its database is away, or many come at once: nothing is lost, and nothing is doubled.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from odoo_server import INFO
from waiting import eventually
from whole_site import WholeSite, letter, stranger

pytestmark = pytest.mark.postfix


def test_odoo_stopped(site: WholeSite) -> None:
    """
    While Odoo is stopped mail waits; when it is back there is one lead.
    """
    sender = stranger()
    mail = letter("While you were out", to=INFO, sender=sender)
    site.odoo.stop()
    queue_id = site.host.send(mail, [INFO], sender)
    assert "4.4.1" == site.host.postfix.deferred(queue_id).dsn
    assert queue_id in site.host.postfix.queued()
    site.odoo.start()
    assert ["sent"] == [status.status for status in site.host.postfix.final(queue_id)]
    assert 1 == len(site.leads("While you were out"))


def test_database_connections_lost(site: WholeSite) -> None:
    """
    After PostgreSQL has dropped all connections, mail arrives, once.
    """
    sender = stranger()
    mail = letter("After the restart", to=INFO, sender=sender)
    site.odoo.database.disconnect()
    assert [(INFO, "sent")] == site.delivered(mail, INFO, sender=sender)
    assert 1 == len(site.leads("After the restart"))


def test_burst(site: WholeSite) -> None:
    """
    Many mails at once make one lead each, none of them a second one.
    """
    mails = [letter("In a hurry", to=INFO, sender=stranger()) for _ in range(24)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda mail: site.host.send(mail, [INFO], stranger()), mails))
    queue = site.host.postfix
    eventually(lambda: not queue.queued(), "the queue to be empty", queue.flush, deadline=120)
    stored = [site.thread(lead)[0]["message_id"] for lead in site.leads("In a hurry")]
    assert sorted(mail.message_id for mail in mails) == sorted(stored)


def test_same_message_at_once(site: WholeSite) -> None:
    """
    Of the same message eight times at once there is one lead, and all eight are answered 250.
    """
    for number in range(5):
        sender, subject = stranger(), f"All at once {number}"
        mail = letter(subject, to=INFO, sender=sender)
        with ThreadPoolExecutor(8) as threads:
            answers = threads.map(
                lambda _, mail=mail, sender=sender: site.api.pipe(mail.content, [INFO], sender),
                range(8),
            )
            codes = [answer.codes() for answer in answers]
        assert [{INFO: 250}] * 8 == codes
        assert 1 == len(site.leads(subject))
