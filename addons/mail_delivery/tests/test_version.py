"""
The version of the list: another one for another list, and only then.
"""

import random

from odoo.tests import tagged

from .common import ALLOWED
from .test_list import JSON, ListCase


@tagged("post_install", "-at_install")
class TestVersion(ListCase):
    def setUp(self):
        super().setUp()
        self.info = self.alias("info")
        self.any = self.alias("any", alias_incoming_local=True, alias_domain_id=False)
        self.other = self.env["mail.alias.domain"].create({"name": "two.example.com"})
        self.allow("lists.example.net")

    def sql(self, query, *values):
        """
        Change a row behind Odoo's back.
        """
        self.env.flush_all()
        self.env.cr.execute(query, values)
        self.env.invalidate_all()

    def seen(self):
        """
        Return version and ETag.
        """
        answer = self.call("GET", "aliases", Accept=JSON)
        return answer.json()["version"], answer.headers["ETag"]

    def check_changes(self, changes):
        """
        Check that each of some changes alters version and ETag, to ones that were not there before.
        """
        known = {self.seen()}
        for name, change in changes.items():
            with self.subTest(name):
                change()
                version = self.seen()
                self.assertNotIn(version, known)
                known.add(version)

    def test_same_list_is_304(self):
        """
        If-None-Match with the ETag gets 304 without a body, for each of the three pages.
        """
        for path, accepted in (("aliases", "text/plain"), ("aliases", JSON), ("transport", "*/*")):
            with self.subTest(path, accepted=accepted):
                etag = self.call("GET", path, Accept=accepted).headers["ETag"]
                for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
                    answer = self.call("GET", path, Accept=accepted, If_None_Match=known)
                    self.assertEqual((304, b""), (answer.status_code, answer.content))
                    self.assertEqual("1", answer.headers["X-Mail-Delivery"])
                    if known != "*":
                        self.assertEqual(etag, answer.headers["ETag"])

    def test_other_list_is_200(self):
        """
        An ETag of another list, or of another page, gets the page.
        """
        etag = self.call("GET", "aliases").headers["ETag"]
        json_page = self.call("GET", "aliases", Accept=JSON, If_None_Match=etag)
        self.assertEqual(200, json_page.status_code)
        self.assertEqual(200, self.call("GET", "transport", If_None_Match=etag).status_code)
        self.alias("more")
        answer = self.call("GET", "aliases", If_None_Match=etag)
        self.assertEqual(200, answer.status_code)
        self.assertIn("more@example.com", answer.text)

    def test_version_is_that_of_all_pages(self):
        """
        The JSON page says the same version as long as nothing changes.
        """
        self.assertEqual(self.seen(), self.seen())

    def test_alias_changes(self):
        """
        What changes about the address of an alias changes the version.
        """
        other, domain = self.other.id, self.domain.id
        self.check_changes(
            {
                "create": lambda: self.alias("more"),
                "rename": lambda: self.info.write({"alias_name": "office"}),
                "domain": lambda: self.info.write({"alias_domain_id": other}),
                "local": lambda: self.info.write({"alias_incoming_local": True}),
                "reachable no more": lambda: self.info.write(
                    {"alias_incoming_local": False, "alias_domain_id": False}
                ),
                "domain again": lambda: self.info.write(
                    {"alias_domain_id": domain, "alias_name": "front.office"}
                ),
                "swap": lambda: (
                    self.info.write({"alias_name": "spare"}),
                    self.any.write({"alias_name": "office"}),
                ),
                "unlink": lambda: self.any.unlink(),
                "no name": lambda: self.info.write({"alias_name": False}),
            }
        )

    def test_domain_changes(self):
        """
        What changes the addresses of a domain, or where local parts hold, changes the version.
        """
        domains = self.env["mail.alias.domain"]
        self.check_changes(
            {
                "rename": lambda: self.other.write({"name": "three.example.com"}),
                "rename with aliases": lambda: self.domain.write({"name": "one.example.com"}),
                "bounce": lambda: self.other.write({"bounce_alias": "returns"}),
                "catchall": lambda: self.other.write({"catchall_alias": "all"}),
                "from": lambda: self.other.write({"default_from": "erp"}),
                "whole from": lambda: self.other.write({"default_from": "erp@example.net"}),
                "no from": lambda: self.other.write({"default_from": False}),
                "create": lambda: domains.create({"name": "four.example.com"}),
                "unlink": lambda: self.other.unlink(),
                "allow": lambda: self.allow("lists.example.net,more.example.net"),
                "allow less": lambda: self.allow("more.example.net"),
                "allow all": lambda: self.allow(False),
            }
        )

    def test_changes_by_sql(self):
        """
        Changes that Odoo does not know of change the version too.
        """
        alias = "UPDATE mail_alias SET alias_name = %s, alias_full_name = %s WHERE id = %s"
        self.check_changes(
            {
                "rename": lambda: self.sql(alias, "sql", "sql@example.com", self.info.id),
                "local": lambda: self.sql("UPDATE mail_alias SET alias_incoming_local = true"),
                "domain": lambda: self.sql(
                    "UPDATE mail_alias_domain SET name = 'sql.example.com' WHERE id = %s",
                    self.other.id,
                ),
                "bounce": lambda: self.sql("UPDATE mail_alias_domain SET bounce_alias = 'sql'"),
                "catchall": lambda: self.sql("UPDATE mail_alias_domain SET catchall_alias = 'c'"),
                "from": lambda: self.sql("UPDATE mail_alias_domain SET default_from = 'from'"),
                "no from": lambda: self.sql("UPDATE mail_alias_domain SET default_from = NULL"),
                "allow": lambda: self.sql(
                    """UPDATE ir_config_parameter SET value = 'sql.example.net'
                        WHERE key = 'mail.catchall.domain.allowed'"""
                ),
                "delete": lambda: self.sql("DELETE FROM mail_alias WHERE id = %s", self.info.id),
            }
        )

    def test_other_changes_keep_the_version(self):
        """
        What does not change the list does not change the version.
        """
        partner = self.partner("Ann", "ann@example.net")
        changes = {
            "status": lambda: self.info.write({"alias_status": "valid"}),
            "contact": lambda: self.info.write({"alias_contact": "partners"}),
            "defaults": lambda: self.info.write({"alias_defaults": "{'ref': 'x'}"}),
            "record": lambda: self.info.write({"alias_force_thread_id": partner.id}),
            "bounced content": lambda: self.info.write({"alias_bounced_content": "<p>No</p>"}),
            "alias without name": lambda: self.alias(False),
            "alias without domain": lambda: self.alias("nowhere", alias_domain_id=False),
            "domain of a local part": lambda: self.any.write({"alias_domain_id": self.other.id}),
            "order of domains": lambda: self.other.write({"sequence": 1}),
            "same name": lambda: self.info.write({"alias_name": "info"}),
            "there and back": lambda: (
                self.info.write({"alias_name": "x"}),
                self.info.write({"alias_name": "info"}),
            ),
            "write date": lambda: self.sql("UPDATE mail_alias SET write_date = now()"),
            "mailer": lambda: self.mailer.write({"name": "mx.example.com"}),
            "other parameter": lambda: self.env["ir.config_parameter"].set_param("x.y", "z"),
        }
        before = self.seen()
        for name, change in changes.items():
            with self.subTest(name):
                change()
                self.assertEqual(before, self.seen())

    def test_order_of_making_plays_no_part(self):
        """
        The same aliases made in another order are the same list.
        """
        first = self.alias("one"), self.alias("two")
        before = self.seen()
        for alias in first:
            alias.unlink()
        self.alias("two")
        self.alias("one")
        self.assertEqual(before, self.seen())

    def test_any_sequence_of_changes(self):
        """
        Along a random walk one version means one content, and the same state the same version.
        """
        chance = random.Random(3)
        contents, versions = {}, {}
        domains = (False, self.domain.id, self.other.id)
        aliases = self.info, self.any
        for step in range(60):
            alias = chance.choice(aliases)
            alias.write(
                {
                    "alias_name": chance.choice((f"x{aliases.index(alias)}", False)),
                    "alias_domain_id": chance.choice(domains),
                    "alias_incoming_local": chance.choice((True, False)),
                }
            )
            if step % 5 == 0:
                self.other.default_from = chance.choice(("erp", "x0@example.com", False))
                self.allow(chance.choice(("lists.example.net", "example.net")))
            fields = ("alias_name", "alias_domain_id", "alias_incoming_local")
            state = [a.mapped(name) for a in aliases for name in fields if a.alias_name]
            state += [self.other.default_from, self.env["ir.config_parameter"].get_param(ALLOWED)]
            document = self.call("GET", "aliases", Accept=JSON).json()
            version = document.pop("version")
            content = {key: repr(value) for key, value in document.items()}
            content |= {key: sorted(document[key]) for key in ("aliases", "local_parts", "domains")}
            with self.subTest(step=step):
                self.assertEqual(content, contents.setdefault(version, content))
                self.assertEqual(version, versions.setdefault(repr(state), version))
        self.assertGreater(len(contents), 10)
