"""
Changes of the list: the mailers are told once for each transaction that is committed.
"""

from contextlib import contextmanager

from odoo import SUPERUSER_ID, api
from odoo.addons.mail_delivery.models import mail_delivery_mailer
from odoo.sql_db import db_connect
from odoo.tests import tagged

from .common import ALLOWED, DeliveryCase, quiet


@tagged("post_install", "-at_install")
class TestNotify(DeliveryCase):
    def setUp(self):
        super().setUp()
        self.kicks = []
        self.patch(mail_delivery_mailer, "_notifier", lambda _dbname: self)
        self.env.cr.postcommit.clear()

    def kick(self):
        """
        Count a notification, in place of the notifier.
        """
        self.kicks.append(1)

    @contextmanager
    def expect(self, count):
        """
        Check how many notifications what is done here would make when it is committed.
        """
        before = len(self.kicks)
        self.env.cr.postcommit.clear()
        yield
        self.env.flush_all()
        self.env.cr.postcommit.run()
        self.assertEqual(count, len(self.kicks) - before)

    def test_changes_of_an_alias(self):
        """
        Making, renaming, moving and deleting an alias are one notification each.
        """
        other = self.env["mail.alias.domain"].create({"name": "two.example.com"})
        with self.expect(1):
            alias = self.alias("info")
        with self.expect(1):
            alias.alias_name = "office"
        with self.expect(1):
            alias.alias_domain_id = other
        with self.expect(1):
            alias.alias_incoming_local = True
        with self.expect(1):
            alias.alias_name = False
        with self.expect(1):
            alias.alias_name = "again"
        with self.expect(1):
            alias.unlink()

    def test_changes_of_a_domain(self):
        """
        Making, renaming and deleting a domain, and its own addresses, are one notification each.
        """
        with self.expect(1):
            domain = self.env["mail.alias.domain"].create({"name": "two.example.com"})
        changes = {
            "name": "three.example.com",
            "bounce_alias": "returns",
            "catchall_alias": "all",
            "default_from": "erp",
        }
        for field, value in changes.items():
            with self.subTest(field), self.expect(1):
                domain[field] = value
        with self.expect(1):
            domain.unlink()

    def test_changes_of_the_parameter(self):
        """
        Setting, changing and removing the allowed domains are one notification each.
        """
        parameters = self.env["ir.config_parameter"]
        for value in ("lists.example.net", "lists.example.net,b.example.net", False):
            with self.subTest(value), self.expect(1):
                parameters.set_param(ALLOWED, value)
        with self.expect(1):
            parameter = parameters.create({"key": ALLOWED, "value": "lists.example.net"})
        with self.expect(1):
            parameter.key = "other.parameter"
        with self.expect(1):
            parameter.key = ALLOWED
        with self.expect(1):
            parameter.unlink()

    def test_many_changes_of_one_transaction(self):
        """
        Five hundred aliases, a domain and the parameter in one transaction are one notification.
        """
        model = self.env["ir.model"]._get_id("res.partner")
        with self.expect(1):
            aliases = self.env["mail.alias"].create(
                [
                    {
                        "alias_name": f"a{number}",
                        "alias_model_id": model,
                        "alias_domain_id": self.domain.id,
                    }
                    for number in range(500)
                ]
            )
            self.domain.name = "other.example.com"
            self.env["ir.config_parameter"].set_param(ALLOWED, "lists.example.net")
        with self.expect(1):
            aliases.unlink()

    def test_next_transaction_is_told_again(self):
        """
        After a commit the next change is a notification again.
        """
        for name in ("one", "two"):
            with self.expect(1):
                self.alias(name)

    def test_other_changes(self):
        """
        What does not change the list notifies nobody; each first mail writes the status.
        """
        alias, partner = self.alias("info"), self.partner("Ann", "ann@example.net")
        writes = {
            "alias_status": "valid",
            "alias_contact": "partners",
            "alias_defaults": "{'ref': 'x'}",
            "alias_force_thread_id": partner.id,
            "alias_bounced_content": "<p>No</p>",
        }
        for field, value in writes.items():
            with self.subTest(field), self.expect(0):
                alias[field] = value
        with self.subTest("sequence"), self.expect(0):
            self.domain.sequence = 3
        with self.subTest("parameter"), self.expect(0):
            self.env["ir.config_parameter"].set_param("other.parameter", "x")
        with self.subTest("no name"), self.expect(0):
            self.alias(False).unlink()

    @quiet
    def test_failed_change(self):
        """
        A change that Odoo refuses, and that its transaction survives, notifies nobody.
        """
        self.alias("info")
        domains = self.env["mail.alias.domain"]
        changes = {
            "alias": lambda: self.alias("info"),
            "domain": lambda: domains.create({"name": "no domain"}),
            "same domain": lambda: domains.create({"name": "example.com"}),
        }
        for name, change in changes.items():
            with self.subTest(name), self.expect(0), self.fails_with(Exception):
                change()

    def test_rollback(self):
        """
        A transaction that is rolled back notifies nobody, and the next on its cursor does.
        """
        with db_connect(self.env.cr.dbname).cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            model = env["ir.model"]._get_id("res.partner")
            values = {"alias_name": "rolled.back", "alias_model_id": model}
            env["mail.alias"].create(values)
            cr.rollback()
            self.assertEqual([], self.kicks)
            env["mail.alias"].create(values)
            self.assertTrue(cr.postcommit.data.get("mail_delivery.changed"))
            cr.rollback()
            self.assertEqual([], self.kicks)

    def test_commit(self):
        """
        A transaction that is committed notifies after that, once.
        """
        with db_connect(self.env.cr.dbname).cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            model = env["ir.model"]._get_id("res.partner")
            alias = env["mail.alias"].create(
                [{"alias_name": f"committed.{n}", "alias_model_id": model} for n in range(2)]
            )
            self.assertEqual([], self.kicks)
            cr.commit()
            try:
                self.assertEqual([1], self.kicks)
            finally:
                alias.unlink()
                cr.commit()
            self.assertEqual([1, 1], self.kicks)

    def test_only_with_a_webhook(self):
        """
        Only mailers with a webhook address and a token are called.
        """
        mailers = self.env["mail_delivery.mailer"]
        self.assertEqual([], mailers._webhooks())
        mailers.create({"name": "mx", "webhook": "http://mx.example.com:8000/aliases"})
        self.assertEqual([], mailers._webhooks())
        self.mailer.webhook = "http://mail.example.com:8000/aliases"
        [call] = mailers._webhooks()
        self.assertEqual((self.mailer.webhook, self.token), (call.url, call.token))

    def test_mailer_is_called_with_the_token_that_it_knows(self):
        """
        The old token goes with the call until the new one was seen.
        """
        self.mailer.webhook = "http://mail.example.com:8000/aliases"
        mailers = self.env["mail_delivery.mailer"]
        mailers._authenticate(self.token.encode())
        new = self.mailer._new_token()
        self.env.flush_all()
        self.assertEqual([self.token], [call.token for call in mailers._webhooks()])
        mailers._authenticate(self.token.encode())
        self.assertEqual([self.token], [call.token for call in mailers._webhooks()])
        mailers._authenticate(new.encode())
        self.assertEqual([new], [call.token for call in mailers._webhooks()])
