"""
Changes since a version of the list: who has that version gets them alone.
"""

import json
import random

from odoo.tests import tagged

from ..logic.list_version import PATCH_TYPE
from ..models import mail_delivery_change
from ..models.mail_delivery_mailer import _tell
from .common import quiet
from .test_list import JSON, ListCase
from .test_webhook import webhook


def patched(document, patch):
    """
    Apply a merge patch, as RFC 7396 has it.
    """
    if not isinstance(patch, dict):
        return patch
    found = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = patched(found.get(key), value)
    return found


class ChangesCase(ListCase):
    def setUp(self):
        super().setUp()
        self.info = self.alias("info")
        self.any = self.alias("any", alias_incoming_local=True, alias_domain_id=False)

    def have(self):
        """
        Fetch the whole list, as a mailer does that takes patches; return page and ETag.

        What this transaction noted is on the page already, and no snapshot of it says so.
        """
        self.env.flush_all()
        self.env.cr.execute("DELETE FROM mail_delivery_change")
        self.env["mail_delivery.change"]._settle()
        answer = self.ask()
        self.assertEqual(200, answer.status_code)
        return answer.json(), answer.headers["ETag"]

    def ask(self, etag=None, **headers):
        """
        Ask for what is new since an ETag.
        """
        wanted = {"Accept": f"{JSON}, text/plain;q=0.9", "A_IM": "merge-patch", **headers}
        return self.call("GET", "aliases", If_None_Match=etag, **wanted)

    def check_patch(self, document, etag):
        """
        Check that the answer is a patch that makes the present page of another; return it.
        """
        answer = self.ask(etag)
        whole = self.ask()
        self.assertEqual((226, PATCH_TYPE), (answer.status_code, answer.headers["Content-Type"]))
        self.assertEqual("merge-patch", answer.headers["IM"])
        self.assertEqual(etag, answer.headers["Delta-Base"])
        self.assertEqual(whole.headers["ETag"], answer.headers["ETag"])
        self.assertEqual("1", answer.headers["X-Mail-Delivery"])
        self.assertEqual(whole.json(), patched(document, answer.json()))
        return answer.json()


@tagged("post_install", "-at_install")
class TestChanges(ChangesCase):
    def test_new_alias(self):
        """
        A patch names the new address, the version and the count, and nothing else.
        """
        document, etag = self.have()
        self.alias("more")
        patch = self.check_patch(document, etag)
        self.assertEqual({"version", "count", "aliases"}, patch.keys())
        self.assertEqual({"more@example.com": ["more@example.com"]}, patch["aliases"])
        self.assertEqual(document["count"] + 1, patch["count"])

    def test_removed_alias(self):
        """
        What is gone is null, a local part as well.
        """
        document, etag = self.have()
        (self.info | self.any).unlink()
        patch = self.check_patch(document, etag)
        self.assertEqual({"info@example.com": None}, patch["aliases"])
        self.assertEqual({"any": None}, patch["local_parts"])

    def test_there_and_back(self):
        """
        Who has a list that was changed and changed back has the present one.
        """
        _document, etag = self.have()
        self.info.alias_name = "office"
        self.env.flush_all()
        self.info.alias_name = "info"
        answer = self.ask(etag)
        self.assertEqual((304, etag), (answer.status_code, answer.headers["ETag"]))

    def test_local_part_of_several_aliases(self):
        """
        A local part stays until the last of its aliases is gone.
        """
        second = self.alias("any", alias_incoming_local=True)
        document, etag = self.have()
        self.any.unlink()
        self.assertEqual({"version", "count"}, self.check_patch(document, etag).keys())
        document, etag = self.have()
        second.unlink()
        self.assertEqual({"any": None}, self.check_patch(document, etag)["local_parts"])

    @quiet
    def test_what_is_no_address_is_in_no_patch(self):
        """
        Rows of SQL that are left out of the page are left out of the patch.
        """
        document, etag = self.have()
        self.insert("two words", "two words@example.com")
        self.insert("bare", "bare")
        self.insert("#hash", "#hash@example.com")
        self.insert("no part", "no part", local=True)
        self.insert("null", None)
        self.assertEqual({"version", "count"}, self.check_patch(document, etag).keys())

    def test_by_sql(self):
        """
        What SQL writes is noted, and what the database deletes along with something else.
        """
        model = self.env["ir.model"].create({"name": "x", "model": "x_delivery"})
        self.alias("gone", model="x_delivery", alias_defaults="{}")
        document, etag = self.have()
        self.insert("Sql", "Sql@example.com")
        self.env.cr.execute("DELETE FROM mail_alias WHERE id = %s", [self.info.id])
        self.env.cr.execute("DELETE FROM ir_model WHERE id = %s", [model.id])
        patch = self.check_patch(document, etag)
        self.assertEqual(
            {"sql@example.com", "info@example.com", "gone@example.com"}, patch["aliases"].keys()
        )

    def test_whole_page_in_doubt(self):
        """
        Another domain, an address of a domain, and what is not known get the whole page.
        """
        domains = self.env["mail.alias.domain"]
        changes = {
            "domain": lambda: domains.create({"name": "two.example.com"}),
            "parameter": lambda: self.allow("lists.example.net"),
            "own address": lambda: self.insert("bounce", "bounce@example.com"),
            "forgotten": lambda: (
                self.alias("forgotten"),
                self.env.flush_all(),
                self.env.cr.execute("DELETE FROM mail_delivery_change"),
                self.env["mail_delivery.change"]._settle(),
            ),
            "forgotten in part": lambda: (
                self.alias("one"),
                self.alias("two"),
                self.env.flush_all(),
                self.env.cr.execute("DELETE FROM mail_delivery_change WHERE key ~ '^one'"),
                self.env["mail_delivery.change"]._settle(),
            ),
        }
        for name, change in changes.items():
            with self.subTest(name):
                _document, etag = self.have()
                change()
                self.assertEqual(200, self.ask(etag).status_code)

    def test_whole_page_for_who_takes_no_patch(self):
        """
        Without A-IM, or as text, the answer is what it always was.
        """
        _document, etag = self.have()
        self.alias("more")
        for headers in ({"A_IM": None}, {"A_IM": "vcdiff"}, {"A_IM": "merge-patch;q=0"}):
            with self.subTest(headers):
                self.assertEqual(200, self.ask(etag, **headers).status_code)
        self.assertEqual(200, self.ask(f"W/{etag}").status_code)
        text = self.ask(etag, Accept="text/plain")
        self.assertEqual((200, False), (text.status_code, "IM" in text.headers))

    def test_invented_etags(self):
        """
        No ETag that anyone could think of makes an error, or a patch.
        """
        _document, etag = self.have()
        self.alias("more")
        content, snapshot = etag.strip('"').rsplit(".", 1)
        low, high = snapshot.split("~")[0].split("-")[:2]
        snapshots = ("", "1-0-", "0-0-", f"{high}-{low}-9", "9-9-9", "1-9-8_7", "1-9-_", "1-1-1")
        invented = [f'"{content}.{snapshot}~json"' for snapshot in snapshots]
        # Nothing was seen by the first moment of all, so that all changes came after it.
        for known in (*invented, '"x"', '""', '"~json"', '"' + 3000 * "1" + '"'):
            with self.subTest(known):
                self.assertEqual(200, self.ask(known).status_code)

    def test_any_sequence_of_changes(self):
        """
        Along a random walk each patch makes the present page of an older one.
        """
        chance = random.Random(5)
        other = self.env["mail.alias.domain"].create({"name": "two.example.com"})
        aliases = [self.info, self.any, self.alias("a"), self.alias("b")]
        patches = 0
        for step in range(40):
            document, etag = self.have()
            for _change in range(chance.choice((1, 3))):
                alias = chance.choice(aliases)
                alias.write(
                    {
                        "alias_name": chance.choice((f"x{alias.id}", f"y{alias.id}", False)),
                        "alias_domain_id": chance.choice((False, self.domain.id, other.id)),
                        "alias_incoming_local": chance.choice((True, False)),
                    }
                )
            name = chance.choice("pqr")
            self.insert(name.upper() + str(step), f"{name}@example.com", chance.random() < 0.3)
            if step % 3 == 0:
                self.env.cr.execute(
                    """DELETE FROM mail_alias WHERE lower(alias_full_name) = %s
                          AND (id + %s) %% 2 = 0""",
                    [f"{name}@example.com", step],
                )
            with self.subTest(step=step):
                if self.ask().json() == document:
                    self.assertEqual(304, self.ask(etag).status_code)
                else:
                    self.check_patch(document, etag)
                    patches += 1
        self.assertGreater(patches, 30)

    def test_many_changes_are_summed_up(self):
        """
        Beyond so many the oldest changes go, and who would need them gets the whole page.
        """
        self.patch(mail_delivery_change, "MANY", 4)
        self.patch(mail_delivery_change, "KEPT", 2)
        document, etag = self.have()
        for number in range(4):
            self.alias(f"a{number}")
        self.check_patch(document, etag)
        self.alias("a4")
        self.assertEqual(200, self.ask(etag).status_code)
        self.env.cr.execute("SELECT count(*) FROM mail_delivery_change")
        self.assertEqual((2,), self.env.cr.fetchone())


@tagged("post_install", "-at_install")
class TestPush(ChangesCase):
    """
    The webhook with the changes.
    """

    def tell(self, status):
        """
        Have the mailer called after a change; return the calls, and what it is known to have.
        """
        with webhook(status) as server:
            self.mailer.webhook = server.url
            self.env.flush_all()
            for call in self.env["mail_delivery.mailer"]._webhooks():
                _tell(self.env.cr.dbname, call)
        self.env.invalidate_all()
        return server, self.mailer.sudo().list_etag

    def test_list_that_a_mailer_has(self):
        """
        It is noted with each answer to who takes patches, and only then.
        """
        _document, etag = self.have()
        self.assertEqual(etag.strip('"'), self.mailer.sudo().list_etag)
        self.alias("more")
        new = self.ask(etag).headers["ETag"]
        self.assertEqual(new.strip('"'), self.mailer.sudo().list_etag)
        self.assertEqual(304, self.ask(new).status_code)
        self.assertEqual(new.strip('"'), self.mailer.sudo().list_etag)
        self.call("GET", "transport")
        self.assertEqual(new.strip('"'), self.mailer.sudo().list_etag)
        self.call("GET", "aliases", Accept=JSON)
        self.assertFalse(self.mailer.sudo().list_etag)

    def test_patch_is_sent(self):
        """
        The call carries the patch; who takes it has the new list.
        """
        document, etag = self.have()
        self.alias("more")
        server, known = self.tell(200)
        whole = self.ask()
        [(_path, token, body)] = server.calls
        [headers] = server.headers
        self.assertEqual(self.token, token)
        self.assertEqual(PATCH_TYPE, headers["Content-Type"])
        self.assertEqual(etag, headers["Delta-Base"])
        self.assertEqual(whole.headers["ETag"], headers["ETag"])
        self.assertEqual(whole.json(), patched(document, json.loads(body)))
        self.assertEqual(whole.headers["ETag"].strip('"'), known)

    def test_mailer_that_fetches(self):
        """
        Who answers 202 fetches the list, and is not known to have it until then.
        """
        _document, etag = self.have()
        self.alias("more")
        server, known = self.tell(202)
        self.assertEqual(1, len(server.calls))
        self.assertEqual(etag.strip('"'), known)

    def test_mailer_that_takes_no_patch(self):
        """
        Who answers anything else is called without a body, as ever.
        """
        for status in (415, 422, 500, 307):
            with self.subTest(status):
                _document, etag = self.have()
                self.alias(f"more{status}")
                server, known = self.tell(status)
                self.assertEqual([True, False], [bool(body) for *_rest, body in server.calls])
                self.assertEqual(etag.strip('"'), known)

    def test_no_patch_without_need(self):
        """
        Who has the list already, or an unknown one, is called without a body.
        """
        self.have()
        server, _known = self.tell(202)
        self.assertEqual([b""], [body for *_rest, body in server.calls])
        self.alias("more")
        for etag in (None, "unknown"):
            with self.subTest(etag):
                self.mailer.sudo().list_etag = etag
                server, _known = self.tell(202)
                self.assertEqual([b""], [body for *_rest, body in server.calls])
