"""
Mailers: their tokens, and when they were last seen.
"""

from odoo.exceptions import AccessError, ValidationError
from odoo.tests import Form, tagged

from .common import DeliveryCase, DeliveryHttpCase, mail, quiet


@tagged("post_install", "-at_install")
class TestTokens(DeliveryCase):
    def authenticates(self, token):
        """
        Say whether a token is taken.
        """
        self.env.flush_all()
        return bool(self.env["mail_delivery.mailer"]._authenticate(token.encode()))

    def test_tokens_are_long_and_different(self):
        """
        Each token is new, and can stand in a header and in YAML.
        """
        tokens = {self.mailer._new_token() for _number in range(10)}
        self.assertEqual(10, len(tokens))
        for token in tokens:
            self.assertGreaterEqual(len(token), 40)
            self.assertRegex(token, r"\A[A-Za-z0-9_-]+\Z")

    def test_states(self):
        """
        What is said of the token follows its life.
        """
        mailer = self.env["mail_delivery.mailer"].create({"name": "mx.example.com"})
        self.assertEqual("none", mailer.token_state)
        first = mailer._new_token()
        self.assertEqual("waiting", mailer.token_state)
        self.assertTrue(self.authenticates(first))
        self.assertEqual("used", mailer.token_state)
        second = mailer._new_token()
        self.assertEqual("overlap", mailer.token_state)
        self.assertTrue(self.authenticates(first))
        self.assertEqual("overlap", mailer.token_state)
        self.assertTrue(self.authenticates(second))
        self.assertEqual("used", mailer.token_state)
        self.assertFalse(self.authenticates(first))

    def test_token_that_nobody_used_is_replaced_at_once(self):
        """
        A new token ends one that was never used.
        """
        second = self.mailer._new_token()
        self.assertFalse(self.authenticates(self.token))
        self.assertTrue(self.authenticates(second))

    def test_several_new_tokens(self):
        """
        The token in use works on, however many new ones are made before the last is used.
        """
        self.assertTrue(self.authenticates(self.token))
        lost, last = self.mailer._new_token(), self.mailer._new_token()
        self.assertTrue(self.authenticates(self.token))
        self.assertFalse(self.authenticates(lost))
        self.assertTrue(self.authenticates(last))
        self.assertFalse(self.authenticates(self.token))

    def test_copy_has_no_token(self):
        """
        A copy of a mailer does not share its token.
        """
        copy = self.mailer.copy()
        self.assertEqual("none", copy.token_state)
        self.assertFalse(copy.sudo().token)

    def test_what_is_not_ascii_is_no_token(self):
        """
        Any octets can be compared, and are no token.
        """
        for octets in (b"\xff", "schön".encode(), b"", b"\0"):
            self.assertFalse(self.env["mail_delivery.mailer"]._authenticate(octets))


@tagged("post_install", "-at_install")
class TestShownOnce(DeliveryCase):
    def setUp(self):
        super().setUp()
        self.admin = self.user("admin", "group_system")
        self.as_admin = self.mailer.with_user(self.admin)

    def shown(self, action):
        """
        Return what the client shows of the wizard that an action opens.
        """
        wizard = self.env[action["res_model"]].with_user(self.admin)
        return Form(wizard.with_context(**action["context"]))

    def test_token_cannot_be_read(self):
        """
        No administrator reads a token through the records, in any way.
        """
        for field in ("token", "previous_token"):
            with self.subTest(field):
                with self.assertRaises(AccessError):
                    self.as_admin.read([field])
                with self.assertRaises(AccessError):
                    self.as_admin.search_read([], [field])
                with self.fails_with(AccessError, ValueError):
                    self.as_admin.search([(field, "=like", f"{self.token[:3]}%")])
                with self.fails_with(AccessError, ValueError):
                    self.as_admin.read_group([], [field], [field])
                with self.fails_with(AccessError, ValueError):
                    self.as_admin.export_data([field])
        self.assertFalse({"token", "previous_token"} & self.as_admin.fields_get().keys())
        self.assertNotIn(self.token, str(self.as_admin.read()))

    def test_token_cannot_be_written(self):
        """
        No administrator writes a token, so that none is weak.
        """
        with self.assertRaises(AccessError):
            self.as_admin.write({"token": "weak"})

    def test_new_token_is_shown(self):
        """
        The answer to the button shows the token, with the configuration to copy.
        """
        action = self.as_admin.action_new_token()
        form = self.shown(action)
        token = self.mailer.sudo().token
        self.assertEqual(token, form.token)
        self.assertIn(token, form.configuration)
        self.assertNotEqual(self.token, token)

    def test_token_is_shown_once(self):
        """
        What was shown is not stored with the wizard, and not shown without the answer.
        """
        form = self.shown(self.as_admin.action_new_token())
        token = form.token
        wizard = self.env["mail_delivery.token"].with_user(self.admin).browse(form.save().id)
        self.env.flush_all()
        self.env.invalidate_all()
        self.assertNotIn(token, str(wizard.read()))
        self.env.cr.execute("SELECT * FROM mail_delivery_token")
        self.assertNotIn(token, str(self.env.cr.fetchall()))
        again = Form(self.env["mail_delivery.token"].with_user(self.admin))
        self.assertFalse(again.token)
        self.assertNotIn(token, str(self.as_admin.read()))
        self.assertNotIn(token, self.as_admin.configuration)

    def test_connect(self):
        """
        A mailer is connected by its name and webhook address, and gets its token at once.
        """
        form = Form(self.env["mail_delivery.token"].with_user(self.admin))
        form.name = "mx.example.com"
        form.webhook = "http://mx.example.com:8000/aliases"
        action = form.save().action_connect()
        mailer = self.env["mail_delivery.mailer"].search([("name", "=", "mx.example.com")])
        self.assertEqual("http://mx.example.com:8000/aliases", mailer.webhook)
        self.assertEqual("waiting", mailer.token_state)
        token = self.shown(action).token
        self.assertEqual(mailer, self.env["mail_delivery.mailer"]._authenticate(token.encode()))

    def test_connect_with_a_wrong_webhook(self):
        """
        A wrong webhook address makes no mailer.
        """
        form = Form(self.env["mail_delivery.token"].with_user(self.admin))
        form.name = "mx.example.com"
        form.webhook = "mx.example.com"
        with self.assertRaises(ValidationError):
            form.save().action_connect()

    def test_context_shows_no_token_of_another(self):
        """
        A token in a context is shown back to whom sent it, and is no one's token for that.
        """
        form = Form(
            self.env["mail_delivery.token"]
            .with_user(self.admin)
            .with_context(default_mailer_id=self.mailer.id, mail_delivery_token="invented")
        )
        self.assertEqual("invented", form.token)
        self.assertFalse(self.env["mail_delivery.mailer"]._authenticate(b"invented"))


@tagged("post_install", "-at_install")
class TestTimes(DeliveryHttpCase):
    def test_last_fetch(self):
        """
        Each fetch of the list is noted, one that finds nothing new as well.
        """
        self.assertFalse(self.mailer.last_fetch)
        etag = self.call("GET", "aliases").headers["ETag"]
        first = self.mailer.last_fetch
        self.assertTrue(first)
        self.env.cr.execute("UPDATE mail_delivery_mailer SET last_fetch = '2026-01-01'")
        self.assertEqual(304, self.call("GET", "aliases", If_None_Match=etag).status_code)
        self.assertGreater(self.mailer.last_fetch, first.replace(2026, 1, 2))

    def test_last_delivery(self):
        """
        The last delivery of a mailer is that of its latest receipt.
        """
        self.assertFalse(self.mailer.last_delivery)
        self.alias("info")
        self.post(mail(), "info@example.com")
        self.assertEqual(self.receipt("info@example.com").date, self.mailer.last_delivery)
        self.assertEqual(self.mailer, self.receipt("info@example.com").mailer_id)

    @quiet
    def test_refused_delivery_counts(self):
        """
        A delivery that was refused is a delivery, and the token with it was used.
        """
        self.post(mail(), "nobody@example.com")
        self.assertTrue(self.mailer.last_delivery)
        self.assertEqual("used", self.mailer.token_state)

    def test_deleted_mailer(self):
        """
        The receipts of a mailer outlive it.
        """
        self.alias("info")
        self.post(mail(), "info@example.com")
        self.mailer.unlink()
        self.assertEqual("stored", self.receipt("info@example.com").outcome)
