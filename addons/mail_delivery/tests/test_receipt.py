"""
Receipts: what an administrator sees of a delivery, and can do about it.
"""

import base64
from hashlib import sha256
from unittest.mock import patch

from odoo import api
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from .common import (
    DeliveryHttpCase,
    drop_as_newer_builds_do,
    mail,
    new_message_id,
    quiet,
)


class ReceiptCase(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.alias("info")

    def replay(self, receipt, user=None):
        """
        Press the button, in a transaction of its own as the client does.
        """
        self.env.flush_all()
        with self.registry.cursor() as cr:
            env = api.Environment(cr, (user or self.env.user).id, {})
            shown = env[receipt._name].browse(receipt.id).action_replay()
        self.env.invalidate_all()
        return shown["params"]


@tagged("post_install", "-at_install")
class TestReceipt(ReceiptCase):
    def test_fields_of_mail_that_was_stored(self):
        """
        A receipt says what came from whom, for whom, and what became of it; no message is kept.
        """
        message_id = new_message_id()
        message = mail(message_id=message_id)
        self.post(message, "Info@example.com", sender="envelope@example.net")
        receipt = self.receipt("info@example.com")
        expected = {
            "digest": sha256(message).hexdigest(),
            "sender": "envelope@example.net",
            "outcome": "stored",
            "reply": "250 2.0.0 stored in Odoo",
            "subject": "An order",
            "message_id": message_id,
            "queue_id": "4bXyZ12345",
            "tries": 1,
            "res_model": "res.partner",
            "res_id": self.records().id,
            "record_name": "An order",
            "message": False,
            "has_message": False,
        }
        self.assertEqual(expected, {name: receipt[name] for name in expected})
        self.assertFalse(receipt.detail)
        self.assertEqual(self.mailer, receipt.mailer_id)
        self.assertTrue(receipt.date)
        self.assertTrue(receipt.create_date)

    @quiet
    def test_fields_of_mail_that_was_refused(self):
        """
        The receipt of refused mail keeps the message, to read and to replay.
        """
        message = mail(subject="Größe".encode().decode("latin-1"))
        self.post(message, "nobody@example.com", sender="")
        receipt = self.receipt("nobody@example.com")
        self.assertEqual("unknown", receipt.outcome)
        self.assertTrue(receipt.reply.startswith("550 5.1.1 "))
        self.assertEqual((False, False), (receipt.res_model, receipt.res_id))
        self.assertFalse(receipt.sender)
        kept = base64.b64decode(receipt.with_context(bin_size=False).message)
        self.assertEqual(message, kept)
        self.assertEqual(f"{receipt.digest[:16]}.eml", receipt.message_name)

    @quiet
    def test_reason(self):
        """
        The receipt of mail that was not stored tells the administrator why.
        """
        self.alias("closed", alias_contact="partners")
        self.alias("broken", alias_defaults="{'type': 'nonsense'}")
        names = ("nobody", "catchall", "closed", "broken")
        for name in names:
            self.post(mail(), f"{name}@example.com")
        reasons = {name: self.receipt(f"{name}@example.com").detail for name in names}
        self.assertEqual(len(names), len(set(reasons.values())))
        self.assertIn("closed@example.com", reasons["closed"])
        self.assertIn("nonsense", reasons["broken"])
        self.assertTrue(reasons["nobody"])

    @quiet
    def test_odd_envelope(self):
        """
        Octets that are no UTF-8 and a long queue id do not keep a receipt from being written.
        """
        self.post(
            mail(),
            "info@example.com",
            X_Mail_Sender=b"schr\xf6der@example.net",
            X_Mail_Queue_Id="4" * 100,
        )
        receipt = self.receipt("info@example.com")
        self.assertIn("der@example.net", receipt.sender)
        self.assertTrue(receipt.queue_id)

    @quiet
    def test_search(self):
        """
        Receipts are found by address, digest, queue id, Message-Id and subject.
        """
        message_id = new_message_id()
        message = mail(message_id=message_id)
        self.post(message, "info@example.com", sender="envelope@example.net")
        self.post(mail(subject="Other"), "nobody@example.com", X_Mail_Queue_Id="OTHER")
        receipt = self.receipt("info@example.com")
        arch = self.env[receipt._name].get_view(view_type="search")["arch"]
        self.assertIn("'|', ('recipient', 'ilike', self), ('sender', 'ilike', self)", arch)
        found = {
            "recipient": "info@",
            "sender": "ENVELOPE@",
            "digest": sha256(message).hexdigest(),
            "queue_id": "4bXy",
            "message_id": message_id,
            "subject": "order",
        }
        for field, value in found.items():
            with self.subTest(field):
                self.assertEqual(receipt, receipt.search([(field, "ilike", value)]))

    def test_open_record(self):
        """
        The button opens the record, and says so if it is gone.
        """
        self.post(mail(), "info@example.com")
        receipt, record = self.receipt("info@example.com"), self.records()
        action = receipt.action_open_record()
        self.assertEqual(("res.partner", record.id), (action["res_model"], action["res_id"]))
        record.unlink()
        self.env.invalidate_all()
        self.assertFalse(receipt.record_name)
        with self.assertRaises(UserError):
            receipt.action_open_record()

    def test_record_of_a_model_that_is_gone(self):
        """
        A receipt outlives the module that its record was of.
        """
        self.post(mail(), "info@example.com")
        receipt = self.receipt("info@example.com")
        receipt.res_model = "no.such.model"
        self.assertFalse(receipt.record_name)
        with self.assertRaises(UserError):
            receipt.action_open_record()

    @quiet
    def test_latest_first(self):
        """
        The latest try is on top.
        """
        for name in ("a", "b", "c"):
            self.post(mail(), f"{name}@example.com")
        receipts = self.env["mail_delivery.receipt"].search([])
        found = [receipt.recipient[0] for receipt in receipts if receipt.recipient[1] == "@"]
        self.assertEqual(["c", "b", "a"], found)


@tagged("post_install", "-at_install")
class TestReplay(ReceiptCase):
    @quiet
    def test_replay_after_mending(self):
        """
        Refused mail is stored once its cause is mended, and the message is gone then.
        """
        message = mail()
        self.post(message, "late@example.com")
        receipt = self.receipt("late@example.com")
        self.alias("late")
        shown = self.replay(receipt)
        self.assertEqual("success", shown["type"])
        self.assertIn("250 2.0.0", shown["message"])
        self.assertEqual(["late"], self.stored())
        self.assertEqual(("stored", 2), (receipt.outcome, receipt.tries))
        self.assertEqual((False, False), (receipt.has_message, receipt.message))
        self.assertEqual(self.records().id, receipt.res_id)
        self.assertEqual(self.mailer, receipt.mailer_id)
        counts = self.counts()
        self.assertEqual(250, self.post(message, "late@example.com")["late@example.com"]["code"])
        self.assertEqual(counts, self.counts())

    @quiet
    def test_replay_keeps_what_the_receipt_says(self):
        """
        Sender, queue id and mailer stay as they were.
        """
        self.post(mail(), "late@example.com", sender="envelope@example.net")
        receipt = self.receipt("late@example.com")
        before = (receipt.sender, receipt.queue_id, receipt.digest, receipt.mailer_id)
        self.alias("late")
        self.replay(receipt)
        after = (receipt.sender, receipt.queue_id, receipt.digest, receipt.mailer_id)
        self.assertEqual(before, after)

    @quiet
    def test_replay_before_mending(self):
        """
        Mail that is still refused stays as it is, and the message is kept.
        """
        self.post(mail(), "late@example.com")
        receipt = self.receipt("late@example.com")
        with self.leaves_nothing():
            shown = self.replay(receipt)
        self.assertEqual("warning", shown["type"])
        self.assertIn("550 5.1.1", shown["message"])
        self.assertEqual(
            ("unknown", 2, True), (receipt.outcome, receipt.tries, receipt.has_message)
        )

    @quiet
    def test_replay_of_several_recipients(self):
        """
        A replay is for the recipient of its receipt alone.
        """
        self.post(mail(), "late@example.com", "later@example.com", "info@example.com")
        self.alias("late")
        self.alias("later")
        self.replay(self.receipt("late@example.com"))
        self.assertEqual(["info", "late"], self.stored())
        self.assertEqual("unknown", self.receipt("later@example.com").outcome)
        self.replay(self.receipt("later@example.com"))
        self.assertEqual(["info", "late", "later"], self.stored())

    @quiet
    def test_replay_of_a_broken_alias(self):
        """
        Mail that failed can be replayed, and Postfix's own retry finds it stored.
        """
        alias = self.alias("broken", alias_defaults="{'type': 'nonsense'}")
        message = mail()
        self.post(message, "broken@example.com")
        alias.alias_defaults = "{'ref': 'broken'}"
        self.assertEqual("success", self.replay(self.receipt("broken@example.com"))["type"])
        self.assertEqual(
            250, self.post(message, "broken@example.com")["broken@example.com"]["code"]
        )
        self.assertEqual(["broken"], self.stored())
        self.assertEqual("valid", alias.alias_status)

    @quiet
    def test_replay_that_meets_the_loop_limit(self):
        """
        A replay of refused mail that has to wait keeps the message: Postfix has it no more.
        """
        self.post(mail(), "late@example.com")
        receipt = self.receipt("late@example.com")
        self.alias("late")
        self.env["res.partner"].create(
            [{"name": f"Old {number}", "email": "ann@example.net"} for number in range(20)]
        )
        self.assertEqual("warning", self.replay(receipt)["type"])
        self.assertTrue(receipt.has_message)
        self.env["mail.gateway.allowed"].create({"email": "ann@example.net"})
        self.assertEqual("success", self.replay(receipt)["type"])
        self.assertEqual(["late"], self.stored())

    @quiet
    def test_replay_that_meets_another_delivery(self):
        """
        A replay of refused mail that another delivery is in the way of keeps the message too.
        """
        self.post(mail(), "late@example.com")
        receipt = self.receipt("late@example.com")
        self.alias("late")
        with patch.object(self.registry["mail.thread"], "message_process", drop_as_newer_builds_do):
            self.assertEqual("warning", self.replay(receipt)["type"])
        self.assertTrue(receipt.has_message)
        self.assertEqual("success", self.replay(receipt)["type"])
        self.assertEqual(["late"], self.stored())

    @quiet
    def test_replay_of_unreadable_mail(self):
        """
        What cannot be read cannot be read by a replay either.
        """
        self.post(mail(subject="a\0b"), "info@example.com")
        receipt = self.receipt("info@example.com")
        self.assertEqual("warning", self.replay(receipt)["type"])
        self.assertEqual(("unparsable", True), (receipt.outcome, receipt.has_message))

    def test_replay_without_a_message(self):
        """
        Mail that has arrived is not there to be replayed.
        """
        self.post(mail(), "info@example.com")
        with self.assertRaises(UserError):
            self.replay(self.receipt("info@example.com"))
        self.assertEqual(["info"], self.stored())

    @quiet
    def test_replay_by_an_administrator(self):
        """
        A user of the settings group can replay; the records are made as by any mail.
        """
        admin = self.user("admin", "group_system")
        self.post(mail(), "late@example.com")
        self.alias("late")
        shown = self.replay(self.receipt("late@example.com"), admin)
        self.assertEqual("success", shown["type"])
        self.assertEqual(["late"], self.stored())

    @quiet
    def test_replay_by_anyone_else(self):
        """
        Who may not change the settings cannot replay.
        """
        user = self.user("user", "group_user")
        self.post(mail(), "late@example.com")
        self.alias("late")
        with self.assertRaises(AccessError):
            self.replay(self.receipt("late@example.com"), user)
        self.assertEqual([], self.stored())
