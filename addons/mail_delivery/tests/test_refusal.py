"""
Mail that is refused for good: the verdict says why, and nothing is left in Odoo.
"""

from odoo.tests import tagged

from .common import DeliveryHttpCase, mail, quiet

STORED = "250 2.0.0"
REFUSED = "550 5.7.1"
UNKNOWN = "550 5.1.1"
UNPARSABLE = "550 5.6.0"


@tagged("post_install", "-at_install")
class TestUnknown(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.alias("info")

    @quiet
    def test_no_route(self):
        """
        Mail to an address that Odoo does not have is refused, and the receipt says so.
        """
        with self.leaves_nothing():
            verdicts = self.post(mail(), "nobody@example.com")
        verdict = verdicts["nobody@example.com"]
        self.assertEqual((550, "5.1.1"), (verdict["code"], verdict["status"]))
        self.assertEqual("unknown", self.receipt("nobody@example.com").outcome)

    @quiet
    def test_unknown_beside_an_alias(self):
        """
        An unknown recipient is refused while the alias beside it gets its mail.
        """
        replies = self.replies(mail(), "nobody@example.com", "info@example.com")
        self.assertEqual({"nobody": UNKNOWN, "info": STORED}, replies)
        self.assertEqual(["info"], self.stored())

    @quiet
    def test_own_addresses_take_no_new_mail(self):
        """
        Catchall and default-from address take answers only; nobody is mailed about that.
        """
        for name in ("catchall", "notifications"):
            with self.subTest(name), self.leaves_nothing():
                message = mail(to=f"{name}@example.com")
                self.assertEqual({name: UNKNOWN}, self.replies(message, f"{name}@example.com"))

    @quiet
    def test_own_addresses_together(self):
        """
        Catchall with an unknown recipient, or with the default-from address, is no better.
        """
        for other in ("nobody", "notifications"):
            with self.subTest(other), self.leaves_nothing():
                replies = self.replies(mail(), "catchall@example.com", f"{other}@example.com")
                self.assertEqual({"catchall": UNKNOWN, other: UNKNOWN}, replies)

    def test_own_addresses_beside_an_alias(self):
        """
        Mail to an alias that goes to Odoo's own addresses as well has arrived.
        """
        names = ("catchall", "bounce", "notifications", "info")
        replies = self.replies(mail(), *(f"{name}@example.com" for name in names))
        self.assertEqual(dict.fromkeys(names, STORED), replies)
        self.assertEqual(["info"], self.stored())

    def test_alias_with_the_name_of_an_own_address(self):
        """
        An alias that has the default-from address takes new mail there.
        """
        self.alias("notifications")
        message = mail(to="notifications@example.com")
        self.assertEqual(
            {"notifications": STORED}, self.replies(message, "notifications@example.com")
        )
        replies = self.replies(mail(), "notifications@example.com", "info@example.com")
        self.assertEqual({"notifications": STORED, "info": STORED}, replies)
        self.assertEqual(["info", "notifications", "notifications"], self.stored())

    @quiet
    def test_recipient_that_is_not_ascii(self):
        """
        A recipient in UTF-8 is answered as it was asked.
        """
        recipient = "schön@example.com"
        with self.leaves_nothing():
            verdicts = self.post(mail(), X_Mail_Recipients=recipient.encode())
        self.assertEqual([recipient], list(verdicts))

    @quiet
    def test_garbage_to_nobody(self):
        """
        Octets that are no message are refused for want of a route.
        """
        for octets in (b"\r\n", b"garbage", b"\0" * 100, bytes(range(256))):
            with self.subTest(octets[:8]), self.leaves_nothing():
                [verdict] = self.post(octets, "nobody@example.com").values()
                self.assertEqual(550, verdict["code"])

    @quiet
    def test_refused_mail_is_refused_again(self):
        """
        A retry of refused mail is judged anew, and counted in the same receipt.
        """
        message = mail()
        for tries in (1, 2):
            with self.leaves_nothing():
                self.post(message, "nobody@example.com")
            self.assertEqual(tries, self.receipt("nobody@example.com").tries)

    @quiet
    def test_address_that_came_to_be(self):
        """
        Mail that was refused is taken once there is the alias.
        """
        message = mail()
        self.assertEqual({"late": UNKNOWN}, self.replies(message, "late@example.com"))
        self.alias("late")
        self.assertEqual({"late": STORED}, self.replies(message, "late@example.com"))
        self.assertEqual(["late"], self.stored())
        self.assertEqual("stored", self.receipt("late@example.com").outcome)


@tagged("post_install", "-at_install")
class TestRefused(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.alias("info")
        self.closed = self.alias("closed", alias_contact="partners")

    @quiet
    def test_stranger(self):
        """
        An alias for partners takes no mail from strangers; the gateway mails no bounce.
        """
        with self.leaves_nothing():
            verdicts = self.post(mail(to="closed@example.com"), "closed@example.com")
        verdict = verdicts["closed@example.com"]
        self.assertEqual((550, "5.7.1"), (verdict["code"], verdict["status"]))
        self.assertEqual("refused", self.receipt("closed@example.com").outcome)

    @quiet
    def test_odoo_itself_would_have_mailed(self):
        """
        The same mail by another way in is bounced by Odoo as ever, whatever the context says.
        """
        for value in (None, "x", {"recipients": ["info@example.com"]}):
            with self.subTest(value):
                before = self.mails_made()
                gateway = self.env["mail.thread"].with_context(mail_delivery_trace=value)
                gateway.message_process(None, mail(to="closed@example.com"))
                self.assertNotEqual(before, self.mails_made())

    def test_partner(self):
        """
        The same alias takes mail from whom Odoo knows.
        """
        self.partner("Ann", "ann@example.net")
        self.assertEqual({"closed": STORED}, self.replies(mail(), "closed@example.com"))

    @quiet
    def test_text_of_the_alias(self):
        """
        The sender is told what the alias says to strangers, as one line of ASCII.
        """
        self.closed.alias_bounced_content = "<p>Bitte <b>schön</b>,</p><p>rufen Sie an.</p>"
        [verdict] = self.post(mail(), "closed@example.com").values()
        self.assertEqual((550, "5.7.1"), (verdict["code"], verdict["status"]))
        self.assertTrue(verdict["text"].isascii())
        self.assertTrue(verdict["text"].isprintable())
        for word in ("Bitte", "schon", "rufen Sie an."):
            self.assertIn(word, verdict["text"])

    @quiet
    def test_long_text_of_the_alias(self):
        """
        A long text is cut to what LMTP can carry, an empty one is replaced.
        """
        self.closed.alias_bounced_content = f"<p>{'no ' * 2000}</p>"
        [verdict] = self.post(mail(), "closed@example.com").values()
        self.assertLessEqual(len(verdict["text"]), 500)
        for empty in ("<p><br/></p>", "<p>日本語</p>", False):
            with self.subTest(empty):
                self.closed.alias_bounced_content = empty
                [verdict] = self.post(mail(), "closed@example.com").values()
                self.assertIn("no mail from this sender", verdict["text"])

    @quiet
    def test_same_text_again(self):
        """
        A retry gets the same verdict with the same text.
        """
        self.closed.alias_bounced_content = "<p>Call us.</p>"
        message = mail()
        first = self.post(message, "closed@example.com")
        self.assertEqual(first, self.post(message, "closed@example.com"))

    @quiet
    def test_refused_beside_stored(self):
        """
        One alias refuses the sender, the other stores: each recipient has its own verdict.
        """
        before = self.mails_made()
        replies = self.replies(mail(), "closed@example.com", "info@example.com")
        self.assertEqual({"closed": REFUSED, "info": STORED}, replies)
        self.assertEqual(["info"], self.stored())
        self.assertEqual(before, self.mails_made())

    @quiet
    def test_refused_beside_unknown(self):
        """
        A refused and an unknown recipient of one message are told apart.
        """
        with self.leaves_nothing():
            replies = self.replies(mail(), "closed@example.com", "nobody@example.com")
        self.assertEqual({"closed": REFUSED, "nobody": UNKNOWN}, replies)

    @quiet
    def test_two_refuse_with_texts_of_their_own(self):
        """
        Each alias tells the sender in its own words.
        """
        other = self.alias("members", alias_contact="partners")
        self.closed.alias_bounced_content = "<p>Call us.</p>"
        other.alias_bounced_content = "<p>Join us.</p>"
        verdicts = self.post(mail(), "closed@example.com", "members@example.com")
        texts = {address: verdict["text"] for address, verdict in verdicts.items()}
        self.assertEqual(
            {"closed@example.com": "Call us.", "members@example.com": "Join us."}, texts
        )

    @quiet
    def test_partner_that_came_to_be(self):
        """
        Mail that was refused is taken once its sender is known.
        """
        message = mail()
        self.assertEqual({"closed": REFUSED}, self.replies(message, "closed@example.com"))
        self.partner("Ann", "ann@example.net")
        self.assertEqual({"closed": STORED}, self.replies(message, "closed@example.com"))
        self.assertEqual(["closed"], self.stored())

    @quiet
    def test_alias_status_is_not_touched(self):
        """
        A refusal says nothing against the alias.
        """
        self.post(mail(), "closed@example.com")
        self.assertEqual("not_tested", self.closed.alias_status)


@tagged("post_install", "-at_install")
class TestUnparsable(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.info = self.alias("info")
        self.alias("sales")

    def messages(self):
        """
        Return messages that Odoo cannot take, by what is wrong with them.
        """
        return {
            "charset": mail(fields=["Content-Type: text/plain; charset=klingon"]),
            "NUL in subject": mail(subject="a\0b"),
            "NUL in Message-Id": mail(message_id="<a\0b@example.net>"),
        }

    @quiet
    def test_unreadable(self):
        """
        What no other try will read is refused, as Odoo's own gateway fails on it.
        """
        for name, message in self.messages().items():
            with self.subTest(name):
                with self.leaves_nothing():
                    replies = self.replies(message, "info@example.com")
                self.assertEqual({"info": UNPARSABLE}, replies)
                with self.fails_with(LookupError, ValueError):
                    self.env["mail.thread"].message_process(None, message)

    @quiet
    def test_unreadable_for_several(self):
        """
        It is refused for every recipient.
        """
        for name, message in self.messages().items():
            with self.subTest(name), self.leaves_nothing():
                replies = self.replies(message, "info@example.com", "sales@example.com")
                self.assertEqual({"info": UNPARSABLE, "sales": UNPARSABLE}, replies)

    @quiet
    def test_unreadable_for_records_that_exist(self):
        """
        It is refused also where the records of the aliases exist already.
        """
        for name in ("one", "two"):
            record = self.partner(name, f"{name}@example.net")
            self.alias(name, alias_force_thread_id=record.id)
        for name, message in self.messages().items():
            with self.subTest(name), self.leaves_nothing():
                replies = self.replies(message, "one@example.com", "two@example.com")
                self.assertEqual({"one": UNPARSABLE, "two": UNPARSABLE}, replies)

    @quiet
    def test_alias_is_not_to_blame(self):
        """
        A message that cannot be read leaves the alias as it was, on the list of those that work.
        """
        for name, message in self.messages().items():
            with self.subTest(name):
                self.post(message, "info@example.com", "sales@example.com")
                self.assertEqual("not_tested", self.info.alias_status)

    @quiet
    def test_receipt_keeps_it(self):
        """
        The receipt has the message, and a subject that the database can store.
        """
        self.post(mail(subject="a\0b"), "info@example.com")
        receipt = self.receipt("info@example.com")
        self.assertEqual(("unparsable", True), (receipt.outcome, receipt.has_message))


@tagged("post_install", "-at_install")
class TestLoops(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.alias("info")

    def fill(self, count):
        """
        Make as many records of Ann as mail would have made.
        """
        self.env["res.partner"].create(
            [{"name": f"Old {number}", "email": "ann@example.net"} for number in range(count)]
        )

    @quiet
    def test_limit(self):
        """
        The mail after the twentieth waits with Postfix, and Odoo mails nobody.
        """
        self.fill(19)
        self.assertEqual({"info": STORED}, self.replies(mail(), "info@example.com"))
        message = mail(subject="One more")
        for _try in range(2):
            with self.leaves_nothing():
                self.assertEqual({"info": "451 4.7.1"}, self.replies(message, "info@example.com"))
        self.assertEqual("loop", self.receipt("info@example.com")[0].outcome)

    @quiet
    def test_window_passes(self):
        """
        Mail that had to wait is taken once the window has passed.
        """
        self.fill(20)
        message = mail()
        self.assertEqual({"info": "451 4.7.1"}, self.replies(message, "info@example.com"))
        self.env.cr.execute(
            """UPDATE res_partner SET create_date = create_date - interval '3 hours'
                WHERE email = 'ann@example.net'"""
        )
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())

    def test_allowed_sender(self):
        """
        A sender that may write as much as it likes is not held back.
        """
        self.fill(20)
        self.env["mail.gateway.allowed"].create({"email": "ann@example.net"})
        self.assertEqual({"info": STORED}, self.replies(mail(), "info@example.com"))

    @quiet
    def test_limit_for_all_recipients(self):
        """
        A message that has to wait waits for each of its recipients.
        """
        self.fill(20)
        self.alias("sales")
        names = ("info", "sales", "catchall")
        with self.leaves_nothing():
            replies = self.replies(mail(), *(f"{name}@example.com" for name in names))
        self.assertEqual(dict.fromkeys(names, "451 4.7.1"), replies)

    @quiet
    def test_answer_to_a_notice(self):
        """
        An answer to a notice about a loop is refused, so that the loop ends.
        """
        tag = "<1-loop-detection-bounce-email@mail.example.com>"
        for field in ("References", "In-Reply-To"):
            with self.subTest(field), self.leaves_nothing():
                message = mail(fields=[f"{field}: {tag}"])
                self.assertEqual({"info": "550 5.4.6"}, self.replies(message, "info@example.com"))
