"""
Mail on its whole way: SMTP, Postfix, the daemon, Odoo; and Odoo's own mail on its way back.
"""

from email.utils import parseaddr
from html import unescape

import pytest
from mail_host import LOCAL, Mail, compose, expect
from mail_sink import Sent
from odoo_server import INFO, TASKS
from postfix import DOMAIN, GONE_USER
from waiting import eventually
from whole_site import WholeSite, letter, stranger

pytestmark = pytest.mark.postfix

BOUNCE = f"bounce@{DOMAIN}"
GONE = f"{GONE_USER}@{DOMAIN}"


def test_lead(site: WholeSite) -> None:
    """
    A mail becomes one lead, with its subject, its sender and its text.
    """
    sender = stranger()
    mail = letter("A new roof", to=INFO, sender=sender, body="How much is a roof of 80 m2?")
    assert [(INFO, "sent")] == site.delivered(mail, INFO, sender=sender)
    (lead,) = site.odoo.find("crm.lead", "email_from", name="A new roof")
    (message,) = site.thread(lead["id"])
    assert sender in lead["email_from"]
    assert sender in message["email_from"]
    assert mail.message_id == message["message_id"]
    assert "How much is a roof of 80 m2?" in unescape(message["body"])
    assert [] == site.sink.sent


def test_reply(site: WholeSite) -> None:
    """
    A customer's reply to what Odoo sent joins the lead.
    """
    sender = stranger()
    lead = make_lead(site, "A question", sender)
    sent = write_to_customer(site, lead, sender)
    answer_to = parseaddr(str(sent.message["Reply-To"]))[1]
    references = str(sent.message["Message-Id"]).strip()
    mail = letter(
        "Re: A question",
        f"In-Reply-To: {references}",
        f"References: {references}",
        to=answer_to,
        sender=sender,
        body="Yes, please.",
    )
    assert [(answer_to, "sent")] == site.delivered(mail, answer_to, sender=sender)
    assert [lead] == site.leads("A question")
    assert [] == site.leads("Re: A question")
    message = site.thread(lead)[-1]
    assert mail.message_id == message["message_id"]
    assert "Yes, please." in message["body"]


def test_bounce_of_postfix(site: WholeSite) -> None:
    """
    Mail of Odoo's that Postfix cannot deliver comes back, and Odoo marks it, once.
    """
    lead = make_lead(site, "A dead mailbox", stranger())
    site.odoo.send_through(site.host.postfix.port)
    try:
        partner = customer(site, GONE)
        write(site, lead, partner)
        eventually(lambda: notification(site, partner) == "bounce", "the bounce")
        eventually(lambda: not site.host.postfix.queued(), "the queue to be empty")
    finally:
        site.odoo.send_through(site.sink.port)
    assert 1 == bounces(site, partner)


def test_bounce_delivered_twice(site: WholeSite) -> None:
    """
    The same report of another mail server, sent twice, counts once.
    """
    sender = stranger()
    lead = make_lead(site, "A full mailbox", sender)
    sent = write_to_customer(site, lead, sender)
    report = report_of(sent, sender)
    for _ in range(2):
        assert [(BOUNCE, "sent")] == site.delivered(report, BOUNCE, sender="")
    partner = customer(site, sender)
    assert ("bounce", 1) == (notification(site, partner), bounces(site, partner))


def test_two_aliases(site: WholeSite) -> None:
    """
    A mail for two aliases makes a record for each.
    """
    sender = stranger()
    mail = letter("For both", to=f"{INFO}, {TASKS}", sender=sender)
    fates = site.delivered(mail, INFO, TASKS, sender=sender)
    assert [(INFO, "sent"), (TASKS, "sent")] == fates
    assert (1, 1) == (len(site.leads("For both")), len(site.tasks("For both")))


def test_only_the_envelope_counts(site: WholeSite) -> None:
    """
    An alias that is named in the header, but is no recipient, gets nothing.
    """
    sender = stranger()
    mail = letter("For one", to=f"{INFO}, {TASKS}", sender=sender)
    assert [(INFO, "sent")] == site.delivered(mail, INFO, sender=sender)
    assert (1, 0) == (len(site.leads("For one")), len(site.tasks("For one")))


def test_bcc(site: WholeSite) -> None:
    """
    A recipient that no field of the message names gets it.
    """
    sender = stranger()
    mail = letter("Quietly", to="undisclosed-recipients:;", sender=sender)
    assert [(INFO, "sent")] == site.delivered(mail, INFO, sender=sender)
    assert 1 == len(site.leads("Quietly"))


def test_further_recipient(site: WholeSite) -> None:
    """
    The same message for another alias, in a second transaction, is stored there, too.
    """
    sender = stranger()
    mail = letter("One after the other", to=INFO, sender=sender)
    assert [(INFO, "sent")] == site.delivered(mail, INFO, sender=sender)
    assert [(TASKS, "sent")] == site.delivered(mail, TASKS, sender=sender)
    found = len(site.leads("One after the other")), len(site.tasks("One after the other"))
    assert (1, 1) == found


def test_refused_sender(site: WholeSite) -> None:
    """
    Who may not write to an alias gets one bounce, Postfix's, with Odoo's words.
    """
    words = "Only our partners may write to this address, please call us."
    address = site.alias(
        "partners", alias_contact="partners", alias_bounced_content=f"<p>{words}</p>"
    )
    mails = len(site.odoo.find("mail.mail", "id"))
    mail = letter("Let me in", to=address, sender=LOCAL)
    queue_id = site.host.send(mail, [address], LOCAL)
    (status,) = site.host.postfix.final(queue_id)
    assert ("bounced", "5.7.1") == (status.status, status.dsn)

    def bounced() -> list[bytes]:
        return [one for one in site.host.postfix.local_mails() if mail.message_id.encode() in one]

    (bounce,) = eventually(bounced, "the bounce")
    assert b"550 5.7.1" in bounce
    assert words in " ".join(bounce.decode().split())
    assert [] == site.leads("Let me in")
    assert [] == site.sink.sent
    assert mails == len(site.odoo.find("mail.mail", "id"))


def test_partner_may_write(site: WholeSite) -> None:
    """
    Of the same alias, a partner is welcome.
    """
    address = site.alias("partners-too", alias_contact="partners")
    sender = stranger()
    customer(site, sender)
    mail = letter("Me again", to=address, sender=sender)
    assert [(address, "sent")] == site.delivered(mail, address, sender=sender)
    assert 1 == len(site.leads("Me again"))


def test_one_of_two_refuses(site: WholeSite) -> None:
    """
    A recipient that refuses keeps the mail from no other.
    """
    address = site.alias("partners-only", alias_contact="partners")
    sender = stranger()
    mail = letter("To two", to=f"{INFO}, {address}", sender=sender)
    assert [(INFO, "sent"), (address, "bounced")] == site.delivered(
        mail, INFO, address, sender=sender
    )
    assert 1 == len(site.leads("To two"))
    assert [] == site.sink.sent


def test_unknown_address(site: WholeSite) -> None:
    """
    An address that Odoo does not have is refused at RCPT, by Postfix.
    """
    with site.host.session() as session:
        expect(250, session.mail(stranger()))
        _, text = expect(550, session.rcpt(f"nobody@{DOMAIN}"))
    assert text.startswith(b"5.1.1 ")


def test_same_message_at_smtp_again(site: WholeSite) -> None:
    """
    A message that a client sends again, because it missed the answer, is stored once.
    """
    sender = stranger()
    mail = letter("Sent again", to=INFO, sender=sender)
    for _ in range(3):
        assert [(INFO, "sent")] == site.delivered(mail, INFO, sender=sender)
    assert 1 == len(site.leads("Sent again"))


def test_loop_limit(site: WholeSite) -> None:
    """
    A sender who is over Odoo's limit waits in the queue, and is served when the limit allows.
    """
    sender = stranger()
    before = site.odoo.set_parameter("mail.gateway.loop.threshold", "2")
    try:
        for _ in range(2):
            mail = letter("Too many", to=INFO, sender=sender)
            assert [(INFO, "sent")] == site.delivered(mail, INFO, sender=sender)
        mail = letter("Too many", to=INFO, sender=sender)
        queue_id = site.host.send(mail, [INFO], sender)
        status = site.host.postfix.deferred(queue_id)
        assert "4.7.1" == status.dsn
        assert 2 == len(site.leads("Too many"))
        assert queue_id in site.host.postfix.queued()
    finally:
        site.odoo.set_parameter("mail.gateway.loop.threshold", before)
    assert ["sent"] == [status.status for status in site.host.postfix.final(queue_id)]
    assert 3 == len(site.leads("Too many"))
    assert [] == site.sink.sent


def make_lead(site: WholeSite, subject: str, sender: str) -> int:
    """
    Send a mail and return the lead that it makes.
    """
    assert [(INFO, "sent")] == site.delivered(
        letter(subject, to=INFO, sender=sender), INFO, sender=sender
    )
    (lead,) = site.leads(subject)
    return lead


def customer(site: WholeSite, address: str) -> int:
    """
    Return the partner with this address, made if need be.
    """
    found = site.odoo.find("res.partner", "id", email=address)
    return found[0]["id"] if found else site.odoo.create("res.partner", name="C", email=address)


def write(site: WholeSite, lead: int, partner: int) -> None:
    """
    Have a user of Odoo write to a partner, on a lead.
    """
    site.odoo.call(
        *("crm.lead", "message_post", [lead]),
        body="Shall we come and look?",
        partner_ids=[partner],
        message_type="comment",
        subtype_xmlid="mail.mt_comment",
    )


def write_to_customer(site: WholeSite, lead: int, address: str) -> Sent:
    """
    The same; return what Odoo sent.
    """
    write(site, lead, customer(site, address))
    (sent,) = eventually(lambda: list(site.sink.sent), "Odoo's mail")
    assert (BOUNCE, (address,)) == (sent.sender, sent.recipients)
    return sent


def notification(site: WholeSite, partner: int) -> str:
    """
    Return the state of the one mail that a partner was sent.
    """
    (found,) = site.odoo.find("mail.notification", "notification_status", res_partner_id=partner)
    return str(found["notification_status"])


def bounces(site: WholeSite, partner: int) -> int:
    """
    Return how many bounces Odoo has counted for a partner.
    """
    (found,) = site.odoo.find("res.partner", "message_bounce", id=partner)
    return int(found["message_bounce"])


def report_of(sent: Sent, address: str) -> Mail:
    """
    Return the delivery report of a mail server that could not deliver a mail.
    """
    body = f"""\
--parts
Content-Type: text/plain

I am sorry, the mailbox of {address} is full.
--parts
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.client.test

Final-Recipient: rfc822; {address}
Action: failed
Status: 5.2.2
--parts
Content-Type: text/rfc822-headers

Message-Id: {str(sent.message["Message-Id"]).strip()}
Subject: {sent.message["Subject"]}
--parts--
"""
    return compose(
        b"Subject: Undelivered Mail Returned to Sender",
        f"To: {sent.sender}".encode(),
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="parts"',
        body=body.replace("\n", "\r\n").encode(),
        sender="MAILER-DAEMON@mx.client.test",
    )
