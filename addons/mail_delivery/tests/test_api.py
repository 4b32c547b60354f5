"""
The three API points: who may ask, and in which form.
"""

from pathlib import Path

from odoo import http
from odoo.tests import tagged

from .common import DeliveryHttpCase, mail, quiet

POINTS = (("GET", "aliases"), ("GET", "transport"), ("POST", "pipe"))
MESSAGE = mail()


@tagged("post_install", "-at_install")
class TestApi(DeliveryHttpCase):
    def setUp(self):
        super().setUp()
        self.alias("info")

    def ask(self, method, path, **headers):
        """
        Ask a point; one that takes a message gets one.
        """
        if method == "POST":
            return self.pipe(MESSAGE, "info@example.com", **headers)
        return self.call(method, path, **headers)

    def test_every_point_answers_with_the_mark(self):
        """
        A right token gets 200 and the mark at each of the three points.
        """
        for method, path in POINTS:
            with self.subTest(path):
                answer = self.ask(method, path)
                self.assertEqual(200, answer.status_code)
                self.assertEqual("1", answer.headers["X-Mail-Delivery"])
                self.assertEqual("no-store", answer.headers["Cache-Control"])

    @quiet
    def test_wrong_token_is_401(self):
        """
        No token, a wrong one, a part of one and one that is not ASCII get 401, with the mark.
        """
        tokens = {
            "none": None,
            "empty": "",
            "wrong": "x" * len(self.token),
            "part": self.token[:-1],
            "longer": self.token + "x",
            "other case": self.token.swapcase(),
            "latin-1": b"sch\xf6n",
            "utf-8": "schön".encode(),
            "octets": bytes(range(128, 256)),
        }
        for method, path in POINTS:
            for name, token in tokens.items():
                with self.subTest(path, token=name):
                    answer = self.ask(method, path, X_Mail_Token=token)
                    self.assertEqual(401, answer.status_code)
                    self.assertEqual("1", answer.headers["X-Mail-Delivery"])
                    self.assertNotIn(self.token, answer.text)
        self.assertEqual([], self.stored())

    @quiet
    def test_mailer_without_token_lets_nobody_in(self):
        """
        An empty token does not match that of a mailer that has none yet.
        """
        self.env["mail_delivery.mailer"].create({"name": "mx.example.com"})
        for token in (None, "", "False", "None"):
            with self.subTest(token):
                self.assertEqual(401, self.call("GET", "aliases", X_Mail_Token=token).status_code)

    @quiet
    def test_token_goes_with_its_mailer(self):
        """
        The token of a mailer that was deleted is not taken any more.
        """
        self.mailer.unlink()
        self.assertEqual(401, self.call("GET", "aliases").status_code)

    @quiet
    def test_old_token_works_until_the_new_one_is_used(self):
        """
        After a rotation both tokens are taken; the first use of the new one ends the old one.
        """
        self.assertEqual(200, self.call("GET", "aliases").status_code)
        new = self.mailer._new_token()
        self.assertEqual(200, self.call("GET", "aliases").status_code)
        self.assertEqual(200, self.ask("POST", "pipe").status_code)
        self.assertEqual(200, self.call("GET", "aliases", X_Mail_Token=new).status_code)
        self.assertEqual(401, self.call("GET", "aliases").status_code)
        self.assertEqual(200, self.call("GET", "aliases", X_Mail_Token=new).status_code)

    def test_two_mailers_have_tokens_of_their_own(self):
        """
        Each mailer is known by its own token.
        """
        other = self.env["mail_delivery.mailer"].create({"name": "mx.example.com"})
        token = other._new_token()
        self.assertEqual(200, self.call("GET", "aliases", X_Mail_Token=token).status_code)
        self.assertEqual([False, True], [bool(m.last_fetch) for m in (self.mailer, other)])

    def test_no_cookie_and_no_session(self):
        """
        No answer sets a cookie, and no session is stored, refusals included.
        """
        store = Path(http.root.session_store.path)
        before = set(store.rglob("*.sess"))
        for method, path in POINTS:
            for token in (self.token, "wrong"):
                with self.subTest(path, token=token == self.token), quiet:
                    answer = self.ask(method, path, X_Mail_Token=token)
                    self.assertNotIn("Set-Cookie", answer.headers)
        self.assertEqual(before, set(store.rglob("*.sess")))

    def test_cookie_of_a_user_changes_nothing(self):
        """
        Who is logged in is of no account: only the token counts.
        """
        self.authenticate("admin", "admin")
        with quiet:
            self.assertEqual(401, self.call("GET", "aliases", X_Mail_Token=None).status_code)
        self.assertEqual(200, self.call("GET", "aliases").status_code)

    @quiet
    def test_empty_body_is_400(self):
        """
        A post without a message is a fault of the client.
        """
        answer = self.pipe(b"", "info@example.com", X_Mail_Digest=None)
        self.assertEqual((400, "1"), (answer.status_code, answer.headers["X-Mail-Delivery"]))
        self.assertIn("empty", answer.text)

    @quiet
    def test_form_is_415(self):
        """
        The content types of forms, whose bodies Odoo swallows, are refused.
        """
        forms = (
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-8",
            "multipart/form-data; boundary=x",
        )
        for form in forms:
            with self.subTest(form):
                answer = self.pipe(MESSAGE, "info@example.com", Content_Type=form)
                self.assertEqual(415, answer.status_code)
                self.assertEqual("1", answer.headers["X-Mail-Delivery"])
        self.assertEqual([], self.stored())

    def test_other_content_types_are_taken(self):
        """
        Whatever a client calls a message, its octets are the message.
        """
        types = ("message/rfc822", "text/plain", "application/octet-stream", None)
        for number, content_type in enumerate(types):
            with self.subTest(content_type):
                message = mail(subject=f"Type {number}")
                answer = self.pipe(message, "info@example.com", Content_Type=content_type)
                self.assertEqual(200, answer.status_code)
                self.assertEqual(["info"], self.stored(f"Type {number}"))

    @quiet
    def test_malformed_digest_is_400(self):
        """
        A digest that is no SHA-256 in hexadecimal is named as the fault.
        """
        digests = ("x", "sha-256=", "sha-256=" + "g" * 64, "sha-256=" + "0" * 63, "md5=" + "0" * 64)
        for digest in digests:
            with self.subTest(digest):
                answer = self.pipe(MESSAGE, "info@example.com", X_Mail_Digest=digest)
                self.assertEqual(
                    (400, "1"), (answer.status_code, answer.headers["X-Mail-Delivery"])
                )
                self.assertIn("X-Mail-Digest", answer.text)
        self.assertEqual([], self.stored())

    @quiet
    def test_malformed_recipients_are_400(self):
        """
        A recipient that is no address is named as the fault, and no other gets the mail.
        """
        for recipients in ("info", "info@", "@example.com", "info@example.com,,", ","):
            with self.subTest(recipients):
                answer = self.pipe(MESSAGE, X_Mail_Recipients=recipients)
                self.assertEqual(
                    (400, "1"), (answer.status_code, answer.headers["X-Mail-Delivery"])
                )
                self.assertIn("X-Mail-Recipients", answer.text)
        self.assertEqual([], self.stored())

    @quiet
    def test_too_many_recipients_are_400(self):
        """
        More than a thousand recipients are refused, and none of them gets the mail.
        """
        many = ",".join(["info@example.com", *(f"a{n}@example.com" for n in range(1000))])
        self.assertEqual(400, self.pipe(MESSAGE, X_Mail_Recipients=many).status_code)
        self.assertEqual([], self.stored())

    def test_head_of_a_list_is_that_of_get(self):
        """
        HEAD answers with the mark and the ETag, and without a body.
        """
        for path in ("aliases", "transport"):
            with self.subTest(path):
                head, get = self.call("HEAD", path), self.call("GET", path)
                self.assertEqual((200, b""), (head.status_code, head.content))
                self.assertEqual(get.headers["ETag"], head.headers["ETag"])
                self.assertEqual("1", head.headers["X-Mail-Delivery"])

    @quiet
    def test_other_methods_are_405(self):
        """
        Each point takes its own method only.
        """
        for method, path in (("POST", "aliases"), ("PUT", "transport"), ("GET", "pipe")):
            with self.subTest(path):
                self.assertEqual(405, self.call(method, path, b"x").status_code)

    def kept(self):
        """
        Return the message that the receipt of nobody@ keeps.
        """
        receipt = self.receipt("nobody@example.com")
        owner = [("res_model", "=", receipt._name), ("res_id", "=", receipt.id)]
        return self.env["ir.attachment"].search([*owner, ("res_field", "=", "message")]).raw

    def test_octets_of_a_message_arrive_as_sent(self):
        """
        A message that is refused is kept octet by octet, 8-bit, NUL and bare line ends included.
        """
        message = mail(to="nobody@example.com") + bytes(range(256)) + b"\r\r\n\n.\n"
        with quiet:
            self.post(message, "nobody@example.com")
        self.assertEqual(message, self.kept())

    def test_chunked_message_arrives(self):
        """
        A body of unknown length is taken whole.
        """
        parts = (MESSAGE[at : at + 50] for at in range(0, len(MESSAGE), 50))
        answer = self.call(
            "POST",
            "pipe",
            parts,
            Content_Type="message/rfc822",
            X_Mail_Recipients="info@example.com",
        )
        self.assertEqual(200, answer.status_code)
        self.assertEqual(["info"], self.stored())

    def test_digest_is_made_where_none_is_sent(self):
        """
        Without a digest the one of the octets counts, so that a retry is found again.
        """
        for _try in range(2):
            self.post(MESSAGE, "info@example.com", X_Mail_Digest=None)
        self.post(MESSAGE, "info@example.com")
        self.assertEqual(["info"], self.stored())
        self.assertEqual(1, len(self.receipt("info@example.com")))

    def test_digest_is_folded(self):
        """
        A digest in capitals is the same digest.
        """
        self.post(MESSAGE, "info@example.com", X_Mail_Digest="SHA-256=" + "AB" * 32)
        self.assertEqual("ab" * 32, self.receipt("info@example.com").digest)
