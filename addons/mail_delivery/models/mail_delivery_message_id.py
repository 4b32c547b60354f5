import datetime
from hashlib import sha256

from odoo import api, fields, models

KEPT_HOURS = 1  # only while deliveries at once can meet


class MailDeliveryMessageId(models.Model):
    """
    Where deliveries of one Message-Id meet, in whatever form and to whomever it is sent.

    Each writes the same row, so that of two at once the second cannot be serialized, is
    tried again and then sees what the first has stored. A lock alone would not do: what a
    transaction sees was settled before it waited.
    """

    _name = "mail_delivery.message_id"
    _description = "Message-Id under Way"
    _log_access = False

    digest = fields.Char(required=True, help="SHA-256 of the Message-Id.")
    date = fields.Datetime()

    def init(self):
        self.env.cr.execute(
            """CREATE UNIQUE INDEX IF NOT EXISTS mail_delivery_message_id_digest
                   ON mail_delivery_message_id (digest)"""
        )

    @api.model
    def _meet(self, message_id):
        """
        Write the row of a Message-Id.

        :raise SerializationFailure: another delivery of it has come first; try again
        """
        digest = sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()
        self.env.cr.execute(
            """INSERT INTO mail_delivery_message_id (digest, date)
               VALUES (%s, now() AT TIME ZONE 'UTC')
                   ON CONFLICT (digest) DO UPDATE SET date = excluded.date""",
            (digest,),
            log_exceptions=False,
        )

    @api.autovacuum
    def _gc_message_ids(self):
        limit = fields.Datetime.now() - datetime.timedelta(hours=KEPT_HOURS)
        self.env.cr.execute("DELETE FROM mail_delivery_message_id WHERE date < %s", (limit,))
