"""
Deliveries beside Odoo's own gateway: the same mail makes the same records.
"""

import random

from odoo.tests import tagged

from .common import DeliveryHttpCase, mail, quiet


@tagged("post_install", "-at_install")
class TestAgreement(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        for name in ("info", "sales"):
            self.alias(name)
        self.alias("closed", alias_contact="partners")
        self.alias("any", alias_incoming_local=True, alias_domain_id=False)
        self.alias("block", model="mail.blacklist")
        self.shared = self.partner("Shared", "shared@example.net")
        self.alias("shared", alias_force_thread_id=self.shared.id)
        self.thread = self.partner("A thread", "bob@example.net")
        self.first = self.thread.message_post(body="Hello", message_type="comment")
        # What the gateway makes: a column that tells it, by table. Bounces are no such mail.
        self.made = {
            "res_partner": "SELECT ref FROM res_partner ORDER BY id",
            "mail_blacklist": "SELECT email FROM mail_blacklist ORDER BY id",
            "mail_message": "SELECT res_id::text FROM mail_message"
            " WHERE message_type = 'email' ORDER BY id",
        }

    def state(self):
        """
        Return what there is of all that mail may make.
        """
        self.env.flush_all()
        found = {}
        for table, query in self.made.items():
            self.env.cr.execute(query)
            found[table] = [value for (value,) in self.env.cr.fetchall()]
        return found

    def outcome(self, deliver):
        """
        Return how many records each way of delivery makes, by what they are; undo them then.
        """
        before = self.state()
        savepoint = self.env.cr.savepoint()
        deliver()
        after = self.state()
        savepoint.close(rollback=True)
        self.env.invalidate_all()
        known = {str(self.thread.id), str(self.shared.id)}
        return {
            table: sorted(
                value if table != "mail_message" or value in known else "new"
                for value in values[len(before[table]) :]
            )
            for table, values in after.items()
        }

    @quiet
    def test_same_records_as_by_odoo_itself(self):
        """
        For any recipients a post makes what Odoo makes of a message that was delivered to them.
        """
        chance = random.Random(7)
        names = ("info", "sales", "closed", "any", "block", "shared")
        names += ("catchall", "notifications", "nobody")
        answer = f"In-Reply-To: {self.first.message_id}"
        for number in range(30):
            recipients = [f"{name}@example.com" for name in chance.sample(names, 1 + number % 4)]
            fields = [answer] if chance.random() < 0.4 else []
            delivered = [f"Delivered-To: {recipient}" for recipient in recipients]

            def by_odoo(fields=fields, delivered=delivered):
                message = mail(to="list@example.net", fields=[*delivered, *fields])
                try:
                    self.env["mail.thread"].message_process(None, message)
                except ValueError as error:
                    self.assertIn("No possible route", str(error))

            def by_post(fields=fields, recipients=recipients):
                replies = self.replies(mail(to="list@example.net", fields=fields), *recipients)
                if not fields:  # an answer may take two tries, see test_reply
                    self.assertTrue(all(reply[0] in "25" for reply in replies.values()), replies)

            with self.subTest(recipients, reply=bool(fields)):
                self.assertEqual(self.outcome(by_odoo), self.outcome(by_post))
