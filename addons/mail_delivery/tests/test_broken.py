"""
Aliases that fail: their mail waits, that of others does not, and the receipt says why.
"""

from odoo.tests import tagged

from .common import DeliveryHttpCase, drop_as_newer_builds_do, mail, quiet

STORED = "250 2.0.0"
FAILED = "451 4.3.0"


@tagged("post_install", "-at_install")
class TestBroken(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.info = self.alias("info")
        self.broken = self.alias("broken", alias_defaults="{'type': 'nonsense'}")

    def mend(self):
        """
        Have the alias make records again.
        """
        self.broken.alias_defaults = "{'ref': 'broken'}"

    @quiet
    def test_mail_waits(self):
        """
        Mail to an alias whose records cannot be made waits; its receipt has the reason.
        """
        with self.leaves_nothing():
            self.assertEqual({"broken": FAILED}, self.replies(mail(), "broken@example.com"))
        receipt = self.receipt("broken@example.com")
        self.assertEqual(("failed", True), (receipt.outcome, receipt.has_message))
        self.assertIn("nonsense", receipt.detail)
        self.assertNotIn("nonsense", receipt.reply)

    @quiet
    def test_alias_is_marked_invalid(self):
        """
        The alias is marked as one that does not work, as by Odoo's other ways in.
        """
        self.post(mail(), "broken@example.com")
        self.assertEqual("invalid", self.broken.alias_status)
        self.assertEqual("not_tested", self.info.alias_status)

    @quiet
    def test_faults_of_the_database(self):
        """
        What the database refuses is such a fault too.
        """
        faults = {
            "foreign key": "{'parent_id': 999999999}",
            "unknown field": "{'no_such_field': 1}",
            "type": "{'color': 'x'}",
        }
        for name, defaults in faults.items():
            with self.subTest(name):
                self.broken.alias_defaults = defaults
                before = self.mails_made()
                replies = self.replies(mail(subject=name), "broken@example.com", "info@example.com")
                if replies["broken"] == STORED:
                    continue  # this series ignores it
                self.assertEqual({"broken": FAILED, "info": STORED}, replies)
                self.assertEqual(["info"], self.stored(name))
                self.assertEqual(before, self.mails_made())

    @quiet
    def test_broken_beside_healthy(self):
        """
        The healthy alias gets its mail at once; a retry after mending stores what is missing.
        """
        message = mail()
        recipients = ("broken@example.com", "info@example.com")
        for _try in range(2):
            replies = self.replies(message, *recipients)
            self.assertEqual({"broken": FAILED, "info": STORED}, replies)
            self.assertEqual(["info"], self.stored())
        self.mend()
        replies = self.replies(message, *recipients)
        self.assertEqual({"broken": STORED, "info": STORED}, replies)
        self.assertEqual(["broken", "info"], self.stored())
        receipt = self.receipt("broken@example.com")
        self.assertEqual(("stored", 3), (receipt.outcome, receipt.tries))
        self.assertFalse(receipt.detail)

    @quiet
    def test_retry_for_the_broken_one_alone(self):
        """
        Postfix retries only what had to wait, which is stored once it can be.
        """
        message = mail()
        self.post(message, "broken@example.com", "info@example.com")
        self.mend()
        self.assertEqual({"broken": STORED}, self.replies(message, "broken@example.com"))
        self.assertEqual(["broken", "info"], self.stored())
        self.assertEqual("valid", self.broken.alias_status)

    @quiet
    def test_several_broken(self):
        """
        Two broken aliases have receipts of their own, and the healthy one between is stored.
        """
        self.alias("worse", alias_defaults="{'type': 'worse'}")
        names = ("broken", "info", "worse")
        replies = self.replies(mail(), *(f"{name}@example.com" for name in names))
        self.assertEqual({"broken": FAILED, "info": STORED, "worse": FAILED}, replies)
        self.assertEqual(["info"], self.stored())
        self.assertIn("nonsense", self.receipt("broken@example.com").detail)
        self.assertIn("worse", self.receipt("worse@example.com").detail)

    @quiet
    def test_own_addresses_beside_a_broken_alias(self):
        """
        Catchall beside a broken alias is answered as alone.
        """
        with self.leaves_nothing():
            replies = self.replies(mail(), "broken@example.com", "catchall@example.com")
        self.assertEqual({"broken": FAILED, "catchall": "550 5.1.1"}, replies)

    @quiet
    def test_unknown_beside_a_broken_alias(self):
        """
        An unknown recipient is refused for good, whatever stands beside it.
        """
        replies = self.replies(mail(), "broken@example.com", "nobody@example.com")
        self.assertEqual({"broken": FAILED, "nobody": "550 5.1.1"}, replies)

    @quiet
    def test_refused_beside_a_broken_alias(self):
        """
        A refusal is final, also beside an alias that is broken.
        """
        self.alias("closed", alias_contact="partners")
        replies = self.replies(mail(), "broken@example.com", "closed@example.com")
        self.assertEqual({"broken": FAILED, "closed": "550 5.7.1"}, replies)

    @quiet
    def test_alias_that_leads_nowhere(self):
        """
        An alias of a model that takes no mail is broken, and holds up no other.
        """
        self.alias("wrong", model="res.country")
        for recipients in (["wrong"], ["info", "wrong"]):
            with self.subTest(recipients):
                addresses = [f"{name}@example.com" for name in recipients]
                replies = self.replies(mail(), *addresses)
                healthy = dict.fromkeys(recipients[:-1], STORED)
                self.assertEqual({"wrong": FAILED, **healthy}, replies)
        receipt = self.receipt("wrong@example.com")[0]
        self.assertTrue(receipt.detail)

    @quiet
    def test_alias_without_what_its_policy_needs(self):
        """
        An alias for the followers of no record is broken, not closed: its mail waits.
        """
        alias = self.alias("group", alias_contact="followers")
        with self.leaves_nothing():
            self.assertEqual({"group": FAILED}, self.replies(mail(), "group@example.com"))
        self.assertEqual("invalid", alias.alias_status)
        replies = self.replies(mail(), "group@example.com", "info@example.com")
        self.assertEqual({"group": FAILED, "info": STORED}, replies)

    @quiet
    def test_message_id_that_no_index_holds(self):
        """
        A Message-Id of absurd length gets a verdict and a receipt, as any message does.
        """
        noise = "".join(f"{number * 7919 % 1000003:06x}" for number in range(2000))
        message = mail(message_id=f"<{noise}@example.net>")
        [reply] = self.replies(message, "info@example.com").values()
        self.assertIn(reply[0], "245")
        self.assertEqual(1, len(self.receipt("info@example.com")))

    @quiet
    def test_reply_that_fails(self):
        """
        An answer that cannot be stored waits, and nothing is left of it.
        """
        thread = self.partner("A thread", "bob@example.net")
        first = thread.message_post(body="Hello", message_type="comment")
        message = mail(fields=[f"In-Reply-To: {first.message_id}"])

        def fail(*_args, **_kwargs):
            raise ValueError("no update today")

        self.patch(self.registry["res.partner"], "message_update", fail)
        with self.leaves_nothing():
            self.assertEqual({"info": FAILED}, self.replies(message, "info@example.com"))
        self.assertIn("no update today", self.receipt("info@example.com").detail)
        self.assertEqual("not_tested", self.info.alias_status)

    @quiet
    def test_busy(self):
        """
        A message that another delivery has in hand waits, and its receipt says so.
        """
        gateway = self.registry["mail.thread"]
        self.patch(gateway, "message_process", drop_as_newer_builds_do)
        with self.leaves_nothing():
            self.assertEqual({"info": "451 4.3.2"}, self.replies(mail(), "info@example.com"))
        receipt = self.receipt("info@example.com")
        self.assertEqual(("busy", False), (receipt.outcome, receipt.has_message))
