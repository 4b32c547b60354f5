"""
The pages of the list: which addresses are on them, and how they are written.
"""

from odoo.tests import tagged

from .common import ALLOWED, DeliveryHttpCase, quiet

JSON = "application/json"
# What the domain of the fixtures has of its own.
SERVICES = ["bounce@example.com", "catchall@example.com", "notifications@example.com"]


class ListCase(DeliveryHttpCase):
    def document(self):
        """
        Return the list as JSON.
        """
        answer = self.call("GET", "aliases", Accept=JSON)
        self.assertEqual(200, answer.status_code)
        return answer.json()

    def text(self, path="aliases"):
        """
        Return the lines of a page.
        """
        answer = self.call("GET", path)
        self.assertEqual(200, answer.status_code)
        return answer.text.splitlines()

    def addresses(self):
        """
        Return the addresses of the text page, without those that the domain has of its own.
        """
        return [line.split()[0] for line in sorted(self.text()) if line.split()[0] not in SERVICES]

    def insert(self, name, full_name, local=False, domain=True):
        """
        Make an alias behind Odoo's back, which checks nothing then.
        """
        self.env.flush_all()
        self.env.cr.execute(
            """INSERT INTO mail_alias (alias_name, alias_full_name, alias_domain_id,
                      alias_incoming_local, alias_model_id, alias_defaults, alias_contact)
               VALUES (%s, %s, %s, %s, %s, '{}', 'everyone')""",
            (
                name,
                full_name,
                self.domain.id if domain else None,
                local,
                self.env["ir.model"]._get_id("res.partner"),
            ),
        )

    def allow(self, value):
        """
        Write the parameter that says where local parts hold.
        """
        self.env["ir.config_parameter"].set_param(ALLOWED, value)


@tagged("post_install", "-at_install")
class TestList(ListCase):
    def test_empty_list_has_the_addresses_of_the_domain(self):
        """
        Without any alias the list is catchall, bounce and default-from address.
        """
        self.assertEqual([f"{address} {address}" for address in SERVICES], sorted(self.text()))

    def test_no_domain_no_address(self):
        """
        Odoo without an alias domain has an empty list, which is a page all the same.
        """
        self.domain.company_ids.alias_domain_id = False
        self.env["mail.alias"].search([]).alias_domain_id = False
        self.domain.unlink()
        answer = self.call("GET", "aliases")
        self.assertEqual((200, b""), (answer.status_code, answer.content))
        self.assertEqual({}, self.document()["aliases"])
        self.assertEqual(b"", self.call("GET", "transport").content)

    def test_alias_with_domain(self):
        """
        An alias with its domain is one address, its own target.
        """
        self.alias("info")
        self.assertIn("info@example.com info@example.com", self.text())
        self.assertEqual(["info@example.com"], self.document()["aliases"]["info@example.com"])
        self.assertIn("info@example.com", self.text("transport"))

    def test_alias_without_name(self):
        """
        An alias without a name, as every project has, is no address.
        """
        self.alias(False)
        self.assertEqual([], self.addresses())

    def test_alias_without_domain_that_is_not_local(self):
        """
        An alias without a domain is not reachable, so it is not on the list.
        """
        self.alias("info", alias_domain_id=False)
        self.assertEqual([], self.addresses())
        self.assertEqual({}, self.document()["local_parts"])

    def test_local_part_holds_in_every_alias_domain(self):
        """
        A local-part alias is on the list once for each alias domain, with or without its own.
        """
        self.env["mail.alias.domain"].create({"name": "two.example.com"})
        self.alias("any", alias_incoming_local=True, alias_domain_id=False)
        self.alias("both", alias_incoming_local=True)
        page = self.text()
        for part in ("any", "both"):
            for domain in ("example.com", "two.example.com"):
                with self.subTest(part, domain=domain):
                    self.assertIn(f"{part}@{domain} {part}@{domain}", page)
        document = self.document()
        self.assertEqual({"any": ["any"], "both": ["both"]}, document["local_parts"])
        self.assertEqual(["example.com", "two.example.com"], document["domains"])

    def test_local_part_holds_in_the_allowed_domains(self):
        """
        Local parts hold in the domains of the parameter as well.
        """
        self.allow("lists.example.net, old.example.net")
        self.alias("any", alias_incoming_local=True, alias_domain_id=False)
        found = ["any@example.com", "any@lists.example.net", "any@old.example.net"]
        self.assertEqual(found, [a for a in self.addresses() if a.startswith("any@")])
        domains = ["example.com", "lists.example.net", "old.example.net"]
        self.assertEqual(domains, self.document()["domains"])

    def test_allowed_domains_mean_nothing_to_other_aliases(self):
        """
        An alias that is not for its local part holds in its own domain only.
        """
        self.allow("lists.example.net")
        self.alias("info")
        self.assertEqual(["info@example.com"], self.addresses())

    def test_own_addresses_of_every_domain(self):
        """
        Catchall, bounce and default-from address of each domain are on the list as they are named.
        """
        self.env["mail.alias.domain"].create(
            {
                "name": "two.example.com",
                "bounce_alias": "returns",
                "catchall_alias": "all",
                "default_from": "erp",
            }
        )
        found = ["all@two.example.com", "erp@two.example.com", "returns@two.example.com"]
        self.assertEqual(found, self.addresses())

    def test_default_from_may_be_a_whole_address(self):
        """
        A default-from with a domain of its own is on the list as it is; none is none.
        """
        self.domain.default_from = "noreply@mail.example.net"
        self.assertEqual(["noreply@mail.example.net"], self.addresses())
        self.domain.default_from = False
        self.assertEqual([], self.addresses())

    def test_everything_is_in_small_letters(self):
        """
        Addresses are folded, wherever the capitals come from.
        """
        self.domain.name = "Example.COM"
        self.insert("Info", "Info@Example.COM")
        self.insert("Any", "Any", local=True, domain=False)
        self.allow("Lists.Example.NET")
        page = self.text()
        self.assertIn("info@example.com info@example.com", page)
        self.assertIn("any@lists.example.net any@lists.example.net", page)
        self.assertIn("catchall@example.com catchall@example.com", page)
        self.assertEqual("\n".join(page).lower(), "\n".join(page))
        document = self.document()
        self.assertEqual(["example.com", "lists.example.net"], document["domains"])
        self.assertEqual({"any": ["any"]}, document["local_parts"])

    def test_each_address_is_there_once(self):
        """
        What is an address for two reasons stands in one line: postmap complains of a second.
        """
        self.alias("notifications")
        self.alias("both", alias_incoming_local=True)
        self.env["mail.alias.domain"].create(
            {"name": "two.example.com", "default_from": "both@example.com"}
        )
        for path in ("aliases", "transport"):
            with self.subTest(path):
                page = self.text(path)
                self.assertEqual(sorted(set(page)), sorted(page))
        pairs = []
        self.call("GET", "aliases", Accept=JSON).json(object_pairs_hook=pairs.extend)
        names = [name for name, _value in pairs]
        self.assertEqual(sorted(set(names)), sorted(names))

    @quiet
    def test_what_is_no_address_is_left_out(self):
        """
        Rows that SQL put there do not spoil the page, and what is no address is not on it.
        """
        self.alias("info")
        words = {
            "two words": "two words@example.com",
            "line": "line\nevil@example.com evil@example.net",
            "quote": 'quote"@example.com',
            "backslash": "back\\slash@example.com",
            "accent": "schön@example.com",
            "two": "two@signs@example.com",
            "bare": "bare",
            "tab": "tab\t@example.com",
            "comma": "comma,comma@example.com",
            "hash": "\x7f@example.com",
            "null": None,
        }
        for name, full_name in words.items():
            with self.subTest(name):
                self.insert(name, full_name)
                self.assertEqual(["info@example.com"], self.addresses())
                self.assertEqual(["info@example.com"], self.of_aliases())
                self.env.cr.execute("DELETE FROM mail_alias WHERE alias_name = %s", [name])

    def of_aliases(self):
        """
        Return the addresses of the JSON page, without those that the domain has of its own.
        """
        return sorted(self.document()["aliases"].keys() - set(SERVICES))

    @quiet
    def test_what_is_no_address_is_left_out_whatever_stands_beside_it(self):
        """
        One row without an @ and one with two do not make up for each other.
        """
        self.insert("bare", "bare")
        self.insert("two", "two@signs@example.com")
        self.assertEqual([], self.addresses())
        self.assertEqual([], self.of_aliases())

    @quiet
    def test_no_catch_all_line(self):
        """
        A row with an empty name does not become @example.com, which is every address for Postfix.
        """
        self.insert("", "@example.com")
        self.assertEqual([], self.addresses())
        self.assertEqual([], self.of_aliases())

    @quiet
    def test_local_part_that_is_none_is_left_out(self):
        """
        A local-part alias that SQL put there and that is no local part is not on the list.
        """
        for name in ("two words", "any@example.net", "", 'quote"', "schön", "line\nevil"):
            self.insert(name, name, local=True, domain=False)
        self.assertEqual([], self.addresses())
        self.assertEqual({}, self.document()["local_parts"])

    def test_count_is_that_of_the_members(self):
        """
        An address that has several aliases, or is one of the domain's own, counts once.
        """
        self.alias("info")
        self.insert("INFO", "Info@Example.com")
        self.insert("Bounce", "Bounce@example.com")
        self.alias("catchall", alias_incoming_local=True, alias_domain_id=False)
        for domain in (True, False):
            self.insert("Any", "any@example.com", local=True, domain=domain)
        document = self.document()
        self.assertEqual({*SERVICES, "info@example.com"}, document["aliases"].keys())
        self.assertEqual({"any", "catchall"}, document["local_parts"].keys())
        self.assertEqual(4 + 2, document["count"])

    @quiet
    def test_domain_that_is_none_is_left_out(self):
        """
        A domain that no list can hold is left out with its addresses, and the rest stays.
        """
        self.alias("info")
        other = self.env["mail.alias.domain"].create({"name": "two.example.com"})
        self.alias("info", alias_domain_id=other.id)
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE mail_alias_domain SET name = 'no domain' WHERE id = %s", [other.id]
        )
        self.env.cr.execute(
            "UPDATE mail_alias SET alias_full_name = 'info@no domain' WHERE alias_domain_id = %s",
            [other.id],
        )
        self.assertEqual(["info@example.com"], self.addresses())
        self.assertEqual(["example.com"], self.document()["domains"])

    def test_odd_names_that_odoo_takes(self):
        """
        Every character that Odoo allows in the name of an alias comes through.
        """
        name = "a!#$%&'*+-/=?^_`{|}~.z"
        self.alias(name)
        self.assertEqual([f"{name}@example.com"], self.addresses())
        self.assertEqual([f"{name}@example.com"], self.of_aliases())

    def test_pages_agree(self):
        """
        Text, JSON and transport name the same addresses.
        """
        self.env["mail.alias.domain"].create({"name": "two.example.com"})
        self.allow("lists.example.net")
        for number in range(5):
            self.alias(f"a{number}")
            self.alias(f"l{number}", alias_incoming_local=True, alias_domain_id=False)
        document = self.document()
        local = {f"{p}@{d}" for p in document["local_parts"] for d in document["domains"]}
        addresses = document["aliases"].keys() | local
        self.assertEqual(3 * 2 + 5 + 5 * 3, len(addresses))
        self.assertEqual(sorted(f"{a} {a}" for a in addresses), sorted(self.text()))
        self.assertEqual(sorted(addresses), sorted(self.text("transport")))
        self.assertTrue(all([key] == value for key, value in document["aliases"].items()))
        self.assertEqual(
            {"aliases", "local_parts", "domains", "transport", "version", "count"}, document.keys()
        )
        self.assertEqual(3 * 2 + 5 + 5, document["count"])
        self.assertIs(True, document["transport"])

    def test_pages_are_exact(self):
        """
        The octets of a page are lines of ASCII, each with its end.
        """
        self.domain.write({"default_from": False, "bounce_alias": "b", "catchall_alias": "c"})
        page = b"b@example.com b@example.com\nc@example.com c@example.com\n"
        self.assertEqual(page, self.call("GET", "aliases").content)
        self.assertEqual(b"b@example.com\nc@example.com\n", self.call("GET", "transport").content)
        self.alias("info")
        line = b"info@example.com info@example.com\n"
        self.assertEqual(page + line, self.call("GET", "aliases").content)

    def test_json_only_where_asked_for(self):
        """
        Text is the answer unless JSON is asked for and not less liked.
        """
        kinds = {
            None: "text/plain",
            "*/*": "text/plain",
            "text/plain": "text/plain",
            "text/html": "text/plain",
            "application/json;q=0.2, text/plain": "text/plain",
            "application/json": JSON,
            "application/json, text/plain;q=0.5": JSON,
            "text/html, application/json;q=0.9, */*;q=0.1": JSON,
        }
        for accepted, kind in kinds.items():
            with self.subTest(accepted):
                answer = self.call("GET", "aliases", Accept=accepted)
                self.assertEqual(kind, answer.headers["Content-Type"].partition(";")[0])
                self.assertIn("Accept", answer.headers["Vary"])

    def test_aliases_of_archived_records_stay(self):
        """
        Odoo takes mail for an alias whose owner was archived, so it stays on the list.
        """
        owner = self.partner("Owner", "owner@example.net")
        self.alias(
            "info",
            alias_parent_model_id=self.env["ir.model"]._get_id("res.partner"),
            alias_parent_thread_id=owner.id,
        )
        owner.active = False
        self.assertEqual(["info@example.com"], self.addresses())


@tagged("post_install", "-at_install")
class TestFaults(ListCase):
    def faults(self):
        """
        Return what the settings page warns of.
        """
        return self.env["mail_delivery.list"]._faults()

    def test_no_fault(self):
        """
        Domains in small letters need no warning.
        """
        self.allow("lists.example.net")
        self.assertEqual([], self.faults())

    def test_capitals_in_a_domain(self):
        """
        A domain with capitals is named, since Odoo itself finds no route to it.
        """
        self.env["mail.alias.domain"].create({"name": "Two.Example.COM"})
        [fault] = self.faults()
        self.assertIn("Two.Example.COM", fault)

    def test_wrong_domains(self):
        """
        What is no domain name is named, among the allowed domains too.
        """
        self.env["ir.config_parameter"].set_param(ALLOWED, "fine.example.net,not fine")
        [fault] = self.faults()
        self.assertIn("not fine", fault)

    def test_faults_are_translated(self):
        """
        The language of the user is found when a warning is put into words.
        """
        self.env["mail.alias.domain"].create({"name": "Two.Example.COM"})
        with self.assertNoLogs("odoo.tools.translate", "WARNING"):
            self.faults()

    def test_settings_show_the_faults(self):
        """
        The settings page carries the warnings, one a line.
        """
        self.env["mail.alias.domain"].create({"name": "Two.Example.COM"})
        self.env["mail.alias.domain"].create({"name": "Three.Example.COM"})
        settings = self.env["res.config.settings"].create({})
        self.assertEqual(2, len(settings.mail_delivery_faults.splitlines()))
        self.assertIn(self.mailer, settings.mail_delivery_mailer_ids)
