"""
Odoo's gateway, with the envelope in place of the header and a trace in place of bounces.

Nothing here acts unless the context carries a trace, which only a delivery
puts there: mail that comes in by other ways is handled as ever.
"""

from odoo import api, models
from odoo.tools import html2plaintext

from ..logic.trace import NothingLeft, trace_of
from ..logic.verdict import is_content_fault, is_no_route


class MailThread(models.AbstractModel):
    _inherit = "mail.thread"

    @api.model
    def message_parse(self, message, save_original=False):
        trace = trace_of(self.env)
        if trace is None:
            return super().message_parse(message, save_original=save_original)
        try:
            values = super().message_parse(message, save_original=save_original)
        except Exception as error:
            trace.unparsable = is_content_fault(error, parsing=True)
            raise
        trace.message_id = values["message_id"]
        trace.subject = str(values.get("subject") or "")
        self.env["mail_delivery.receipt"]._look_up_message_id(trace)
        if trace.had and not trace.recipients:
            raise NothingLeft
        if trace.further:
            # Odoo drops a message whose Message-Id it knows. This one was stored, but
            # not for these recipients, so it has another one until that has been asked.
            values["message_id"] = f"{trace.message_id}/{'/'.join(trace.recipients)}"
        return values

    @api.model
    def _detect_is_bounce(self, message, message_dict):
        trace = trace_of(self.env)
        if trace is None:
            return super()._detect_is_bounce(message, message_dict)
        recipients = trace.recipients
        if len(recipients) > 1:
            # Mail for an alias that goes to the bounce address as well is mail.
            bounces = set(self.env["mail.alias.domain"].search([]).mapped("bounce_email"))
            recipients = [r for r in recipients if r not in bounces] or recipients
        envelope = dict(message_dict, to=",".join(recipients))
        trace.report = bool(super()._detect_is_bounce(message, envelope))
        return trace.report

    @api.model
    def _detect_loop_headers(self, msg_dict):
        found = super()._detect_loop_headers(msg_dict)
        if trace := trace_of(self.env):
            trace.loop_notice = bool(found)
        return found

    @api.model
    def _detect_loop_sender(self, message, message_dict, routes):
        found = super()._detect_loop_sender(message, message_dict, routes)
        if trace := trace_of(self.env):
            trace.looped = bool(found)
        return found

    @api.model
    def message_route(self, message, message_dict, model=None, thread_id=None, custom_values=None):
        trace = trace_of(self.env)
        if trace is None:
            return super().message_route(message, message_dict, model, thread_id, custom_values)
        header = {key: message_dict[key] for key in ("to", "recipients")}
        envelope = ",".join(trace.recipients)
        message_dict.update(message_id=trace.message_id, to=envelope, recipients=envelope)
        if len(trace.recipients) > 1 and message_dict.get("parent_id"):
            answered = self.env["mail.message"].browse(message_dict["parent_id"])
            trace.answers = answered.sudo().model or ""
        try:
            routes = super().message_route(message, message_dict, model, thread_id, custom_values)
        except ValueError as error:
            if not is_no_route(error):
                raise
            trace.unknown, routes = True, []
        finally:
            message_dict.update(header)
        trace.reply = any(map(_is_reply, routes))
        if trace.further:
            routes = self._without_known(trace, routes)
        trace.planned = len(routes)
        return routes

    def _without_known(self, trace, routes):
        """
        Return the routes to where the message is not yet.
        """
        if not trace.reply:
            return [route for route in routes if _alias_id(route) not in trace.had_aliases]
        # A thread has its answer once, however many of its recipients come later.
        model, res_id, *_rest = routes[0]
        known = {"message_id": trace.message_id, "model": model, "res_id": res_id}
        domain = [(name, "=", value) for name, value in known.items()]
        trace.had_in_thread = bool(self.env["mail.message"].search_count(domain, limit=1))
        return [] if trace.had_in_thread else routes

    @api.model
    def _routing_check_route(self, message, message_dict, route, raise_exception=True):
        if trace := trace_of(self.env):
            trace.checking = _alias_id(route)
        found = super()._routing_check_route(message, message_dict, route, raise_exception)
        if trace:
            trace.checking = 0
        return found

    def _routing_create_bounce_email(self, email_from, body_html, message, **mail_values):
        if trace := trace_of(self.env):
            trace.bounce(html2plaintext(body_html or ""))
            return None
        return super()._routing_create_bounce_email(email_from, body_html, message, **mail_values)

    @api.model
    def _message_route_process(self, message, message_dict, routes):
        trace = trace_of(self.env)
        if trace is None:
            return super()._message_route_process(message, message_dict, routes)
        thread_id = False
        for route in routes:
            trace.processing = _alias_id(route)
            values = dict(message_dict)
            thread_id = super()._message_route_process(message, values, [route])
            self.env.flush_all()  # what the database refuses is this alias's fault
            trace.routed[trace.processing] = (route[0], thread_id)
        trace.processing = 0
        return thread_id


def _alias_id(route):
    return route[4].id if route[4] else 0


def _is_reply(route):
    thread_id, alias = route[1], route[4]
    return bool(thread_id) and (not alias or alias.alias_force_thread_id != thread_id)
