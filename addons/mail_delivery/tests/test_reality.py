"""
The list beside Odoo's own gateway: what is on it is accepted, and nothing else is.
"""

from odoo.tests import tagged

from .common import mail, new_message_id, quiet
from .test_list import ListCase


@tagged("post_install", "-at_install")
class TestReality(ListCase):
    def setUp(self):
        super().setUp()
        other = self.env["mail.alias.domain"].create({"name": "two.example.com"})
        self.alias("info")
        self.alias("info", alias_domain_id=other.id)
        self.alias("any", alias_incoming_local=True, alias_domain_id=False)
        self.alias("both", alias_incoming_local=True)
        self.alias("nowhere", alias_domain_id=False)
        self.alias("x+y")

    def routed(self, address):
        """
        Have Odoo's own gateway take a mail, and say whether it found a record for it.
        """
        sender = f"a{new_message_id()[1:]}"[:-1]
        message = mail(to=address, sender=sender, fields=[f"Delivered-To: {address}"])
        try:
            return bool(self.env["mail.thread"].message_process(None, message))
        except ValueError as error:
            self.assertIn("No possible route", str(error))
            return False

    def listed(self):
        """
        Return the addresses of the text page.
        """
        return {line.split()[0] for line in self.text()}

    def test_what_is_listed_is_routed(self):
        """
        Odoo's own gateway makes a record of mail to each address, but for the domains' own.
        """
        self.allow("lists.example.net")
        services = self.env["mail_delivery.list"]._service_addresses()
        addresses = self.listed() - services
        self.assertEqual(2 + 3 + 3 + 1, len(addresses))
        for address in sorted(addresses):
            with self.subTest(address):
                self.assertTrue(self.routed(address))
                self.assertTrue(self.routed(address.upper()))

    @quiet
    def test_what_is_not_listed_is_not_routed(self):
        """
        Odoo's own gateway finds no route to addresses that are not on the list.
        """
        self.allow("lists.example.net")
        strangers = {
            "nobody@example.com",
            "nowhere@example.com",
            "nowhere@two.example.com",
            "info@lists.example.net",
            "any@elsewhere.example.net",
            "both@elsewhere.example.net",
            "x@example.com",
            "info+tag@example.com",
            "catchall+tag@example.com",
        }
        self.assertEqual(set(), strangers & self.listed())
        for address in sorted(strangers):
            with self.subTest(address):
                self.assertFalse(self.routed(address))

    def test_listed_addresses_get_their_mail(self):
        """
        A post to each address of an alias is answered 250, to each of the domains' own 550 or 250.
        """
        services = self.env["mail_delivery.list"]._service_addresses()
        for address in sorted(self.listed()):
            with self.subTest(address), quiet:
                message = mail(to=address, sender=f"a{new_message_id()[1:]}"[:-1])
                [verdict] = self.post(message, address).values()
                if address not in services or address.startswith("bounce@"):
                    self.assertEqual(250, verdict["code"])
                else:
                    self.assertEqual("5.1.1", verdict["status"])
