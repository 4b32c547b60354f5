"""
Answers: they go to the thread that they answer, whatever their recipients.
"""

from odoo.tests import tagged

from .common import DeliveryHttpCase, mail, quiet

STORED = "250 2.0.0"
BUSY = "451 4.3.2"


@tagged("post_install", "-at_install")
class TestReplies(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.info = self.alias("info")
        self.thread = self.partner("A thread", "bob@example.net")
        self.first = self.thread.message_post(body="Hello", message_type="comment")
        self.answer = [f"In-Reply-To: {self.first.message_id}"]

    def answers(self):
        """
        Return the subjects of the mail in the thread.
        """
        mails = self.thread.message_ids.filtered(lambda message: message.message_type == "email")
        return sorted(mails.mapped("subject"))

    def test_reply_goes_to_its_thread(self):
        """
        An answer is added to the record that it answers, whichever own address it was sent to.
        """
        names = ("info", "catchall", "notifications")
        for name in names:
            with self.subTest(name):
                message = mail(to=f"{name}@example.com", subject=name, fields=self.answer)
                self.assertEqual({name: STORED}, self.replies(message, f"{name}@example.com"))
        self.assertEqual(sorted(names), self.answers())
        self.assertFalse(any(self.stored(name) for name in names))

    def test_reply_to_an_unknown_recipient(self):
        """
        An answer goes to its thread by its references, also from an address that is gone.
        """
        message = mail(to="gone@example.com", fields=self.answer)
        self.assertEqual({"gone": STORED}, self.replies(message, "gone@example.com"))
        self.assertEqual(["An order"], self.answers())

    def test_reply_without_an_envelope(self):
        """
        An answer finds its thread without an envelope too, whatever its header names.
        """
        for number, to in enumerate(("gone@example.com", "catchall@example.com", "")):
            with self.subTest(to):
                message = mail(to=to, subject=f"Mail {number}", fields=self.answer)
                self.assertEqual([250], [v["code"] for v in self.post(message).values()])
        self.assertEqual(["Mail 0", "Mail 1", "Mail 2"], self.answers())

    def test_reply_by_references(self):
        """
        References count as In-Reply-To does, folded ones too.
        """
        references = [f"References: <x@example.net>\r\n {self.first.message_id}"]
        message = mail(fields=references)
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["An order"], self.answers())

    def test_reply_is_stored_once(self):
        """
        The same answer posted again is not added again.
        """
        message = mail(fields=self.answer)
        for _try in range(2):
            self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["An order"], self.answers())

    def test_reply_to_a_further_recipient_is_one_message(self):
        """
        An answer that comes for its second recipient in a second transaction is not added twice.
        """
        message = mail(to="catchall@example.com", fields=["Cc: info@example.com", *self.answer])
        self.assertEqual({"catchall": STORED}, self.replies(message, "catchall@example.com"))
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["An order"], self.answers())
        self.assertEqual([], self.stored())

    def test_reply_to_several_recipients_is_one_message(self):
        """
        An answer to catchall and an alias is one message in the thread, and all are told so.
        """
        message = mail(fields=self.answer)
        names = ("catchall", "info", "nobody")
        replies = self.replies(message, *(f"{name}@example.com" for name in names))
        self.assertEqual(dict.fromkeys(names, STORED), replies)
        self.assertEqual(["An order"], self.answers())

    @quiet
    def test_reply_that_the_policy_refuses(self):
        """
        An answer by a stranger, to an alias that takes mail from followers only, is refused.
        """
        self.info.alias_contact = "followers"
        message = mail(fields=self.answer)
        with self.leaves_nothing():
            self.assertEqual({"info": "550 5.7.1"}, self.replies(message, "info@example.com"))
        self.assertEqual([], self.answers())

    def test_reply_by_a_follower(self):
        """
        An answer by a follower is taken by such an alias.
        """
        self.info.alias_contact = "followers"
        self.thread.message_subscribe(self.partner("Ann", "ann@example.net").ids)
        message = mail(fields=self.answer)
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["An order"], self.answers())

    def test_reply_to_a_thread_that_is_gone(self):
        """
        An answer to a record that was deleted makes a new one.
        """
        self.thread.unlink()
        message = mail(fields=self.answer)
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())

    def test_reply_to_an_alias_of_another_model(self):
        """
        An answer sent to an alias of another model is a forward: it makes a record there.
        """
        self.alias("block", model="mail.blacklist")
        message = mail(to="block@example.com", fields=self.answer)
        self.assertEqual({"block": STORED}, self.replies(message, "block@example.com"))
        self.assertEqual([], self.answers())
        self.assertTrue(self.env["mail.blacklist"].search([("email", "=", "ann@example.net")]))

    def test_reply_to_its_own_alias_and_one_of_another_model(self):
        """
        An answer that is a forward as well is stored as such, and in its thread at the next try.
        """
        self.alias("block", model="mail.blacklist")
        message = mail(fields=self.answer)
        replies = self.replies(message, "block@example.com", "info@example.com")
        self.assertEqual({"block": STORED, "info": BUSY}, replies)
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(1, len(self.answers() + self.stored()))
        self.assertTrue(self.env["mail.blacklist"].search([("email", "=", "ann@example.net")]))

    def test_reply_beside_an_alias_of_another_model_that_refuses(self):
        """
        A refusal by another model's alias is that alias's own: the answer reaches its thread.
        """
        self.alias("closed", model="mail.blacklist", alias_contact="partners")
        message = mail(sender="stranger@example.net", fields=self.answer)
        recipients = [f"{name}@example.com" for name in ("info", "catchall", "closed")]
        replies = self.replies(message, *recipients)
        self.assertEqual({"info": BUSY, "catchall": BUSY, "closed": "550 5.7.1"}, replies)
        replies = self.replies(message, "info@example.com", "catchall@example.com")
        self.assertEqual({"info": STORED, "catchall": STORED}, replies)
        self.assertEqual(["An order"], self.answers())

    def test_reply_beside_a_broken_alias_of_another_model(self):
        """
        A broken alias of another model does not hold up the answer.
        """
        self.alias("broken", model="mail.blacklist", alias_defaults="{'no_such_field': 1}")
        message = mail(fields=self.answer)
        replies = self.replies(message, "info@example.com", "broken@example.com")
        self.assertEqual(STORED, replies["info"])
        self.assertEqual(["An order"], self.answers())

    def test_private_alias_in_the_header_of_a_reply(self):
        """
        An alias of another model in the header makes no forward of an answer.
        """
        self.alias("block", model="mail.blacklist")
        message = mail(to="block@example.com, info@example.com", fields=self.answer)
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["An order"], self.answers())
        self.assertFalse(self.env["mail.blacklist"].search([("email", "=", "ann@example.net")]))

    def test_forward_to_a_thread_of_its_own(self):
        """
        An answer to an alias with a record of its own is stored in the thread that it answers.
        """
        other = self.partner("Other", "other@example.net")
        self.alias("shared", alias_force_thread_id=other.id)
        message = mail(to="shared@example.com", fields=self.answer)
        self.assertEqual({"shared": STORED}, self.replies(message, "shared@example.com"))
        self.assertEqual(["An order"], self.answers())
