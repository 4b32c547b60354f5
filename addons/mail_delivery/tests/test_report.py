"""
Delivery reports: they mark the mail that they are about, once.
"""

from odoo.tests import tagged

from .common import DeliveryHttpCase, mail, new_message_id, quiet, report

DONE = "250 2.0.0"


@tagged("post_install", "-at_install")
class TestReport(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.alias("info")
        self.bob = self.partner("Bob", "bob@example.net")
        self.thread = self.partner("A thread", "thread@example.net")
        self.sent = self.thread.with_context(mail_notify_force_send=False).message_post(
            body="Hello",
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            partner_ids=self.bob.ids,
        )
        self.message = report(self.sent.message_id)

    def state(self):
        """
        Return how often Bob bounced, and what is known of the mail to him.
        """
        [notification] = self.sent.notification_ids
        return self.bob.message_bounce, notification.notification_status

    def test_report_marks_the_mail(self):
        """
        A report to the bounce address is counted, and the mail is marked.
        """
        self.assertEqual({"bounce": DONE}, self.replies(self.message, "bounce@example.com"))
        self.assertEqual((1, "bounce"), self.state())
        self.assertEqual("processed", self.receipt("bounce@example.com").outcome)

    def test_report_counts_once(self):
        """
        The same report again changes nothing, and is answered as before.
        """
        first = self.post(self.message, "bounce@example.com")
        self.assertEqual(first, self.post(self.message, "bounce@example.com"))
        self.assertEqual((1, "bounce"), self.state())

    def test_report_counts_once_under_another_digest(self):
        """
        The same report with a header field more is the same report.
        """
        self.post(self.message, "bounce@example.com")
        again = b"Received: by mx.example.com; Mon, 05 Jan 2026 10:00:00 +0000\r\n" + self.message
        self.assertEqual({"bounce": DONE}, self.replies(again, "bounce@example.com"))
        self.assertEqual((1, "bounce"), self.state())

    def test_second_report_counts(self):
        """
        Another report about the same mail is another bounce, as Odoo counts them.
        """
        self.post(self.message, "bounce@example.com")
        self.post(report(self.sent.message_id), "bounce@example.com")
        self.assertEqual((2, "bounce"), self.state())

    def test_report_without_delivery_status(self):
        """
        What comes to the bounce address is a report, whatever its form.
        """
        plain = mail(
            to="bounce@example.com",
            subject="failure notice",
            fields=[f"References: {self.sent.message_id}"],
        )
        self.assertEqual({"bounce": DONE}, self.replies(plain, "bounce@example.com"))
        self.assertEqual([], self.stored("failure notice"))

    def test_report_to_an_alias(self):
        """
        A report that comes to an alias is processed, not stored.
        """
        self.assertEqual({"info": DONE}, self.replies(self.message, "info@example.com"))
        self.assertEqual((1, "bounce"), self.state())
        self.assertEqual("processed", self.receipt("info@example.com").outcome)

    def test_report_to_bounce_and_alias(self):
        """
        A report to several recipients is processed once, and each is told so.
        """
        replies = self.replies(self.message, "bounce@example.com", "info@example.com")
        self.assertEqual({"bounce": DONE, "info": DONE}, replies)
        self.assertEqual((1, "bounce"), self.state())

    def test_report_to_a_further_recipient(self):
        """
        The same report, delivered in a second transaction to a second recipient, counts once.
        """
        self.post(self.message, "bounce@example.com")
        self.assertEqual({"info": DONE}, self.replies(self.message, "info@example.com"))
        self.assertEqual((1, "bounce"), self.state())

    def test_report_from_the_mailer_daemon(self):
        """
        Mail from a mailer-daemon is a report wherever it goes.
        """
        message = mail(sender="MAILER-DAEMON@example.net", subject="Returned")
        self.assertEqual({"info": DONE}, self.replies(message, "info@example.com"))
        self.assertEqual([], self.stored("Returned"))

    def test_report_without_anything_known(self):
        """
        A report about mail that Odoo does not know is taken, so that it does not come again.
        """
        message = report(new_message_id(), failed="stranger@example.net")
        self.assertEqual({"bounce": DONE}, self.replies(message, "bounce@example.com"))
        self.assertEqual(0, self.state()[0])

    def test_mail_to_bounce_and_alias(self):
        """
        Mail for an alias that goes to the bounce address as well is mail.
        """
        message = mail(to="bounce@example.com, info@example.com")
        replies = self.replies(message, "bounce@example.com", "info@example.com")
        self.assertEqual({"bounce": DONE, "info": DONE}, replies)
        self.assertEqual(["info"], self.stored())

    def test_bounce_address_in_the_header_only(self):
        """
        A bounce address in the header makes no report of mail for an alias.
        """
        message = mail(to="bounce@example.com")
        self.assertEqual({"info": DONE}, self.replies(message, "info@example.com"))
        self.assertEqual(["info"], self.stored())

    def test_bounce_address_in_the_envelope_only(self):
        """
        What is delivered to the bounce address is a report, whatever its header says.
        """
        self.assertEqual({"bounce": DONE}, self.replies(mail(), "bounce@example.com"))
        self.assertEqual([], self.stored())

    @quiet
    def test_no_report_leaves_odoo(self):
        """
        Processing a report mails nobody.
        """
        before = self.mails_made()
        self.post(self.message, "bounce@example.com")
        self.assertEqual(before, self.mails_made())
