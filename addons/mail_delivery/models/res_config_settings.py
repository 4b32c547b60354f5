from odoo import api, fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    mail_delivery_mailer_ids = fields.Many2many(
        "mail_delivery.mailer",
        string="Mailers",
        compute="_compute_mail_delivery",
    )
    mail_delivery_faults = fields.Text(compute="_compute_mail_delivery")

    @api.depends("company_id")
    def _compute_mail_delivery(self):
        mailers = self.env["mail_delivery.mailer"].search([])
        faults = "\n".join(self.env["mail_delivery.list"].sudo()._faults())
        for settings in self:
            settings.mail_delivery_mailer_ids = mailers
            settings.mail_delivery_faults = faults
