"""
The webhook of a mailer, and the configuration that it is given to copy.
"""

import logging
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from odoo.exceptions import ValidationError
from odoo.tests import tagged

from .common import DeliveryCase

try:
    import yaml
except ImportError:
    yaml = None

_logger = logging.getLogger(__name__)


class Webhook(BaseHTTPRequestHandler):
    """
    A mailer that answers as its server says.
    """

    def do_POST(self):
        """
        Note the call, and answer it.
        """
        self.server.headers.append(self.headers)
        length = int(self.headers.get("Content-Length", 0))
        self.server.calls.append(
            (self.path, self.headers.get("X-Mail-Token"), self.rfile.read(length))
        )
        self.send_response(self.server.status)
        if self.server.status in (301, 302, 307, 308):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        """
        Write to the log of the tests.
        """
        _logger.debug("webhook: %s", args)


@contextmanager
def webhook(status=202):
    """
    Serve a webhook on loopback.
    """
    server = HTTPServer(("127.0.0.1", 0), Webhook)
    server.status, server.calls, server.headers = status, [], []
    server.url = f"http://127.0.0.1:{server.server_port}/aliases"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@tagged("post_install", "-at_install")
class TestWebhook(DeliveryCase):
    def test_button(self):
        """
        The button calls the webhook with the token and an empty body, and says that all is well.
        """
        with webhook() as server:
            self.mailer.webhook = server.url
            shown = self.mailer.action_test()["params"]
        self.assertEqual([("/aliases", self.token, b"")], server.calls)
        self.assertEqual("success", shown["type"])
        self.assertIn("fetches the list", shown["message"])

    def test_faults(self):
        """
        Each answer that is not as it should be is explained.
        """
        reasons = {
            200: "202",
            301: "redirects",
            302: "redirects",
            307: "redirects",
            401: "token",
            404: "path",
            405: "not allowed",
            500: "500",
            503: "503",
        }
        for status, reason in reasons.items():
            with self.subTest(status), webhook(status) as server:
                self.mailer.webhook = server.url
                shown = self.mailer.action_test()["params"]
                self.assertEqual("danger", shown["type"])
                self.assertIn(reason, shown["message"])
                self.assertEqual(["/aliases"], [path for path, *_rest in server.calls])
                self.assertNotIn(self.token, str(shown))

    def test_closed_port(self):
        """
        A port where nothing listens is named as such.
        """
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.mailer.webhook = f"http://127.0.0.1:{port}/aliases"
        shown = self.mailer.action_test()["params"]
        self.assertEqual("danger", shown["type"])
        self.assertIn("Nothing listens", shown["message"])

    def test_no_webhook_and_no_token(self):
        """
        The button says what is missing.
        """
        shown = self.mailer.action_test()["params"]
        self.assertIn("webhook address", shown["message"])
        other = self.env["mail_delivery.mailer"].create(
            {"name": "mx.example.com", "webhook": "http://mx.example.com:8000/aliases"}
        )
        self.assertIn("token", other.action_test()["params"]["message"])

    def test_old_token_until_the_new_one_was_seen(self):
        """
        The button calls with the token that the mailer knows.
        """
        self.env["mail_delivery.mailer"]._authenticate(self.token.encode())
        self.mailer._new_token()
        with webhook() as server:
            self.mailer.webhook = server.url
            self.mailer.action_test()
        self.assertEqual([self.token], [token for _path, token, _body in server.calls])

    def test_wrong_addresses(self):
        """
        What is no address of the web is refused when it is written.
        """
        wrong = (
            "mail.example.com",
            "mail.example.com:8000",
            "ftp://mail.example.com/",
            "http://",
            "http:///aliases",
            "http://mail.example.com:port/",
            "http://mail.example.com:0/",
            "http://mail.example.com:99999/",
            "http://[::1/",
            "javascript:alert(1)",
            "file:///etc/passwd",
        )
        for address in wrong:
            with self.subTest(address), self.assertRaises(ValidationError):
                self.mailer.webhook = address
                self.env.flush_all()

    def test_right_addresses(self):
        """
        Names, IPv4 and IPv6 addresses, with and without a port, are taken.
        """
        right = (
            "http://mail.example.com:8000/aliases",
            "https://mail.example.com/aliases",
            "http://127.0.0.1:8000/aliases",
            "http://[::1]:8000/aliases",
        )
        for address in right:
            with self.subTest(address):
                self.mailer.webhook = address
                self.env.flush_all()


@tagged("post_install", "-at_install")
class TestConfiguration(DeliveryCase):
    def lines(self):
        """
        Return the lines of the configuration to copy.
        """
        return self.mailer.configuration.splitlines()

    def base_url(self, url):
        """
        Write the address of Odoo.
        """
        self.env["ir.config_parameter"].set_param("web.base.url", url)
        self.env.invalidate_all()

    def test_host(self):
        """
        The configuration names Odoo as its users do.
        """
        self.base_url("https://odoo.example.com")
        self.assertIn('host: "https://odoo.example.com"', self.lines())
        self.assertNotIn(self.token, self.mailer.configuration)
        self.assertNotIn("insecure", self.mailer.configuration)

    def test_plain_http(self):
        """
        Plain http needs a word of consent, but on loopback.
        """
        self.base_url("http://odoo.example.com:8069")
        self.assertIn("insecure: true", self.mailer.configuration)
        self.base_url("http://localhost:8069")
        self.assertNotIn("insecure", self.mailer.configuration)

    def test_webhook(self):
        """
        Where the mailer is to listen follows from where it is called.
        """
        self.mailer.webhook = "http://mail.example.com:8001/aliases"
        self.assertIn('http: "0.0.0.0:8001"', self.mailer.configuration)
        self.mailer.webhook = "http://127.0.0.1:8000/aliases"
        self.assertIn('http: "127.0.0.1:8000"', self.mailer.configuration)

    def test_it_is_yaml(self):
        """
        The configuration is YAML with the keys that odoo-mailer knows.
        """
        if yaml is None:
            self.skipTest("there is no yaml module")
        self.base_url("http://odoo.example.com:8069")
        self.mailer.webhook = "http://mail.example.com:8000/aliases"
        token = self.mailer._new_token()
        found = yaml.safe_load(self.mailer._configuration(token))
        self.assertEqual(
            {
                "host": "http://odoo.example.com:8069",
                "token": token,
                "insecure": True,
                "http": "0.0.0.0:8000",
            },
            found,
        )
