"""
Odoo's own verdicts on their way into Postfix's log, and to the sender.
"""

import pytest
from installation import Installation
from mail_host import LOCAL, compose
from waiting import eventually

pytestmark = pytest.mark.postfix

ADDRESS = "campaign@example.test"
LATER = {"code": 451, "status": "4.3.2", "text": "not now"}


def test_alias_removed_while_mail_waits(site: Installation) -> None:
    """
    Mail for an alias that went away meets Odoo's refusal, not one of local(8).
    """
    site.add_alias(ADDRESS)
    site.set_verdict(ADDRESS, LATER)
    queue_id = site.send(compose(), [ADDRESS])
    site.postfix.deferred(queue_id)
    del site.aliases[ADDRESS]
    del site.verdicts[ADDRESS]
    site.declare()
    assert site.lookup("aliases", ADDRESS) == "NOTFOUND "
    assert site.lookup("transport", ADDRESS) == "OK lmtp:unix:private/odoo-lmtp"
    (status,) = site.postfix.final(queue_id)
    assert (status.service, status.status, status.dsn) == ("lmtp", "bounced", "5.1.1")
    assert " said: 550 5.1.1 " in status.text
    assert "odoo-lmtp" in status.relay


def test_refused_sender(site: Installation) -> None:
    """
    A sender that Odoo does not take is told so, in Odoo's words.
    """
    text = "only partners may write to this address"
    site.set_verdict("sales@example.test", {"code": 550, "status": "5.7.1", "text": text})
    mail = compose()
    queue_id = site.send(mail, ["sales@example.test"], sender=LOCAL)
    (status,) = site.postfix.final(queue_id)
    assert (status.service, status.status, status.dsn) == ("lmtp", "bounced", "5.7.1")
    assert f"550 5.7.1 {text}" in status.text
    mark = mail.message_id.encode()
    bounce = eventually(
        lambda: [content for content in site.postfix.local_mails() if mark in content], "the bounce"
    )
    assert text.encode() in b" ".join(bounce[0].split())


def test_temporary_verdict(site: Installation) -> None:
    """
    A mail that Odoo puts off stays in the queue until Odoo takes it.
    """
    site.set_verdict("sales@example.test", LATER)
    mail = compose()
    queue_id = site.send(mail, ["sales@example.test"])
    status = site.postfix.deferred(queue_id)
    assert (status.service, status.dsn) == ("lmtp", "4.3.2")
    assert "451 4.3.2 not now" in status.text
    site.verdicts.clear()
    site.declare()
    assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]
    assert len(site.kept(mail)) == 1
