from odoo import api, models
from odoo.tools import html2plaintext

from ..logic.trace import BrokenAliasError, trace_of

LISTED = {"alias_name", "alias_domain_id", "alias_incoming_local"}


class MailAlias(models.Model):
    _inherit = "mail.alias"

    @api.model_create_multi
    def create(self, vals_list):
        aliases = super().create(vals_list)
        # A project without an address has an alias as well, without a name.
        if any(aliases.mapped("alias_name")):
            self.env["mail_delivery.mailer"]._notify_list_change()
        return aliases

    def write(self, vals):
        result = super().write(vals)
        if not LISTED.isdisjoint(vals):
            self.env["mail_delivery.mailer"]._notify_list_change()
        return result

    def unlink(self):
        if any(self.mapped("alias_name")):
            self.env["mail_delivery.mailer"]._notify_list_change()
        return super().unlink()

    def _alias_bounce_incoming_email(self, message, message_dict, set_invalid=True):
        trace = trace_of(self.env)
        if trace is None:
            return super()._alias_bounce_incoming_email(message, message_dict, set_invalid)
        if not set_invalid:
            trace.refused[self.id] = html2plaintext(self.sudo().alias_bounced_content or "")
            trace.bounced = True
        elif trace.checking:
            raise BrokenAliasError(f"{self.display_name} is not configured as Odoo needs it")
        return None
