"""
One delivery: a message and its envelope pass Odoo's gateway, each recipient gets a verdict.
"""

import base64
import logging
import random
import time
import traceback
from email import policy
from email.parser import BytesHeaderParser

import psycopg2
from psycopg2 import errors

from odoo import SUPERUSER_ID, exceptions
from odoo.tools.mail import decode_message_header, email_split

from .logic.trace import CONTEXT_KEY, NothingLeft, Trace
from .logic.verdict import DELIVERED, VERDICTS, is_content_fault, storable

_logger = logging.getLogger(__name__)

TRIES = 6
PAUSE = 0.05  # seconds before the second try, at most; doubled for each further one
HEADERS = ("Delivered-To", "To", "Cc", "Resent-To", "Resent-Cc")  # as Odoo's gateway reads them
MAX_DETAIL = 8_000  # characters of a traceback that a receipt keeps, its end
CONCURRENT = tuple(
    filter(
        None,
        (
            errors.SerializationFailure,
            errors.DeadlockDetected,
            errors.LockNotAvailable,
            getattr(exceptions, "ConcurrencyError", None),  # from Odoo 19 on
        ),
    )
)


class Delivery:
    """
    :param env: any environment; the gateway runs as superuser, as Odoo's other ways in do
    :param mailer: the mail_delivery.mailer that brought the message; may be empty
    :param message: the octets
    """

    def __init__(self, env, mailer, envelope, message):
        self.env = env(user=SUPERUSER_ID, context={})
        self.mailer = mailer
        self.envelope = envelope
        self.message = message
        self.receipts = self.env["mail_delivery.receipt"]
        self.rolled_back = False

    def run(self):
        """
        Deliver, in the transaction of the environment, which the caller commits.

        :return: recipient, as in the envelope, to Verdict
        :raise psycopg2.Error: the database is not there; nothing was done
        """
        recipients = self.envelope.recipients or self._named_in_header()
        folded = {recipient: recipient.lower() for recipient in recipients}
        for attempt in range(TRIES):
            try:
                found = self._deliver(tuple(dict.fromkeys(folded.values())))
                return {recipient: found[folded[recipient]] for recipient in folded}
            except CONCURRENT as error:
                self._rollback()
                _logger.info("message %s: %s", self.envelope.digest, type(error).__name__)
                time.sleep(random.uniform(0, PAUSE * 2**attempt))
        return dict.fromkeys(folded, VERDICTS["busy"])

    def _named_in_header(self):
        """
        Return the addresses of Odoo's that the header names, for a client without an envelope.

        If there are none, whatever it names: the message may be a reply.
        """
        header = BytesHeaderParser(policy=policy.SMTP).parsebytes(self.message)
        values = (decode_message_header(header, name, separator=",") for name in HEADERS)
        named = tuple(dict.fromkeys(map(str.lower, email_split(",".join(filter(None, values))))))
        return self.env["mail_delivery.list"]._accepted(named) or named or ("",)

    def _deliver(self, recipients):
        failed = {}
        while True:
            claimed = self.receipts._claim(self.envelope.digest, recipients)
            pending = [r for r in recipients if not claimed[r].is_delivered]
            verdicts = {r: claimed[r].verdict() for r in recipients if claimed[r].is_delivered}
            if not pending:
                return verdicts
            trace = Trace(tuple(r for r in pending if r not in failed))
            if trace.recipients and not self._pass_through_gateway(trace):
                self._rollback()
                claimed = None
                # One broken alias spoils the transaction of all: once more without it.
                if blamed := self._recipients_of(trace.culprit, trace.recipients):
                    failed |= dict.fromkeys(blamed, trace)
                    continue
            return verdicts | self._settle(trace, pending, failed, claimed)

    def _recipients_of(self, alias, recipients):
        if not alias:
            return []
        aliases = self.env["mail_delivery.list"]._aliases_of(recipients)
        return [r for r in recipients if alias in aliases[r]]

    def _pass_through_gateway(self, trace):
        """
        Call Odoo's gateway.

        :return: whether it went through; if not, the trace says why
        """
        gateway = self.env["mail.thread"].with_context(**{CONTEXT_KEY: trace})
        try:
            gateway.message_process(None, self.message)
            self.env.cr.flush()  # what would fail at the commit fails here
        except NothingLeft:
            pass
        except errors.ProgramLimitExceeded as error:
            # Such as a Message-Id that no index holds: the database is there all the same.
            self._note(trace, error)
            return False
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            raise
        except Exception as error:
            if concurrent := _concurrent_in(error):
                raise concurrent from error
            self._note(trace, error)
            return False
        if trace.planned is None and not trace.loop_notice and not trace.had:
            # Dropped before routing. Newer builds do so also while another delivery is
            # under way; only what this transaction can see has been committed.
            known = [("message_id", "=", trace.message_id)]
            trace.duplicate = bool(self.env["mail.message"].search_count(known, limit=1))
        return True

    def _note(self, trace, error):
        reason = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()[-MAX_DETAIL:]}"
        trace.fail(reason, is_content_fault(error, parsing=False))
        _logger.warning(
            "message %s from %r to %r failed",
            self.envelope.digest,
            self.envelope.sender,
            trace.recipients,
            exc_info=error,
        )

    def _settle(self, trace, recipients, failed, claimed):
        """
        Write the receipts.

        :param failed: recipient to the trace of the pass that failed because of its alias
        :param claimed: None where the transaction was rolled back
        """
        aliases, services = self._addresses(trace, recipients)
        outcomes = {
            r: "failed" if r in failed else trace.outcome(r, aliases[r], r in services)
            for r in recipients
        }
        if claimed and DELIVERED.isdisjoint(outcomes.values()):
            # What the gateway wrote on its way to a refusal goes with it.
            self._rollback()
            claimed = None
        claimed = claimed or self.receipts._claim(self.envelope.digest, recipients)
        kept = not DELIVERED.issuperset(outcomes.values())
        octets = base64.b64encode(self.message) if kept else b""
        verdicts = {}
        for recipient, outcome in outcomes.items():
            claim = claimed[recipient]
            if claim.is_delivered:
                # By another delivery, since this one was rolled back.
                verdicts[recipient] = claim.verdict()
                continue
            seen = failed.get(recipient, trace)
            values = self._values(seen, aliases[recipient], outcome)
            values["detail"] = self._detail(
                seen, aliases[recipient], recipient in services, outcome
            )
            text = seen.text(aliases[recipient]) if outcome == "refused" else ""
            verdicts[recipient] = self.receipts._settle(claim, values, outcome, text, octets)
        for seen in failed.values():
            self._mark_invalid(seen)
        return verdicts

    def _addresses(self, trace, recipients):
        """
        Return the aliases of each recipient, and those that are the domains' own addresses.
        """
        if len(recipients) == 1 and trace.routed:
            return {recipients[0]: set(trace.routed)}, set()
        addresses = self.env["mail_delivery.list"]
        aliases = addresses._aliases_of(recipients)
        if trace.answers:
            found = self.env["mail.alias"].browse(list(set().union(*aliases.values())))
            own = found.filtered(lambda alias: alias.alias_model_id.model == trace.answers)
            trace.passed_over = set(own.ids)
        return aliases, addresses._service_addresses()

    def _values(self, trace, aliases, outcome):
        threads = [
            trace.routed[alias] for alias in (*aliases, *trace.routed) if alias in trace.routed
        ]
        model, res_id = threads[0] if threads and outcome == "stored" else (False, False)
        return {
            "sender": storable(self.envelope.sender),
            "queue_id": storable(self.envelope.queue_id),
            "message_id": storable(trace.message_id),
            "subject": storable(trace.subject),
            "mailer_id": self.mailer.id,
            "res_model": model,
            "res_id": res_id,
        }

    def _detail(self, trace, aliases, service, outcome):
        """
        Return what an administrator can mend, for the receipt; empty where there is nothing.
        """
        if outcome in ("failed", "unparsable"):
            return storable(trace.failure)
        if outcome == "refused":
            refusing = self.env["mail.alias"].browse(list(aliases))
            labels = dict(refusing._fields["alias_contact"]._description_selection(self.env))
            return "\n".join(
                f"{alias.display_name} takes mail from: {labels.get(alias.alias_contact)}"
                for alias in refusing
                if alias.id in trace.refused
            ) or storable(trace.bounce_text)
        if outcome == "unknown":
            return (
                "Odoo takes mail for this address only if it answers a message."
                if service
                else "No alias has this address."
            )
        return ""

    def _mark_invalid(self, trace):
        """
        Have the list of aliases show what is broken, as Odoo's own gateway does.
        """
        if not trace.reply:
            broken = self.env["mail.alias"].browse(trace.culprit).exists()
            broken.filtered(lambda alias: alias.alias_status != "invalid").alias_status = "invalid"

    def _rollback(self):
        self.rolled_back = True
        self.env.cr.rollback()
        self.env.registry.reset_changes()


def _concurrent_in(error):
    """
    Return the conflict with another transaction that led to an error; None if there was none.
    """
    while error is not None and not isinstance(error, CONCURRENT):
        error = error.__cause__ or error.__context__
    return error
