"""
The triggers on mail_alias: what they note, and what becomes of it.
"""

from contextlib import contextmanager

from odoo import SUPERUSER_ID, api
from odoo.sql_db import db_connect
from odoo.tests import tagged

from .common import PATH, DeliveryCase


@tagged("post_install", "-at_install")
class TestNoted(DeliveryCase):
    def setUp(self):
        super().setUp()
        self.changes = self.env["mail_delivery.change"]
        self.info = self.alias("info")
        self.env.flush_all()
        self.changes._version("f")
        self.env.cr.execute("DELETE FROM mail_delivery_change")
        self.changes._settle()

    def sql(self, query):
        """
        Do something behind Odoo's back.
        """
        self.env.flush_all()
        self.env.cr.execute(query)
        self.env.invalidate_all()

    def noted(self):
        """
        Return what was noted, in order.
        """
        self.sql("SELECT key, rows FROM mail_delivery_change ORDER BY id")
        return self.env.cr.fetchall()

    def counted(self):
        """
        Return the version, once as it is kept and once counted anew.
        """
        kept = self.changes._version("f").content
        self.sql("DELETE FROM mail_delivery_base")
        return kept, self.changes._version("f").content

    def test_only_what_is_listed(self):
        """
        A new address and an old one are noted, other changes of the alias are not.
        """
        self.info.write({"alias_status": "valid", "alias_contact": "partners"})
        self.alias(False)
        self.alias("nowhere", alias_domain_id=False)
        self.assertEqual([], self.noted())
        self.info.alias_name = "office"
        self.assertEqual([("info@example.com", -1), ("office@example.com", 1)], self.noted())
        self.info.alias_incoming_local = True
        self.assertEqual([("office@example.com", -1), ("#office", 1)], self.noted()[2:])
        self.info.unlink()
        self.assertEqual([("#office", -1)], self.noted()[4:])

    def test_sums_are_those_of_the_aliases(self):
        """
        What is kept in changes is what counting finds.
        """
        other = self.alias("any", alias_incoming_local=True)
        self.info.alias_name = "office"
        other.unlink()
        kept, counted = self.counted()
        self.assertEqual(counted, kept)

    def test_truncate(self):
        """
        An emptied table is noticed.
        """
        before = self.changes._version("f").content
        self.sql("TRUNCATE mail_alias CASCADE")
        kept, counted = self.counted()
        self.assertEqual(counted, kept)
        self.assertNotEqual(before, kept)

    def test_triggers_switched_off(self):
        """
        Changes under triggers that were off are found, while they are and afterwards.
        """
        versions = [self.changes._version("f").content]
        self.sql("ALTER TABLE mail_alias DISABLE TRIGGER mail_delivery_change")
        for name in ("one", "two"):
            self.info.alias_name = name
            self.env.flush_all()
            versions.append(self.changes._version("f").content)
        self.info.alias_name = "three"
        self.sql("ALTER TABLE mail_alias ENABLE TRIGGER mail_delivery_change")
        versions.append(self.changes._version("f").content)
        self.assertEqual(4, len({*versions}))
        self.assertEqual([], self.noted())
        kept, counted = self.counted()
        self.assertEqual(counted, kept)

    def test_change_that_was_not_noted(self):
        """
        The daily vacuum counts the aliases, and says so if it finds something else.
        """
        self.alias("more")
        with self.assertNoLogs(f"{PATH}.models.mail_delivery_change", "WARNING"):
            self.env.flush_all()
            self.changes._gc_changes()
        self.sql("DELETE FROM mail_delivery_change")
        with self.assertLogs(f"{PATH}.models.mail_delivery_change", "WARNING"):
            self.changes._gc_changes()
        kept, counted = self.counted()
        self.assertEqual(counted, kept)

    def test_restored_dump(self):
        """
        Changes of transactions that are none yet are summed up at once.
        """
        self.sql(
            """INSERT INTO mail_delivery_change (txid, key, rows)
               VALUES (txid_current() + 1000000, 'old@example.com', 1)"""
        )
        self.assertIsNone(self.changes._read_version("f"))
        kept, counted = self.counted()
        self.assertEqual(counted, kept)
        self.assertEqual([], self.noted())

    def test_uninstall_and_install(self):
        """
        What the addon put into the database goes with it, and comes with it again.
        """
        self.changes._remove()
        self.info.alias_name = "office"
        self.env.flush_all()
        self.sql("SELECT 1 FROM pg_class WHERE relname LIKE 'mail_delivery_key%'")
        self.assertEqual([], self.env.cr.fetchall())
        self.sql("SELECT 1 FROM pg_proc WHERE proname LIKE 'mail_delivery%'")
        self.assertEqual([], self.env.cr.fetchall())
        for _time in range(2):
            self.changes.init()
        self.info.alias_name = "front"
        self.assertEqual([("office@example.com", -1), ("front@example.com", 1)], self.noted())
        kept, counted = self.counted()
        self.assertEqual(counted, kept)

    def test_lookup_uses_the_index(self):
        """
        The aliases of a key are found without reading all of them.
        """
        self.sql("SET LOCAL enable_seqscan = off")
        self.sql(
            """EXPLAIN SELECT count(*) FROM mail_alias
                WHERE (mail_delivery_key(alias_name, alias_full_name, alias_domain_id,
                                         alias_incoming_local)) COLLATE "C" = ANY('{a@b,c@d}')"""
        )
        plan = "\n".join(line for (line,) in self.env.cr.fetchall())
        self.assertIn("mail_delivery_key_index", plan)


@tagged("post_install", "-at_install")
class TestConcurrency(DeliveryCase):
    @contextmanager
    def transaction(self):
        """
        Yield the environment of a real transaction.
        """
        with db_connect(self.env.cr.dbname).cursor() as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})

    def version(self):
        """
        Return the version as it is committed.
        """
        with self.transaction() as env:
            return env["mail_delivery.change"]._version("f")

    def since(self, version):
        """
        Return the addresses that changed since, and the version then.
        """
        with self.transaction() as env:
            changes = env["mail_delivery.change"]
            now = changes._version("f")
            found = changes._since(version)
            self.assertEqual(now.rows, version.rows + sum(change.rows for change in found))
            hashes = version.hashes + sum(change.hashes for change in found)
            self.assertEqual(now.hashes, hashes % 2**64)
            return sorted(change.key for change in found), now

    def insert(self, env, name):
        """
        Make an alias with SQL, so that nobody is notified.
        """
        env.cr.execute(
            """INSERT INTO mail_alias (alias_name, alias_incoming_local, alias_model_id,
                      alias_defaults, alias_contact)
               SELECT %s, true, id, '{}', 'everyone' FROM ir_model WHERE model = 'res.partner'""",
            [name],
        )

    def tearDown(self):
        super().tearDown()
        with self.transaction() as env:
            env.cr.execute("DELETE FROM mail_alias WHERE alias_name LIKE 'delivery.noted.%'")

    def test_commits_in_the_other_order(self):
        """
        Of two transactions the one that began first commits last; neither is missed.
        """
        start = self.version()
        with self.transaction() as first, self.transaction() as second:
            self.insert(first, "delivery.noted.1")
            self.insert(second, "delivery.noted.2")
            self.assertEqual(([], start.content), (self.since(start)[0], self.version().content))
            second.cr.commit()
            found, between = self.since(start)
            self.assertEqual(["#delivery.noted.2"], found)
            first.cr.commit()
        self.assertEqual(["#delivery.noted.1"], self.since(between)[0])
        found, end = self.since(start)
        self.assertEqual(["#delivery.noted.1", "#delivery.noted.2"], found)
        self.assertEqual([], self.since(end)[0])

    def test_rollback(self):
        """
        What was rolled back was never there.
        """
        start = self.version()
        with self.transaction() as env:
            self.insert(env, "delivery.noted.1")
            env.cr.rollback()
        self.assertEqual([], self.since(start)[0])

    def test_counted_while_others_write(self):
        """
        Who counts the aliases does not count what others commit later, nor miss it.
        """
        with self.transaction() as writer, self.transaction() as counter:
            self.insert(writer, "delivery.noted.1")
            start = counter["mail_delivery.change"]._version("f")
            writer.cr.commit()
            counter["mail_delivery.change"]._settle()
            counter.cr.commit()
        self.assertEqual(["#delivery.noted.1"], self.since(start)[0])
        kept = self.version().content
        with self.transaction() as env:
            env["mail_delivery.change"]._settle()
        self.assertEqual(kept, self.version().content)
