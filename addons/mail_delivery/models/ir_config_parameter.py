from odoo import api, models

LISTED = "mail.catchall.domain.allowed"


class IrConfigParameter(models.Model):
    _inherit = "ir.config_parameter"

    @api.model_create_multi
    def create(self, vals_list):
        parameters = super().create(vals_list)
        parameters._notify_if_listed()
        return parameters

    def write(self, vals):
        self._notify_if_listed()
        result = super().write(vals)
        self._notify_if_listed()
        return result

    def unlink(self):
        self._notify_if_listed()
        return super().unlink()

    def _notify_if_listed(self):
        # While modules are loaded, parameters are written before our tables exist.
        if LISTED in self.mapped("key") and "mail_delivery.mailer" in self.env:
            self.env["mail_delivery.mailer"]._notify_list_change()
