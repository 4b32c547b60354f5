from odoo import _, api, fields, models


class MailDeliveryToken(models.TransientModel):
    """
    Connects a mailer, and shows its token, once.
    """

    _name = "mail_delivery.token"
    _description = "Token of a Mailer"

    name = fields.Char("Mail Host", help="The mail host, as you call it.")
    webhook = fields.Char("Webhook Address")
    mailer_id = fields.Many2one("mail_delivery.mailer", readonly=True, ondelete="cascade")
    # Not stored: shown in the answer to the click, and gone with the page.
    token = fields.Char(store=False, readonly=True)
    configuration = fields.Text("odoo-mailer.yaml", store=False, readonly=True)

    @api.model
    def default_get(self, fields_list):
        values = super().default_get(fields_list)
        shown = self.env.context.get("mail_delivery_token")
        if shown and "token" in fields_list:
            self.env["mail_delivery.mailer"]._check_admin()
            mailer = self.env["mail_delivery.mailer"].browse(values.get("mailer_id"))
            values["token"] = shown
            values["configuration"] = mailer._configuration(shown)
        return values

    @api.model
    def _show(self, mailer, token):
        return {
            "type": "ir.actions.act_window",
            "name": _("Token of %s", mailer.name),
            "res_model": self._name,
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_mailer_id": mailer.id, "mail_delivery_token": token},
        }

    def action_connect(self):
        """
        Make the mailer and its token.
        """
        self.ensure_one()
        mailer = self.env["mail_delivery.mailer"].create(
            {"name": self.name, "webhook": self.webhook}
        )
        return mailer.action_new_token()
