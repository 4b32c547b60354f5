"""
The three API points that odoo-mailer uses.

Every answer carries a mark, so that a page of a proxy is not taken for one.
An exception that leaves here rolls the transaction back, and Odoo answers
500 without the mark; the mail then stays in Postfix's queue.
"""

import json
import logging

from odoo import SUPERUSER_ID, http
from odoo.http import request

from ..delivery import Delivery
from ..logic.envelope import EnvelopeError, parse_envelope

_logger = logging.getLogger(__name__)

MARK = ("X-Mail-Delivery", "1")
# Odoo's form parser swallows these bodies.
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def point(path, method):
    """
    Return the route of an API point: no session, and never on a read-only replica,
    which may not have the change yet that the mailer was just told of.
    """
    return http.route(
        f"/mail_delivery/{path}",
        type="http",
        auth="none",
        methods=[method],
        csrf=False,
        save_session=False,
        readonly=False,
    )


class MailDelivery(http.Controller):
    @point("aliases", "GET")
    def aliases(self, **_parameters):
        accepted = request.httprequest.accept_mimetypes
        if accepted.best_match(["text/plain", "application/json"]) == "application/json":
            return self._page("_json_page", "application/json")
        return self._page("_text_page", "text/plain; charset=utf-8")

    @point("transport", "GET")
    def transport(self, **_parameters):
        return self._page("_transport_page", "text/plain; charset=utf-8")

    @point("pipe", "POST")
    def pipe(self, **_parameters):
        mailer = self._mailer()
        if not mailer:
            return self._refusal()
        if request.httprequest.mimetype in FORMS:
            return self._answer(415, "Content-Type: message/rfc822 expected\n")
        message = request.httprequest.get_data()
        if not message:
            return self._answer(400, "a message expected, the body is empty\n")
        try:
            envelope = parse_envelope(self._header, message)
        except EnvelopeError as error:
            return self._answer(400, f"{error}\n")
        delivery = Delivery(request.env, mailer, envelope, message)
        found = delivery.run()
        if delivery.rolled_back:
            self._mailer()  # once more: that a new token is in use has to be noted again
        verdicts = {recipient: verdict.as_json() for recipient, verdict in found.items()}
        # Who sends no envelope may look at the status alone, and takes 200 for "stored".
        worst = 200 if envelope.recipients else max(verdict.code for verdict in found.values())
        status = {200: 200, 250: 200, 451: 503}.get(worst, 422)
        return self._answer(status, json.dumps({"recipients": verdicts}), "application/json")

    def _page(self, render, mimetype):
        mailer = self._mailer()
        if not mailer:
            return self._refusal()
        mailer._note_fetch()
        pages = request.env["mail_delivery.list"]
        addresses = pages._read_domains()
        version = pages._version(addresses)
        etag = f"{version}{render}"
        headers = [("ETag", f'"{etag}"'), ("Vary", "Accept")]
        if request.httprequest.if_none_match.contains_weak(etag):
            return self._answer(304, "", mimetype, headers)
        return self._answer(200, getattr(pages, render)(addresses, version), mimetype, headers)

    def _mailer(self):
        request.update_env(user=SUPERUSER_ID, context={})
        token = self._header("X-Mail-Token").encode("latin-1")
        return request.env["mail_delivery.mailer"]._authenticate(token)

    def _refusal(self):
        _logger.warning(
            "%s: missing or wrong X-Mail-Token from %s",
            request.httprequest.path,
            request.httprequest.remote_addr,
        )
        return self._answer(401, "missing or wrong X-Mail-Token\n")

    def _header(self, name):
        return request.httprequest.headers.get(name, "")

    def _answer(self, status, body, mimetype="text/plain; charset=utf-8", headers=()):
        fixed = [MARK, ("Cache-Control", "no-store"), ("Content-Type", mimetype)]
        return request.make_response(body, [*fixed, *headers], status=status)
