import base64
import datetime
from typing import NamedTuple

from odoo import _, api, fields, models
from odoo.exceptions import UserError

from ..delivery import Delivery
from ..list_view import list_arch
from ..logic.envelope import Envelope
from ..logic.verdict import DELIVERED, VERDICTS, storable, verdict_of

KEPT_DAYS = 30
GC_BATCH, GC_BATCHES = 1_000, 50  # receipts with a message that one autovacuum removes
# Nothing to replay: the mail has arrived, or waits with Postfix.
WITHOUT_MESSAGE = DELIVERED | {"loop", "busy"}


class Claim(NamedTuple):
    """
    A receipt that this transaction has locked, as it was.
    """

    id: int
    outcome: str | None
    reply: str | None
    has_message: bool
    tries: int

    @property
    def is_delivered(self):
        """There is nothing left to do."""
        return self.outcome in DELIVERED

    def verdict(self):
        """
        Return the Verdict that was given.
        """
        known = VERDICTS[self.outcome]
        prefix = f"{known.code} {known.status} "
        return verdict_of(self.outcome, (self.reply or "").removeprefix(prefix))


LIST = """
    <field name="date" optional="show" width="160px" />
    <field name="sender" width="200px" />
    <field name="recipient" width="200px" />
    <field name="subject" optional="show" />
    <field name="outcome" width="130px" widget="badge" decoration-danger="outcome in ('refused', 'unknown', 'unparsable', 'loop_notice')" decoration-warning="outcome in ('failed', 'loop', 'busy')" decoration-success="outcome in ('stored', 'processed', 'duplicate')" />
    <field name="reply" optional="hide" />
    <field name="record_name" optional="show" />
    <field name="tries" optional="hide" />
    <field name="mailer_id" optional="hide" />
    <field name="queue_id" optional="hide" />
    <field name="digest" optional="hide" />
    <field name="res_id" column_invisible="True" />
    <field name="has_message" column_invisible="True" />
    <button name="action_open_record" type="object" string="Open" icon="fa-external-link" invisible="not res_id" />
    <button name="action_replay" type="object" string="Replay" icon="fa-repeat" invisible="not has_message" confirm="Deliver this message to Odoo again? A sender who was refused has been told that it did not arrive." />
"""  # noqa: E501


class MailDeliveryReceipt(models.Model):
    """
    The ledger: what became of each message for each recipient.

    A row is written in the transaction of the records that it stands for, and
    (digest, recipient) is unique: of two deliveries at once, the second waits
    for the first and then cannot be serialized, is tried again and finds it.
    """

    _name = "mail_delivery.receipt"
    _description = "Mail Delivery Receipt"
    _order = "date desc, id desc"
    _rec_name = "recipient"

    digest = fields.Char(required=True, readonly=True, help="SHA-256 of the message, as received.")
    recipient = fields.Char(required=True, readonly=True)
    sender = fields.Char(readonly=True, help="Envelope sender; empty for delivery reports.")
    outcome = fields.Selection(
        [
            ("stored", "Stored"),
            ("duplicate", "Known already"),
            ("processed", "Delivery report"),
            ("refused", "Sender refused"),
            ("unknown", "No such address"),
            ("unparsable", "Not readable"),
            ("loop_notice", "Answer to a loop notice"),
            ("loop", "Too many, waiting"),
            ("failed", "Failed, waiting"),
            ("busy", "Busy, waiting"),
        ],
        readonly=True,
    )
    reply = fields.Char(readonly=True, help="What Postfix was told.")
    detail = fields.Text("Reason", readonly=True)
    subject = fields.Char(readonly=True)
    message_id = fields.Char("Message-Id", readonly=True)
    queue_id = fields.Char("Queue ID", readonly=True, help="Postfix's, as in its log.")
    mailer_id = fields.Many2one("mail_delivery.mailer", readonly=True, ondelete="set null")
    date = fields.Datetime("Last Try", readonly=True)
    tries = fields.Integer(readonly=True)
    res_model = fields.Char("Record Model", readonly=True)
    res_id = fields.Many2oneReference("Record ID", model_field="res_model", readonly=True)
    record_name = fields.Char("Record", compute="_compute_record_name")
    message = fields.Binary(readonly=True, attachment=True)
    message_name = fields.Char(compute="_compute_message_name")
    has_message = fields.Boolean("Message Kept", readonly=True)

    def init(self):
        # Not as constraints: what declares those differs from one series to the next.
        self.env.cr.execute(
            """
            CREATE UNIQUE INDEX IF NOT EXISTS mail_delivery_receipt_digest_recipient
                ON mail_delivery_receipt (digest, recipient);
            CREATE INDEX IF NOT EXISTS mail_delivery_receipt_message_id_hash
                ON mail_delivery_receipt USING hash (message_id);
            CREATE INDEX IF NOT EXISTS mail_delivery_receipt_date
                ON mail_delivery_receipt (date);
            CREATE INDEX IF NOT EXISTS mail_delivery_receipt_mailer
                ON mail_delivery_receipt (mailer_id, date);
            """
        )

    @api.model
    def _list_arch(self, version):
        return list_arch(version, 'create="false" edit="false" delete="false"', LIST)

    @api.depends("res_model", "res_id")
    def _compute_record_name(self):
        for receipt in self:
            record = receipt._record()
            receipt.record_name = record.display_name if record else False

    @api.depends("digest")
    def _compute_message_name(self):
        for receipt in self:
            receipt.message_name = f"{receipt.digest[:16]}.eml"

    def _record(self):
        if not self.res_id or self.res_model not in self.env:
            return None
        return self.env[self.res_model].sudo().browse(self.res_id).exists()

    # ------------------------------------------------------------
    # Ledger
    # ------------------------------------------------------------

    @api.model
    def _claim(self, digest, recipients):
        """
        Lock the receipts of a message, making those that there are not yet.

        :return: recipient to Claim
        :raise SerializationFailure: another transaction has just written one
        """
        rows = sorted(set(recipients))
        self.env.cr.execute(
            """INSERT INTO mail_delivery_receipt
                      (digest, recipient, create_uid, create_date, tries, has_message)
               SELECT %s, recipient, %s, now() AT TIME ZONE 'UTC', 0, false
                 FROM unnest(%s) AS recipient
                   ON CONFLICT (digest, recipient) DO NOTHING
            RETURNING recipient, id, outcome, reply, has_message, tries""",
            (digest, self.env.uid, rows),
            log_exceptions=False,  # a delivery of the same message at once is no error
        )
        claims = self.env.cr.fetchall()
        if len(claims) < len(rows):
            self.env.cr.execute(
                """SELECT recipient, id, outcome, reply, has_message, tries
                     FROM mail_delivery_receipt
                    WHERE digest = %s AND recipient = ANY(%s) ORDER BY recipient FOR UPDATE""",
                (digest, rows),
                log_exceptions=False,
            )
            claims = self.env.cr.fetchall()
        return {recipient: Claim(*claim) for recipient, *claim in claims}

    @api.model
    def _look_up_message_id(self, trace):
        """
        Tell the trace who has a message with its Message-Id, under whatever digest.

        :raise SerializationFailure: another delivery of it has come first; try again
        """
        self.env["mail_delivery.message_id"]._meet(trace.message_id)
        self.env.cr.execute(
            """SELECT recipient, outcome FROM mail_delivery_receipt
                WHERE message_id = %s AND outcome IN ('stored', 'processed')""",
            (storable(trace.message_id),),
        )
        known = dict(self.env.cr.fetchall())
        # A delivery report counts once, to however many addresses it was sent.
        known |= dict.fromkeys(trace.recipients) if "processed" in known.values() else {}
        trace.had = frozenset(known.keys() & set(trace.recipients))
        trace.recipients = tuple(r for r in trace.recipients if r not in trace.had)
        trace.further = "stored" in known.values()
        if trace.further and trace.recipients:
            aliases = self.env["mail_delivery.list"]._aliases_of(tuple(known))
            trace.had_aliases = frozenset().union(*aliases.values())

    @api.model
    def _settle(self, claim, values, outcome, text, message):
        """
        Write what became of the message for the recipient of a claim.

        :param text: told to a refused sender in place of the usual words
        :param message: in base64, kept if there may be something to replay
        :return: the Verdict
        """
        verdict = verdict_of(outcome, text)
        # What was refused before, Postfix has no more: a replay that has to wait keeps it.
        kept = outcome not in WITHOUT_MESSAGE or (claim.has_message and outcome not in DELIVERED)
        change = {"message": message if kept else False} if kept != claim.has_message else {}
        self.browse(claim.id).write(
            {
                **values,
                **change,
                "outcome": outcome,
                "reply": str(verdict),
                "has_message": kept,
                "date": fields.Datetime.now(),
                "tries": claim.tries + 1,
            }
        )
        return verdict

    @api.autovacuum
    def _gc_receipts(self):
        limit = fields.Datetime.now() - datetime.timedelta(days=KEPT_DAYS)
        self.env.cr.execute(
            "DELETE FROM mail_delivery_receipt WHERE date < %s AND NOT has_message", (limit,)
        )
        old = [("date", "<", limit), ("has_message", "=", True)]
        for _batch in range(GC_BATCHES):
            receipts = self.sudo().search(old, order="date", limit=GC_BATCH)
            receipts.unlink()
            if len(receipts) < GC_BATCH:
                break

    # ------------------------------------------------------------
    # Buttons
    # ------------------------------------------------------------

    def action_open_record(self):
        self.ensure_one()
        if not self._record():
            raise UserError(_("The record is not there any more."))
        return {
            "type": "ir.actions.act_window",
            "res_model": self.res_model,
            "res_id": self.res_id,
            "views": [(False, "form")],
        }

    def action_replay(self):
        """
        Deliver the kept message again, as Postfix would.
        """
        self.ensure_one()
        self.env["mail_delivery.mailer"]._check_admin()
        if not self.has_message:
            raise UserError(_("No message was kept: it has arrived, or waits with Postfix."))
        receipt = self.sudo()
        envelope = Envelope(
            receipt.sender or "", (receipt.recipient,), receipt.digest, receipt.queue_id or ""
        )
        message = base64.b64decode(receipt.with_context(bin_size=False).message)
        verdict = Delivery(self.env, receipt.mailer_id, envelope, message).run()[receipt.recipient]
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success" if verdict.code == 250 else "warning",
                "message": str(verdict),
                "next": {"type": "ir.actions.client", "tag": "soft_reload"},
            },
        }
