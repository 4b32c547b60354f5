from odoo import api, models

LISTED = {"name", "bounce_alias", "catchall_alias", "default_from"}


class MailAliasDomain(models.Model):
    _inherit = "mail.alias.domain"

    @api.model_create_multi
    def create(self, vals_list):
        domains = super().create(vals_list)
        self.env["mail_delivery.mailer"]._notify_list_change()
        return domains

    def write(self, vals):
        result = super().write(vals)
        if not LISTED.isdisjoint(vals):
            self.env["mail_delivery.mailer"]._notify_list_change()
        return result

    def unlink(self):
        self.env["mail_delivery.mailer"]._notify_list_change()
        return super().unlink()
