"""
The ledger: the same mail for the same recipient is stored once, whatever happens on the way.
"""

import datetime
import threading
from base64 import b64encode
from contextlib import contextmanager, suppress
from unittest.mock import patch

from psycopg2 import errors

from odoo import SUPERUSER_ID, api, fields
from odoo.sql_db import db_connect
from odoo.tests import tagged

from ..delivery import Delivery
from .common import DeliveryCase, DeliveryHttpCase, mail, new_message_id, quiet

STORED = "250 2.0.0"
FAILED = "451 4.3.0"


@tagged("post_install", "-at_install")
class TestLedger(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        for name in ("info", "sales", "shop"):
            self.alias(name)

    def test_same_message_again(self):
        """
        The same message for the same recipient creates nothing, and is answered as before.
        """
        message = mail()
        first = self.post(message, "info@example.com")
        counts = self.counts()
        for _try in range(3):
            self.assertEqual(first, self.post(message, "info@example.com"))
        self.assertEqual(counts, self.counts())
        self.assertEqual(1, self.receipt("info@example.com").tries)

    def test_stored_by_another_meanwhile(self):
        """
        A refusal does not take the place of what another delivery has stored in the meantime.
        """
        self.alias("shut", alias_contact="partners")
        rollback = Delivery._rollback

        def rollback_and_be_late(delivery):
            rollback(delivery)
            claims = delivery.receipts._claim(delivery.envelope.digest, ["shut@example.com"])
            delivery.receipts._settle(claims["shut@example.com"], {}, "stored", "", b"")
            delivery.env.flush_all()

        message = mail(to="shut@example.com")
        with patch.object(Delivery, "_rollback", rollback_and_be_late):
            self.assertEqual({"shut": STORED}, self.replies(message, "shut@example.com"))
        self.assertEqual("stored", self.receipt("shut@example.com").outcome)

    def test_two_addresses_of_one_alias(self):
        """
        An alias for a local part has a message once, by whichever of its addresses it comes.
        """
        self.alias("any", alias_incoming_local=True)
        message = mail()
        self.assertEqual({"any": STORED}, self.replies(message, "any@example.com"))
        again = self.post(message, "any@elsewhere.example.com")
        self.assertEqual(["Odoo has this message already"], [v["text"] for v in again.values()])
        self.assertEqual(["any"], self.stored())

    def test_same_digest_in_another_spelling(self):
        """
        The recipient of a retry may be spelled otherwise.
        """
        message = mail()
        self.post(message, "info@example.com")
        self.assertEqual({"Info": STORED}, self.replies(message, "Info@EXAMPLE.com"))
        self.assertEqual(["info"], self.stored())

    def test_further_recipient_of_the_same_message(self):
        """
        A further recipient, in a second transaction, gets a record of its own.
        """
        message = mail(fields=["Cc: sales@example.com"])
        self.post(message, "info@example.com")
        self.assertEqual({"sales": STORED}, self.replies(message, "sales@example.com"))
        self.assertEqual(["info", "sales"], self.stored())
        self.assertEqual({"shop": STORED}, self.replies(message, "shop@example.com"))
        self.assertEqual(["info", "sales", "shop"], self.stored())

    def test_further_recipient_under_another_digest(self):
        """
        It does not matter that the second copy went another way and has other Received fields.
        """
        message = mail(to="sales@example.com", fields=["Cc: info@example.com"])
        self.post(message, "info@example.com")
        copy = b"Received: from b.example.net; Mon, 05 Jan 2026 10:00:00 +0000\r\n" + message
        self.assertEqual({"sales": STORED}, self.replies(copy, "sales@example.com"))
        self.assertEqual(["info", "sales"], self.stored())

    def test_further_recipient_keeps_the_message_id(self):
        """
        Every record of a message has its Message-Id, so that answers find a thread.
        """
        message_id = new_message_id()
        message = mail(message_id=message_id)
        self.post(message, "info@example.com")
        self.post(message, "sales@example.com")
        mails = self.records().message_ids.filtered(lambda m: m.message_type == "email")
        self.assertEqual([message_id] * 2, mails.mapped("message_id"))

    def test_mixture_of_known_and_further_recipients(self):
        """
        Of several recipients only those get a record that have none yet.
        """
        message = mail()
        self.post(message, "info@example.com")
        replies = self.replies(message, "info@example.com", "sales@example.com")
        self.assertEqual({"info": STORED, "sales": STORED}, replies)
        self.assertEqual(["info", "sales"], self.stored())

    def test_mixture_under_another_digest(self):
        """
        Another digest with the same Message-Id is new for those for whom it was not stored.
        """
        message = mail()
        self.post(message, "info@example.com")
        copy = b"X-Copy: 2\r\n" + message
        replies = self.replies(copy, "info@example.com", "sales@example.com")
        self.assertEqual({"info": STORED, "sales": STORED}, replies)
        self.assertEqual(["info", "sales"], self.stored())
        outcomes = self.receipt("info@example.com").sorted("id").mapped("outcome")
        self.assertEqual(["stored", "duplicate"], outcomes)

    def test_same_message_id_for_the_same_recipient(self):
        """
        Another digest with the same Message-Id and recipient is a duplicate, with 250.
        """
        message = mail()
        self.post(message, "info@example.com")
        verdict = self.post(b"X-Copy: 2\r\n" + message, "info@example.com")["info@example.com"]
        self.assertEqual(250, verdict["code"])
        self.assertIn("already", verdict["text"])
        self.assertEqual(["info"], self.stored())

    @quiet
    def test_failed_then_stored(self):
        """
        A message that failed is stored by the retry after its cause is gone, in one receipt.
        """
        alias = self.alias("broken", alias_defaults="{'type': 'nonsense'}")
        message = mail()
        self.assertEqual({"broken": FAILED}, self.replies(message, "broken@example.com"))
        alias.alias_defaults = "{'ref': 'broken'}"
        self.assertEqual({"broken": STORED}, self.replies(message, "broken@example.com"))
        self.assertEqual({"broken": STORED}, self.replies(message, "broken@example.com"))
        self.assertEqual(["broken"], self.stored())
        receipt = self.receipt("broken@example.com")
        self.assertEqual(("stored", 2), (receipt.outcome, receipt.tries))
        self.assertEqual((False, False), (receipt.has_message, receipt.message))

    @quiet
    def test_failed_message_does_not_hide_the_others(self):
        """
        A Message-Id that was refused or failed is not known for anyone else.
        """
        self.alias("broken", alias_defaults="{'type': 'nonsense'}")
        message = mail()
        self.post(message, "broken@example.com", "nobody@example.com")
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())

    def test_receipt_is_written_with_the_record(self):
        """
        The receipt names the record that its mail went to.
        """
        self.post(mail(), "info@example.com", "sales@example.com")
        for name in ("info", "sales"):
            receipt = self.receipt(f"{name}@example.com")
            record = self.env[receipt.res_model].browse(receipt.res_id)
            self.assertEqual(name, record.ref)

    def test_unique_index(self):
        """
        The database itself lets no second receipt be for the same digest and recipient.
        """
        self.post(mail(), "info@example.com")
        receipt = self.receipt("info@example.com")
        with quiet, self.assertRaises(errors.UniqueViolation), self.env.cr.savepoint():
            self.env.cr.execute(
                """INSERT INTO mail_delivery_receipt (digest, recipient)
                   SELECT digest, recipient FROM mail_delivery_receipt WHERE id = %s""",
                [receipt.id],
            )

    @quiet
    def test_verdict_is_not_given_before_the_receipt(self):
        """
        Where the receipt cannot be written the records are not there either, and no mark answers.
        """

        def fail(*_args, **_kwargs):
            raise ValueError("no receipts today")

        self.patch(self.registry["mail_delivery.receipt"], "_settle", fail)
        with self.leaves_nothing():
            answer = self.pipe(mail(), "info@example.com")
        self.assertEqual(500, answer.status_code)
        self.assertNotIn("X-Mail-Delivery", answer.headers)

    @quiet
    def test_conflicts_that_do_not_end(self):
        """
        A delivery that conflicts with others on every try is told to come again.
        """

        def conflict(*_args, **_kwargs):
            raise errors.SerializationFailure("could not serialize access")

        self.patch(self.registry["mail_delivery.receipt"], "_claim", conflict)
        with self.leaves_nothing():
            self.assertEqual({"info": "451 4.3.2"}, self.replies(mail(), "info@example.com"))

    @quiet
    def test_conflict_that_ends(self):
        """
        A delivery that conflicted is tried again at once, and stores one record.
        """
        gateway = self.registry["res.partner"]
        stock, calls = gateway.message_new, []

        def conflict_first(records, *args, **options):
            calls.append(args)
            if len(calls) == 1:
                raise errors.SerializationFailure("could not serialize access")
            return stock(records, *args, **options)

        self.patch(gateway, "message_new", conflict_first)
        before = self.mails_made()
        self.assertEqual({"info": STORED}, self.replies(mail(), "info@example.com"))
        self.assertEqual((["info"], before), (self.stored(), self.mails_made()))
        self.assertEqual(1, self.receipt("info@example.com").tries)
        [alias] = self.env["mail.alias"].search([("alias_name", "=", "info")])
        self.assertEqual("valid", alias.alias_status)

    @quiet
    def test_lost_connection(self):
        """
        A database that goes away is no verdict: the answer has no mark.
        """

        def lose(*_args, **_kwargs):
            raise errors.AdminShutdown("terminating connection")

        self.patch(self.registry["res.partner"], "message_new", lose)
        with self.leaves_nothing():
            answer = self.pipe(mail(), "info@example.com")
        self.assertEqual(500, answer.status_code)
        self.assertNotIn("X-Mail-Delivery", answer.headers)


@tagged("post_install", "-at_install")
class TestAge(DeliveryCase):
    def make(self, recipient, days, message=b""):
        """
        Make a receipt whose last try was some days ago.
        """
        receipts = self.env["mail_delivery.receipt"]
        claim = receipts._claim(recipient.encode().hex(), [recipient])[recipient]
        outcome = "refused" if message else "stored"
        receipts._settle(claim, {}, outcome, "", b64encode(message))
        receipt = receipts.browse(claim.id)
        receipt.date = fields.Datetime.now() - datetime.timedelta(days=days)
        return receipt

    def files(self, receipts):
        """
        Return the attachments of receipts.
        """
        owners = [("res_model", "=", receipts._name), ("res_id", "in", receipts.ids)]
        return self.env["ir.attachment"].search([*owners, ("res_field", "!=", False)])

    def test_old_receipts_go(self):
        """
        Receipts of more than thirty days are removed, with their messages; younger ones stay.
        """
        old = self.make("a@example.com", 31) | self.make("b@example.com", 31, b"message")
        young = self.make("c@example.com", 29) | self.make("d@example.com", 29, b"message")
        files = self.files(old), self.files(young)
        self.assertEqual([1, 1], [len(file) for file in files])
        self.env.flush_all()
        self.env["mail_delivery.receipt"]._gc_receipts()
        self.env.invalidate_all()
        self.assertFalse(old.exists())
        self.assertEqual(young, young.exists())
        self.assertFalse(files[0].exists())
        self.assertEqual(files[1], files[1].exists())

    def test_autovacuum_calls_it(self):
        """
        The method is one of those that Odoo's daily clean-up runs.
        """
        self.assertTrue(self.registry["mail_delivery.receipt"]._gc_receipts._autovacuum)


@tagged("post_install", "-at_install")
class TestClaims(DeliveryCase):
    @contextmanager
    def transactions(self, count):
        """
        Open transactions of their own, and remove afterwards what they committed.
        """
        database = db_connect(self.env.cr.dbname)
        cursors = [database.cursor() for _number in range(count)]
        try:
            yield [api.Environment(cr, SUPERUSER_ID, {}) for cr in cursors]
        finally:
            for cr in cursors:
                cr.rollback()
                cr.close()
            with database.cursor() as cr:
                cr.execute("DELETE FROM mail_delivery_receipt WHERE digest = 'claims'")
                cr.execute("DELETE FROM mail_delivery_message_id")

    def claim(self, env, *recipients):
        """
        Claim receipts of the one digest of these tests.
        """
        return env["mail_delivery.receipt"]._claim("claims", recipients)

    def test_second_claim_cannot_be_serialized(self):
        """
        Of two transactions that begin together the second to claim a message fails.
        """
        with self.transactions(2) as (first, second):
            second.cr.execute("SELECT 1 FROM mail_delivery_receipt LIMIT 1")
            self.claim(first, "a@example.com", "b@example.com")
            first.cr.commit()
            with self.assertRaises(errors.SerializationFailure):
                self.claim(second, "b@example.com", "c@example.com")

    def test_same_message_id_cannot_be_serialized(self):
        """
        Of two deliveries of one Message-Id at once, in whatever form, the second is tried again.
        """
        with self.transactions(2) as (first, second):
            second.cr.execute("SELECT 1 FROM mail_delivery_receipt LIMIT 1")
            first["mail_delivery.message_id"]._meet("<claims@example.net>")
            second["mail_delivery.message_id"]._meet("<other.claims@example.net>")
            first.cr.commit()
            with self.assertRaises(errors.SerializationFailure):
                second["mail_delivery.message_id"]._meet("<claims@example.net>")

    def test_second_claim_waits_for_the_first(self):
        """
        A claim waits while another transaction has the message, and then fails.
        """
        caught = []

        def claim(env):
            try:
                self.claim(env, "a@example.com")
            except Exception as error:
                caught.append(type(error))

        with self.transactions(2) as (first, second):
            self.claim(first, "a@example.com")
            thread = threading.Thread(target=claim, args=(second,))
            thread.start()
            thread.join(0.3)
            self.assertTrue(thread.is_alive())
            first.cr.commit()
            thread.join(10)
            self.assertEqual([errors.SerializationFailure], caught)

    def test_claim_after_a_rollback(self):
        """
        A claim that waited for one that was rolled back has the message to itself.
        """
        with self.transactions(2) as (first, second):
            self.claim(first, "a@example.com")
            thread = threading.Thread(target=self.claim, args=(second, "a@example.com"))
            thread.start()
            thread.join(0.2)
            first.cr.rollback()
            thread.join(10)
            self.assertFalse(thread.is_alive())
            self.assertFalse(self.claim(second, "a@example.com")["a@example.com"].outcome)

    def test_other_recipients_do_not_wait(self):
        """
        Claims for other recipients of the same message stand in nobody's way.
        """
        with self.transactions(2) as (first, second):
            self.claim(first, "a@example.com")
            second.cr.execute("SET LOCAL lock_timeout = '1s'")
            self.assertEqual(["b@example.com"], list(self.claim(second, "b@example.com")))

    def test_known_receipt_is_locked(self):
        """
        Of two retries of a message that failed before, the second waits for the first.
        """
        with self.transactions(3) as (maker, first, second):
            self.claim(maker, "a@example.com")
            maker.cr.commit()
            self.claim(first, "a@example.com")
            second.cr.execute("SET LOCAL lock_timeout = '200ms'")
            with suppress(errors.LockNotAvailable):
                self.claim(second, "a@example.com")
                self.fail("both have it")
