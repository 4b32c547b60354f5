"""
Who sees what of the addon, and in which views.
"""

import base64
from base64 import b64encode
from contextlib import suppress

from odoo.exceptions import AccessError, UserError
from odoo.release import version_info
from odoo.tests import tagged

from .common import DeliveryCase, quiet

LIST = "tree" if version_info[0] < 18 else "list"
MODELS = ("mail_delivery.receipt", "mail_delivery.mailer", "mail_delivery.token")


@tagged("post_install", "-at_install")
class TestAccess(DeliveryCase):
    def setUp(self):
        super().setUp()
        self.employee = self.user("user", "group_user")
        self.admin = self.user("admin", "group_system")
        receipts = self.env["mail_delivery.receipt"]
        claim = receipts._claim("ab" * 32, ["a@example.com"])["a@example.com"]
        receipts._settle(claim, {}, "refused", "", b64encode(b"message"))
        self.receipt_made = receipts.browse(claim.id)

    @quiet
    def test_users_see_nothing(self):
        """
        A user without the settings group reads, makes, changes and removes nothing.
        """
        for name in MODELS:
            model = self.env[name].with_user(self.employee)
            with self.subTest(name):
                for do in (
                    lambda model=model: model.search_read([], ["id"]),
                    lambda model=model: model.create({"name": "x"}),
                ):
                    with self.assertRaises(AccessError):
                        do()
        for record in (self.receipt_made, self.mailer):
            with self.subTest(record._name):
                mine = record.with_user(self.employee)
                for do in (mine.read, mine.unlink, lambda mine=mine: mine.write({"create_uid": 1})):
                    with self.assertRaises(AccessError):
                        do()

    @quiet
    def test_users_press_no_button(self):
        """
        A user without the settings group cannot call the buttons either.
        """
        buttons = (
            (self.receipt_made, "action_replay"),
            (self.receipt_made, "action_open_record"),
            (self.mailer, "action_test"),
            (self.mailer, "action_new_token"),
        )
        for record, button in buttons:
            with self.subTest(button), self.assertRaises(UserError):
                getattr(record.with_user(self.employee), button)()
        wizard = self.env["mail_delivery.token"].create({"name": "x"})
        with self.assertRaises(AccessError):
            wizard.with_user(self.employee).action_connect()

    def test_users_find_no_message(self):
        """
        The kept message is no attachment that users can read.
        """
        owner = [("res_model", "=", self.receipt_made._name), ("res_field", "=", "message")]
        attachment = self.env["ir.attachment"].search(owner)
        self.assertTrue(attachment)
        with self.assertRaises(AccessError), quiet:
            attachment.with_user(self.employee).read(["raw"])
        with suppress(AccessError):  # from Odoo 19 on
            self.assertFalse(attachment.with_user(self.employee).search(owner))

    def test_administrators_read(self):
        """
        The settings group reads receipts with their messages, and mailers.
        """
        receipt = self.receipt_made.with_user(self.admin).with_context(bin_size=False)
        self.assertEqual(b"message", base64.b64decode(receipt.message))
        self.assertEqual("mail.example.com", self.mailer.with_user(self.admin).name)

    @quiet
    def test_receipts_cannot_be_forged(self):
        """
        Nobody writes, makes or removes receipts by hand.
        """
        receipt = self.receipt_made.with_user(self.admin)
        for do in (
            lambda: receipt.write({"outcome": "stored"}),
            lambda: receipt.create({"digest": "x", "recipient": "x"}),
            receipt.unlink,
        ):
            with self.assertRaises(AccessError):
                do()

    def test_menu_is_for_the_settings_group(self):
        """
        The menu is seen by the settings group only.
        """
        menu = self.env.ref("mail_delivery.mail_delivery_receipt_menu")
        self.assertEqual("base.menu_email", menu.parent_id.get_external_id()[menu.parent_id.id])
        self.assertNotIn(
            menu.id, self.env["ir.ui.menu"].with_user(self.employee)._visible_menu_ids()
        )


@tagged("post_install", "-at_install")
class TestViews(DeliveryCase):
    def test_views_load(self):
        """
        Each view loads as the client asks for it, for the settings group.
        """
        admin = self.user("admin", "group_system")
        views = {
            "mail_delivery.receipt": (LIST, "form", "search"),
            "mail_delivery.mailer": (LIST, "form"),
            "mail_delivery.token": ("form",),
            "res.config.settings": ("form",),
        }
        for name, kinds in views.items():
            for kind in kinds:
                with self.subTest(name, kind=kind):
                    found = self.env[name].with_user(admin).get_view(view_type=kind)
                    self.assertTrue(found["arch"].startswith(f"<{kind}"))

    def test_fields_in_the_views(self):
        """
        The views show what is promised.
        """
        shown = {
            ("mail_delivery.receipt", LIST): (
                "recipient",
                "outcome",
                "record_name",
                "action_replay",
            ),
            ("mail_delivery.receipt", "form"): ("detail", "message", "reply", "action_open_record"),
            ("mail_delivery.receipt", "search"): ("recipient", "digest", "queue_id"),
            ("mail_delivery.mailer", LIST): ("webhook", "last_fetch", "last_delivery"),
            ("mail_delivery.mailer", "form"): ("configuration", "action_test", "action_new_token"),
            ("mail_delivery.token", "form"): ("token", "configuration", "action_connect"),
            ("res.config.settings", "form"): ("mail_delivery_mailer_ids", "mail_delivery_faults"),
        }
        for (name, kind), names in shown.items():
            arch = self.env[name].get_view(view_type=kind)["arch"]
            for field in names:
                with self.subTest(name, kind=kind, field=field):
                    self.assertIn(f'name="{field}"', arch)

    def test_actions_open(self):
        """
        The actions name views that this series has.
        """
        for name in ("receipt", "mailer"):
            action = self.env.ref(f"mail_delivery.mail_delivery_{name}_action")
            self.assertEqual(f"{LIST},form", action.view_mode)
