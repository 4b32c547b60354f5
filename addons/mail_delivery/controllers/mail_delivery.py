"""
The three API points that odoo-mailer uses.

Every answer carries a mark, so that a page of a proxy is not taken for one.
An exception that leaves here rolls the transaction back, and Odoo answers
500 without the mark; the mail then stays in Postfix's queue.
"""

import json
import logging
from dataclasses import replace

from odoo import SUPERUSER_ID, http
from odoo.http import request

from ..delivery import Delivery
from ..logic.envelope import EnvelopeError, parse_envelope
from ..logic.list_version import MANIPULATION, PATCH_TYPE, parse_etag, wants_patch

_logger = logging.getLogger(__name__)

MARK = ("X-Mail-Delivery", "1")
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
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
            return self._page("json", JSON)
        return self._page("text", TEXT)

    @point("transport", "GET")
    def transport(self, **_parameters):
        return self._page("transport", TEXT)

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
        return self._answer(status, json.dumps({"recipients": verdicts}), JSON)

    def _page(self, form, mimetype):
        """
        Answer with what the mailer lacks: nothing, the changes, or the whole page.
        """
        mailer = self._mailer()
        if not mailer:
            return self._refusal()
        pages = request.env["mail_delivery.list"]
        addresses = pages._read_domains()
        version = pages._version(addresses)
        known = request.httprequest.if_none_match
        for etag in filter(None, known.as_set(include_weak=True)):
            then = parse_etag(etag, form)
            if then and then.content == version.content:
                return self._list(mailer, form, etag, 304, "", mimetype)
        if known.star_tag:
            # Who asks so does not say what it has: no changes can be told from there.
            etag = replace(version, snapshot="").etag(form)
            return self._list(mailer, form, etag, 304, "", mimetype)
        patch = self._patch(pages, addresses, version) if form == "json" else None
        if patch:
            more = [("IM", MANIPULATION), ("Delta-Base", f'"{patch.base}"')]
            return self._list(mailer, form, patch.etag, 226, patch.body, PATCH_TYPE, more)
        if form == "json":
            body, members = pages._json_page(addresses, version)
            version = replace(version, members=members)
        else:
            body = getattr(pages, f"_{form}_page")(addresses)
        return self._list(mailer, form, version.etag(form), 200, body, mimetype)

    def _patch(self, pages, addresses, version):
        """
        Return the patch that the request asks for, if there is one.
        """
        if not wants_patch(self._header("A-IM")):
            return None
        # Weak validators say nothing of octets, and a patch changes those.
        for etag in filter(None, request.httprequest.if_none_match.as_set()):
            then = parse_etag(etag, "json")
            patch = then and pages._patch(addresses, then, version)
            if patch:
                return patch
        return None

    def _list(self, mailer, form, etag, status, body, mimetype, more=()):
        if form != "transport":
            takes_patches = form == "json" and wants_patch(self._header("A-IM"))
            mailer._note_fetch(etag if takes_patches else None)
        headers = [("ETag", f'"{etag}"'), ("Vary", "Accept, A-IM"), *more]
        return self._answer(status, body, mimetype, headers)

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

    def _answer(self, status, body, mimetype=TEXT, headers=()):
        fixed = [MARK, ("Cache-Control", "no-store"), ("Content-Type", mimetype)]
        return request.make_response(body, [*fixed, *headers], status=status)
