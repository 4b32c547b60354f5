import secrets
import threading
from contextlib import suppress
from functools import cache, partial
from urllib.parse import urlsplit

from psycopg2.errors import SerializationFailure

from odoo import SUPERUSER_ID, _, api, fields, models
from odoo.exceptions import AccessError, ValidationError
from odoo.modules.registry import Registry
from odoo.tools import consteq

from ..list_view import list_arch
from ..logic import webhook
from ..logic.configuration import configuration
from ..logic.notifier import Notifier

LIST = """
    <field name="name" width="125px" />
    <field name="webhook" />
    <field name="token_state" width="105px" />
    <field name="last_fetch" width="132px" options="{'show_seconds': false}" />
    <field name="last_delivery" width="132px" options="{'show_seconds': false}" />
    <button name="action_test" type="object" string="Test" icon="fa-plug" />
    <button name="action_new_token" type="object" string="Token" title="Make a new token" icon="fa-key" confirm="Make a new token? The one in use works until the mailer uses the new one." />
"""  # noqa: E501

_notifiers = {}
_notifiers_lock = threading.Lock()


class MailDeliveryMailer(models.Model):
    """
    An odoo-mailer: who may ask, and whom to tell of changes.

    Each has a token of its own. A new one replaces the old one only when it
    has been used, so that nothing stops while it is carried to the mail host.
    """

    _name = "mail_delivery.mailer"
    _description = "Mailer"
    _order = "name, id"

    name = fields.Char(required=True, help="The mail host, as you call it.")
    webhook = fields.Char(
        "Webhook Address",
        help="Called when an address changes, such as http://mail.example.com:8000/aliases. "
        "Without it the mailer learns of changes when it polls, once a minute.",
    )
    # In clear, because the webhook calls carry it; no one reads it but the superuser.
    token = fields.Char(copy=False, groups=fields.NO_ACCESS)
    previous_token = fields.Char(copy=False, groups=fields.NO_ACCESS)
    token_seen = fields.Boolean(copy=False, readonly=True)
    token_state = fields.Selection(
        [
            ("none", "None yet"),
            ("waiting", "Not used yet"),
            ("overlap", "Old one in use"),
            ("used", "In use"),
        ],
        "Token in Use",
        compute="_compute_token_state",
        help="The old one works until the mailer uses the new one.",
    )
    list_etag = fields.Char(copy=False, groups=fields.NO_ACCESS)  # of the list that it has
    last_fetch = fields.Datetime("Last List Fetch", copy=False, readonly=True)
    last_delivery = fields.Datetime(compute="_compute_last_delivery")
    configuration = fields.Text("odoo-mailer.yaml", compute="_compute_configuration")

    @api.model
    def _list_arch(self, version):
        return list_arch(version, 'create="false"', LIST)

    @api.depends("token_seen")
    def _compute_token_state(self):
        for mailer in self:
            hidden = mailer.sudo()
            if not hidden.token:
                mailer.token_state = "none"
            elif hidden.token_seen:
                mailer.token_state = "used"
            else:
                mailer.token_state = "overlap" if hidden.previous_token else "waiting"

    def _compute_last_delivery(self):
        for mailer in self:
            last = self.env["mail_delivery.receipt"].search(
                [("mailer_id", "in", mailer._origin.ids)], order="date desc", limit=1
            )
            mailer.last_delivery = last.date

    @api.depends("webhook")
    def _compute_configuration(self):
        for mailer in self:
            mailer.configuration = mailer._configuration("")

    def _configuration(self, token):
        base_url = self.env["ir.config_parameter"].sudo().get_param("web.base.url") or ""
        return configuration(base_url, self.env.cr.dbname, token, self.webhook or "")

    @api.constrains("webhook")
    def _check_webhook(self):
        for mailer in self.filtered("webhook"):
            if not _is_web_address(mailer.webhook):
                raise ValidationError(
                    _(
                        "%s is no address of a mailer. Write it like http://mail.example.com:8000/aliases",
                        mailer.webhook,
                    )
                )

    @api.model
    def _check_admin(self):
        """
        Raise AccessError unless the user may change the settings.
        """
        if not self.env.is_system():
            raise AccessError(_("Only who may change the settings can do this."))

    # ------------------------------------------------------------
    # Tokens
    # ------------------------------------------------------------

    def _new_token(self):
        """
        Make a token and return it; the one in use works until the new one was seen.
        """
        self.ensure_one()
        hidden = self.sudo()
        token = secrets.token_urlsafe(32)
        previous = hidden.token if hidden.token_seen else hidden.previous_token
        hidden.write({"token": token, "previous_token": previous, "token_seen": False})
        return token

    @api.model
    def _authenticate(self, token):
        """
        Return the mailer that a token belongs to, as superuser; an empty recordset if none.

        :param bytes token: as it came
        """
        self.env.cr.execute(
            "SELECT id, token, previous_token, token_seen FROM mail_delivery_mailer ORDER BY id"
        )
        found = self.browse()
        # No early end: the time taken says nothing of which token came near.
        for id_, current, previous, seen in self.env.cr.fetchall():
            is_current = _same(current, token)
            if is_current or _same(previous, token):
                found = self.browse(id_)
            if is_current and not seen:
                found._see_token()
        return found

    def _see_token(self):
        self._note("token_seen = true, previous_token = NULL")

    def _note_fetch(self, etag=None):
        """
        :param etag: of the list that it has now; None if it takes no changes
        """
        self._note("last_fetch = now() AT TIME ZONE 'UTC', list_etag = %s", etag)

    def _note(self, assignments, *values):
        """
        Write what any request may; of requests at once, one does, and the others need not wait.

        :param assignments: SQL, a constant of this module
        """
        self.env.cr.execute(
            f"""UPDATE mail_delivery_mailer SET {assignments}
                 WHERE id IN (SELECT id FROM mail_delivery_mailer
                               WHERE id = %s FOR UPDATE SKIP LOCKED)""",  # noqa: S608
            (*values, self.id),
        )
        self.invalidate_recordset()

    # ------------------------------------------------------------
    # Notification of changes
    # ------------------------------------------------------------

    @api.model
    def _notify_list_change(self):
        """
        Have the mailers fetch the list once this transaction has been committed.
        """
        postcommit = self.env.cr.postcommit
        if not postcommit.data.get("mail_delivery.changed"):
            postcommit.data["mail_delivery.changed"] = True
            postcommit.add(_notifier(self.env.cr.dbname).kick)

    @api.model
    def _webhooks(self):
        """
        Return the mailers to call; one that has not seen its new token knows the old one.
        """
        mailers = self.sudo().search([("webhook", "!=", False)])
        patch_from = cache(self.env["mail_delivery.list"]._patch_from)
        return [
            mailer._call(patch_from(mailer.list_etag) if mailer.list_etag else None)
            for mailer in mailers
            if mailer.token
        ]

    def _call(self, patch=None):
        return webhook.Mailer(self.webhook, self.previous_token or self.token, self.id, patch)

    def _note_patched(self, patch):
        """
        Note that a mailer has applied a patch, unless it has fetched the list since.
        """
        self.env.cr.execute(
            "UPDATE mail_delivery_mailer SET list_etag = %s WHERE id = %s AND list_etag = %s",
            (patch.etag, self.id, patch.base),
            log_exceptions=False,
        )

    # ------------------------------------------------------------
    # Buttons
    # ------------------------------------------------------------

    def action_test(self):
        """
        Call the webhook now, and say what is wrong.
        """
        self.ensure_one()
        self._check_admin()
        hidden = self.sudo()
        if not hidden.token:
            well, reason = False, _("It has no token yet: make one first.")
        elif not hidden.webhook:
            well, reason = False, _("It has no webhook address: write one first.")
        else:
            well, reason = webhook.call(hidden._call())
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "title": self.name,
                "type": "success" if well else "danger",
                "message": reason,
                "sticky": not well,
            },
        }

    def action_new_token(self):
        self.ensure_one()
        self._check_admin()
        return self.env["mail_delivery.token"]._show(self, self._new_token())


def _is_web_address(text):
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _same(kept, token):
    return consteq(kept.encode(), token) if kept else False


def _notifier(dbname):
    with _notifiers_lock:
        if dbname not in _notifiers:
            _notifiers[dbname] = Notifier(partial(_read_webhooks, dbname), partial(_tell, dbname))
        return _notifiers[dbname]


def _read_webhooks(dbname):
    with Registry(dbname).cursor() as cr:
        return api.Environment(cr, SUPERUSER_ID, {})["mail_delivery.mailer"]._webhooks()


def _tell(dbname, mailer):
    """
    Send a mailer what has changed, or have it fetch the list where that is not known.
    """
    if mailer.patch:
        code = webhook.send(mailer, mailer.patch)
        if code == 202:
            return True, ""
        if code == 200:
            # If two note at once, the first has it; what is noted wrong costs a fetch.
            with suppress(SerializationFailure), Registry(dbname).cursor() as cr:
                env = api.Environment(cr, SUPERUSER_ID, {})
                env["mail_delivery.mailer"].browse(mailer.id)._note_patched(mailer.patch)
            return True, ""
    return webhook.call(mailer)
