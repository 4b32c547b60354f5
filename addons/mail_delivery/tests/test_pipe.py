"""
Mail that is taken: by its envelope, once.
"""

from odoo.tests import tagged

from .common import ALLOWED, DeliveryHttpCase, mail, new_message_id, quiet

STORED = "250 2.0.0"
UNKNOWN = "550 5.1.1"


@tagged("post_install", "-at_install")
class TestEnvelope(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        for name in ("info", "sales", "private"):
            self.alias(name)

    def test_mail_is_stored(self):
        """
        Mail to an alias makes a record from it, and the verdict says so.
        """
        verdicts = self.post(mail(), "info@example.com")
        verdict = {"code": 250, "status": "2.0.0", "text": "stored in Odoo"}
        self.assertEqual({"info@example.com": verdict}, verdicts)
        record = self.records()
        self.assertEqual(["info"], self.stored())
        self.assertEqual("ann@example.net", record.email_normalized)
        message = record.message_ids.filtered(lambda m: m.message_type == "email")
        self.assertEqual(1, len(message))
        self.assertIn("Ten of these, please.", message.body)

    def test_alias_is_marked_valid(self):
        """
        The first mail marks its alias as one that works, as with Odoo's other ways in.
        """
        self.post(mail(), "info@example.com")
        alias = self.env["mail.alias"].search([("alias_name", "=", "info")])
        self.assertEqual("valid", alias.alias_status)

    def test_several_recipients_of_one_post(self):
        """
        Each alias of the envelope makes a record of its own, in one transaction.
        """
        message = mail(to="info@example.com", fields=["Cc: sales@example.com"])
        replies = self.replies(message, "info@example.com", "sales@example.com")
        self.assertEqual({"info": STORED, "sales": STORED}, replies)
        self.assertEqual(["info", "sales"], self.stored())

    def test_recipient_that_no_header_names(self):
        """
        Bcc, lists and forwards: the envelope alone decides.
        """
        for number, to in enumerate(("list@example.net", "undisclosed-recipients:;", "")):
            with self.subTest(to):
                message = mail(to=to, subject=f"Mail {number}")
                self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
                self.assertEqual(["info"], self.stored(f"Mail {number}"))

    def test_message_without_to(self):
        """
        A message may have no To at all.
        """
        message = mail().replace(b"To: info@example.com\r\n", b"")
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())

    def test_alias_that_only_a_header_names(self):
        """
        An alias in a header gets nothing unless the envelope names it.
        """
        fields = [
            "Cc: private@example.com",
            "Resent-To: private@example.com",
            "Delivered-To: private@example.com",
        ]
        message = mail(to="private@example.com, info@example.com", fields=fields)
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())

    @quiet
    def test_headers_save_no_unknown_recipient(self):
        """
        A recipient without a route is refused, also where the header names one that has.
        """
        with self.leaves_nothing():
            replies = self.replies(mail(to="info@example.com"), "nobody@example.com")
        self.assertEqual({"nobody": UNKNOWN}, replies)

    def test_header_fields_stay_as_they_are(self):
        """
        The message that Odoo keeps names the recipients of the header, not of the envelope.
        """
        self.post(mail(to="Sales <sales@example.com>"), "info@example.com")
        [message] = self.records().message_ids.filtered(lambda m: m.message_type == "email")
        if "incoming_email_to" in message._fields:
            self.assertNotIn("info@example.com", message.incoming_email_to or "")

    def test_capitals_in_a_recipient(self):
        """
        The case of a recipient does not matter, and the answer has it as it was asked.
        """
        verdicts = self.post(mail(), "INFO@Example.com", "Sales@EXAMPLE.com")
        self.assertEqual(["INFO@Example.com", "Sales@EXAMPLE.com"], list(verdicts))
        self.assertEqual(["info", "sales"], self.stored())

    def test_recipient_named_twice(self):
        """
        One recipient in two spellings gets one record and two answers.
        """
        verdicts = self.post(mail(), "INFO@example.com", "info@example.com", "info@example.com")
        self.assertEqual({"INFO@example.com", "info@example.com"}, verdicts.keys())
        self.assertEqual(["info"], self.stored())

    @quiet
    def test_alias_in_capitals_is_one_of_odoo(self):
        """
        A domain stored with capitals is refused for good, since Odoo itself finds no route to it.
        """
        other = self.env["mail.alias.domain"].create({"name": "Two.Example.COM"})
        self.alias("dead", alias_domain_id=other.id)
        with self.leaves_nothing():
            replies = self.replies(mail(), "dead@two.example.com")
        self.assertEqual({"dead": UNKNOWN}, replies)

    def test_local_part(self):
        """
        A local-part alias takes mail in any domain, or where the parameter lets it.
        """
        self.alias("any", alias_incoming_local=True, alias_domain_id=False)
        self.assertEqual({"any": STORED}, self.replies(mail(), "any@example.net"))
        self.env["ir.config_parameter"].set_param(ALLOWED, "lists.example.net")
        self.assertEqual({"any": STORED}, self.replies(mail(), "any@lists.example.net"))
        self.assertEqual({"any": STORED}, self.replies(mail(), "any@example.com"))
        with quiet:
            self.assertEqual({"any": UNKNOWN}, self.replies(mail(), "any@example.net"))
        self.assertEqual(["any"] * 3, self.stored())

    def test_two_spellings_of_one_alias(self):
        """
        A local-part alias that is reached by two addresses makes one record for one message.
        """
        self.alias("any", alias_incoming_local=True, alias_domain_id=False)
        message = mail()
        replies = self.post(message, "any@example.com", "any@example.net")
        self.assertEqual([250, 250], [verdict["code"] for verdict in replies.values()])
        self.assertEqual(["any"], self.stored())

    def test_forced_thread(self):
        """
        Mail to an alias with a record of its own goes to that record.
        """
        record = self.partner("Shared", "shared@example.net")
        self.alias("shared", alias_force_thread_id=record.id)
        self.assertEqual({"shared": STORED}, self.replies(mail(), "shared@example.com"))
        self.assertEqual([], self.stored())
        self.assertIn("An order", record.message_ids.mapped("subject"))

    def test_mail_without_message_id(self):
        """
        A message without a Message-Id is stored once, since its digest is known.
        """
        message = mail(message_id="x").replace(b"Message-ID: x\r\n", b"")
        for _try in range(2):
            self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())

    def test_null_sender(self):
        """
        An auto-reply with an empty reverse path is mail like any other.
        """
        message = mail(fields=["Auto-Submitted: auto-replied"])
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com", sender=""))
        self.assertEqual(["info"], self.stored())

    def test_8_bit_mail(self):
        """
        Latin-1 in header and body, NUL in the body and a message without a From are stored.
        """
        head = "Subject: Größe\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n"
        messages = {
            "latin-1": mail(body="").replace(b"Subject: An order\r\n", b"").rstrip()
            + b"\r\n"
            + head.encode("latin-1")
            + "schön".encode("latin-1"),
            "nul": mail(body="a\0b"),
            "no sender": mail().replace(b"From: Ann <ann@example.net>\r\n", b""),
            "empty": mail(body=""),
        }
        for name, message in messages.items():
            with self.subTest(name), quiet:
                self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))

    def test_many_recipients(self):
        """
        Many recipients of one message get one answer each.
        """
        names = [f"n{number}" for number in range(40)]
        for name in names[::4]:
            self.alias(name)
        with quiet:
            replies = self.replies(mail(), *(f"{name}@example.com" for name in names))
        self.assertEqual({n: STORED if n in names[::4] else UNKNOWN for n in names}, replies)
        self.assertEqual(sorted(names[::4]), self.stored())

    def test_header_in_place_of_an_envelope(self):
        """
        A post without X-Mail-Recipients is for the accepted addresses that the header names.
        """
        message = mail(to="info@example.com, bob@example.net", fields=["Cc: sales@example.com"])
        replies = self.replies(message)
        self.assertEqual({"info": STORED, "sales": STORED}, replies)
        self.assertEqual(["info", "sales"], self.stored())

    @quiet
    def test_header_without_accepted_addresses(self):
        """
        Without an envelope and without an address of Odoo in the header there is a refusal.

        It is one by its status, too: such a client may look at nothing else.
        """
        for to in ("bob@example.net", ""):
            with self.subTest(to), self.leaves_nothing():
                answer = self.pipe(mail(to=to))
                verdicts = answer.json()["recipients"].values()
                self.assertEqual(["5.1.1"], [verdict["status"] for verdict in verdicts])
                self.assertEqual(422, answer.status_code)
                self.assertEqual("1", answer.headers["X-Mail-Delivery"])

    @quiet
    def test_failure_without_an_envelope(self):
        """
        What has to wait is no success to a client without an envelope.
        """
        self.alias("broken", alias_defaults="{'no_such_field': 1}")
        answer = self.pipe(mail(to="info@example.com, broken@example.com"))
        codes = {a: v["code"] for a, v in answer.json()["recipients"].items()}
        self.assertEqual({"info@example.com": 250, "broken@example.com": 451}, codes)
        self.assertEqual(503, answer.status_code)

    def test_header_of_a_retry(self):
        """
        A post without an envelope is stored once, and a later one with its envelope is the same.
        """
        message = mail(to="info@example.com")
        for _try in range(2):
            self.assertEqual({"info": STORED}, self.replies(message))
        self.assertEqual({"info": STORED}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())


@tagged("post_install", "-at_install")
class TestDuplicates(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.alias("info")
        self.alias("sales")

    def test_message_that_came_in_otherwise(self):
        """
        A message that Odoo fetched itself is not stored again, and counts as delivered.
        """
        message = mail(fields=["Delivered-To: info@example.com"])
        self.env["mail.thread"].message_process(None, message)
        verdicts = self.post(message, "info@example.com")
        self.assertEqual(250, verdicts["info@example.com"]["code"])
        self.assertIn("already", verdicts["info@example.com"]["text"])
        self.assertEqual("duplicate", self.receipt("info@example.com").outcome)
        self.assertEqual(["info"], self.stored())

    def test_message_that_came_in_otherwise_for_someone_else(self):
        """
        Odoo cannot tell whom a message was for that it fetched itself: it has it, and says so.
        """
        message_id = new_message_id()
        self.env["mail.thread"].message_process(None, mail(message_id=message_id))
        message = mail(to="sales@example.com", message_id=message_id)
        self.assertEqual({"sales": STORED}, self.replies(message, "sales@example.com"))
        self.assertEqual("duplicate", self.receipt("sales@example.com").outcome)

    def test_odoo_own_message_coming_back(self):
        """
        A message of Odoo that comes back, through a list for example, is a duplicate.
        """
        message = self.partner("A thread", "bob@example.net").message_post(
            body="Hello", message_type="comment"
        )
        echo = mail(sender="sales@example.com", message_id=message.message_id)
        self.assertEqual({"info": STORED}, self.replies(echo, "info@example.com"))
        self.assertEqual("duplicate", self.receipt("info@example.com").outcome)
        self.assertEqual([], self.stored())
