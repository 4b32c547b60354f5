"""
What the tests share: an Odoo with one alias domain, one mailer and no other address.
"""

import email
import email.policy
import itertools
from contextlib import contextmanager
from hashlib import sha256

from odoo.tests import HttpCase, TransactionCase, new_test_user
from odoo.tools import mute_logger

ALLOWED = "mail.catchall.domain.allowed"
PATH = "odoo.addons.mail_delivery"

_numbers = itertools.count(1)

# What refusals and faults leave in the log.
quiet = mute_logger(
    f"{PATH}.delivery",
    f"{PATH}.models.mail_delivery_list",
    "odoo.addons.mail.models.mail_thread",
    "odoo.http",
    "odoo.sql_db",
)


def mail(
    to="info@example.com",
    subject="An order",
    sender="Ann <ann@example.net>",
    message_id="",
    body="Ten of these, please.",
    fields=(),
):
    """
    Return the octets of a message.

    :param message_id: one of its own for each message, where it is not given
    :param fields: further lines of the header
    """
    lines = [
        f"From: {sender}",
        f"To: {to}",
        f"Subject: {subject}",
        f"Message-ID: {message_id or new_message_id()}",
        "Date: Mon, 05 Jan 2026 10:00:00 +0000",
        *fields,
        "",
        body,
        "",
    ]
    return "\r\n".join(lines).encode()


def new_message_id():
    """
    Return a Message-Id that no other message has.
    """
    return f"<{next(_numbers)}.mail.delivery@example.net>"


def report(message_id, failed="bob@example.net", to="bounce@example.com"):
    """
    Return the octets of a delivery report about a message.
    """
    return f"""From: Mail Delivery System <postmaster@example.net>
To: {to}
Subject: Undelivered Mail Returned to Sender
Message-ID: {new_message_id()}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="cut"

--cut
Content-Type: text/plain

There is no such mailbox.

--cut
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; {failed}
Action: failed
Status: 5.1.1

--cut
Content-Type: text/rfc822-headers

From: sales@example.com
To: {failed}
Message-ID: {message_id}

--cut--
""".replace("\n", "\r\n").encode()


def drop_as_newer_builds_do(gateway, _model, message, **_options):
    """
    Stand in for message_process while another transaction has the Message-Id: parse, and no more.
    """
    gateway.message_parse(email.message_from_bytes(message, policy=email.policy.SMTP))
    return False


class AddressesMixin:
    """
    The alias domain example.com, and a mailer; what other addresses there were is gone.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["mail.alias"].search([]).write({"alias_name": False, "alias_domain_id": False})
        domains = cls.env["mail.alias.domain"].search([])
        domains.company_ids.alias_domain_id = False
        domains.unlink()
        cls.env["ir.config_parameter"].set_param(ALLOWED, False)
        cls.domain = cls.env["mail.alias.domain"].create({"name": "example.com"})
        cls.mailer = cls.env["mail_delivery.mailer"].create({"name": "mail.example.com"})
        cls.token = cls.mailer._new_token()
        cls.env.flush_all()

    def alias(self, name, model="res.partner", **values):
        """
        Make an alias; the records of its mail have its name as their reference.
        """
        return self.env["mail.alias"].create(
            {
                "alias_name": name,
                "alias_model_id": self.env["ir.model"]._get_id(model),
                "alias_domain_id": self.domain.id,
                "alias_defaults": repr({"ref": name}) if model == "res.partner" else "{}",
                **values,
            }
        )

    def partner(self, name, email, **values):
        """
        Make a partner.
        """
        return self.env["res.partner"].create({"name": name, "email": email, **values})

    def user(self, name, group):
        """
        Make a user of a group of base, to whom nothing is mailed.
        """
        return new_test_user(
            self.env,
            f"delivery.{name}",
            groups=f"base.{group}",
            context={"no_reset_password": True},
        )

    @contextmanager
    def fails_with(self, *errors):
        """
        Check that one of these errors is raised; what was done until then is undone.
        """
        try:
            with self.env.cr.savepoint():
                yield
        except errors:
            return
        self.fail(f"none of {errors} was raised")

    def records(self, subject="An order"):
        """
        Return what was made of mail with this subject.
        """
        return self.env["res.partner"].search([("name", "=", subject)], order="id")

    def stored(self, subject="An order"):
        """
        Return the references of what was made of mail with this subject: whose mail it was.
        """
        return sorted(self.records(subject).mapped(lambda record: record.ref or ""))

    def receipt(self, recipient):
        """
        Return the receipts for an address.
        """
        return self.env["mail_delivery.receipt"].search([("recipient", "=", recipient)])

    def counts(self):
        """
        Return how many rows there are of all that mail may leave behind.
        """
        tables = ("res_partner", "mail_message", "mail_notification", "mail_followers")
        query = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
        self.env.flush_all()
        self.env.cr.execute(f"SELECT {query}")
        return dict(zip(tables, self.env.cr.fetchone(), strict=True))

    def mails_made(self):
        """
        Return how many outgoing mails were ever made, those deleted or rolled back as well.
        """
        self.env.cr.execute("SELECT last_value, is_called FROM mail_mail_id_seq")
        return self.env.cr.fetchone()

    @contextmanager
    def leaves_nothing(self):
        """
        Check that nothing is stored, and that Odoo mails nobody.
        """
        counts, mails = self.counts(), self.mails_made()
        yield
        self.assertEqual(mails, self.mails_made())
        self.assertEqual(counts, self.counts())


class DeliveryCase(AddressesMixin, TransactionCase):
    """
    Tests that need no HTTP.
    """


class DeliveryHttpCase(AddressesMixin, HttpCase):
    """
    Tests that ask as a mailer does.
    """

    def call(self, method, path, data=None, **headers):
        """
        Ask one of the API points, with the token unless the headers have another.

        :param headers: with underscores for hyphens; None leaves one out
        """
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.opener.request(
            method,
            f"{self.base_url()}/mail_delivery/{path}",
            data=data,
            headers={"X-Mail-Token": self.token, **given},
            timeout=30,
            allow_redirects=False,
        )
        self.env.invalidate_all()
        return answer

    def pipe(self, message, *recipients, sender="ann@example.net", **headers):
        """
        Post a message, as odoo-mailer does, and return the answer.
        """
        envelope = {
            "Content_Type": "message/rfc822",
            "X_Mail_Sender": sender,
            "X_Mail_Recipients": ", ".join(recipients) or None,
            "X_Mail_Digest": f"sha-256={sha256(message).hexdigest()}",
            "X_Mail_Queue_Id": "4bXyZ12345",
        }
        return self.call("POST", "pipe", message, **{**envelope, **headers})

    def post(self, message, *recipients, **headers):
        """
        Post a message, and return the verdicts by recipient.
        """
        answer = self.pipe(message, *recipients, **headers)
        self.assertEqual((200, "1"), (answer.status_code, answer.headers.get("X-Mail-Delivery")))
        return answer.json()["recipients"]

    def replies(self, message, *recipients, **headers):
        """
        Post a message, and return code and status by local part.
        """
        verdicts = self.post(message, *recipients, **headers)
        return {
            recipient.partition("@")[0]: f"{verdict['code']} {verdict['status']}"
            for recipient, verdict in verdicts.items()
        }
