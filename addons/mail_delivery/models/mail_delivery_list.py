import logging

from odoo import _, api, models

from ..logic.address_list import AddressList, Domain, is_clean, is_domain, is_local_part

_logger = logging.getLogger(__name__)

# "C": lower() and the patterns cost a third of what they do with a language's rules.
# OFFSET 0: or else lower() is done again for each place where its result stands.
# A text page takes "#" (35) at the start of a line for a comment, and "{" (123) for JSON.
_ROWS = """
    SELECT lower(alias_full_name COLLATE "C") AS address,
           CASE WHEN alias_incoming_local THEN lower(alias_name COLLATE "C") END AS local_part,
           alias_domain_id = ANY(%(domains)s) AS has_domain
      FROM mail_alias
     WHERE alias_name > ''
       AND (alias_domain_id = ANY(%(domains)s) OR alias_incoming_local)
       AND ascii(alias_name) NOT IN (35, 123)
"""
_VERSION = f"""
    SELECT count(*), coalesce(sum(hashtextextended(row, 0)), 0)
      FROM (SELECT address || CASE WHEN local_part IS NULL THEN '' ELSE ' local' END
                           || CASE WHEN has_domain THEN '' ELSE ' only' END AS row
              FROM ({_ROWS}) AS rows) AS rows
"""
# Of an alias for a local part, its own address is among those of the local part.
_PAGE = f"""
    SELECT string_agg({{entry}}, %(joiner)s) FILTER (WHERE local_part IS NULL),
           count(*) FILTER (WHERE local_part IS NULL),
           array_agg(local_part) FILTER (WHERE local_part IS NOT NULL)
      FROM ({_ROWS} OFFSET 0) AS rows
"""
# Holds no address back that Odoo's own forms let in; rows written by SQL may have anything.
_ONLY_CLEAN = r"""
    WHERE local_part IS NOT NULL
       OR address COLLATE "C" ~
          '^[a-z0-9!#$%%&''*+./=?^_`{|}~-]+@[a-z0-9_-]+([.][a-z0-9_-]+)*$'
"""


class MailDeliveryList(models.AbstractModel):
    _name = "mail_delivery.list"
    _description = "Addresses that Odoo accepts"

    @api.model
    def _read_domains(self):
        """
        Return an AddressList without local parts, from the database as this transaction sees it.
        """
        self.env.flush_all()
        self.env.cr.execute(
            """SELECT id, name, bounce_alias, catchall_alias, coalesce(default_from, '')
                 FROM mail_alias_domain ORDER BY id"""
        )
        domains = tuple(Domain(*row) for row in self.env.cr.fetchall())
        self.env.cr.execute(
            "SELECT value FROM ir_config_parameter WHERE key = 'mail.catchall.domain.allowed'"
        )
        values = "".join(value or "" for (value,) in self.env.cr.fetchall())
        return AddressList(domains, tuple(filter(None, values.split(","))))

    @api.model
    def _version(self, addresses):
        """
        Return the version of the list: it changes if, and only if, the list does.

        Order plays no part in it, so that nothing has to be sorted.
        """
        self.env.cr.execute(_VERSION, {"domains": self._usable(addresses)})
        rows, hashes = self.env.cr.fetchone()
        return addresses.version(rows, int(hashes))

    @api.model
    def _text_page(self, addresses, version):
        addresses, lines = self._entries(addresses, "\n", between=" ")
        return addresses.text_page(lines)

    @api.model
    def _transport_page(self, addresses, version):
        addresses, lines = self._entries(addresses, "\n")
        return addresses.transport_page(lines)

    @api.model
    def _json_page(self, addresses, version):
        addresses, members = self._entries(addresses, '"],"', between='":["')
        return addresses.json_page(members, version)

    @api.model
    def _entries(self, addresses, joiner, between=None):
        """
        Return the list with its local parts, and the entries of the aliases with a domain.

        :param joiner: what stands between two entries
        :param between: what stands between an address and its target; None for no target
        """
        values = {
            "domains": self._usable(addresses),
            "services": addresses.service_addresses(),
            "joiner": joiner,
            "between": between,
        }
        self.env.cr.execute(
            "SELECT alias_full_name FROM mail_alias WHERE alias_full_name = ANY(%(services)s)",
            values,
        )
        taken = frozenset(address for (address,) in self.env.cr.fetchall())
        entry = "address" if between is None else "address || %(between)s || address"
        query = _PAGE.format(entry=entry)
        self.env.cr.execute(query, values)
        lines, rows, local_parts = self._fetched()
        texts = [text.encode() for text in (between, joiner) if text is not None]
        if not is_clean(lines, texts, rows):
            self.env.cr.execute(query + _ONLY_CLEAN, values)
            lines, kept, local_parts = self._fetched()
            _logger.warning("%s aliases are no addresses and are left out of the list", rows - kept)
        parts = tuple(sorted(filter(is_local_part, set(local_parts))))
        return AddressList(addresses.domains, addresses.allowed, parts, taken), lines

    def _fetched(self):
        lines, rows, local_parts = self.env.cr.fetchone()
        return (lines or "").encode(), rows, local_parts or []

    @api.model
    def _usable(self, addresses):
        return [domain.id for domain in addresses.domains if domain.usable]

    @api.model
    def _service_addresses(self):
        """
        Return the catchall, bounce and default-from addresses, folded.
        """
        return set(self._read_domains().service_addresses())

    @api.model
    def _accepted(self, recipients):
        """
        Return those of some folded addresses that Odoo accepts, in their order.
        """
        services = self._service_addresses()
        aliases = self._aliases_of(recipients)
        return [a for a in recipients if a in services or aliases.get(a)]

    @api.model
    def _aliases_of(self, recipients):
        """
        Return the ids of the aliases that Odoo's routing finds for each folded address.
        """
        addresses = self._read_domains()
        allowed = set(addresses.allowed) and {
            *addresses.allowed,
            *(d.name for d in addresses.domains),
        }
        parts = {}
        for recipient in recipients:
            local, _at, domain = recipient.rpartition("@")
            if not allowed or domain in allowed:
                parts[recipient] = local
        aliases = (
            self.env["mail.alias"]
            .sudo()
            .search(
                [
                    "|",
                    ("alias_full_name", "in", list(recipients)),
                    "&",
                    ("alias_name", "in", list(parts.values())),
                    ("alias_incoming_local", "=", True),
                ]
            )
        )
        return {
            recipient: {
                alias.id
                for alias in aliases
                if alias.alias_full_name == recipient
                or (alias.alias_incoming_local and alias.alias_name == parts.get(recipient))
            }
            for recipient in recipients
        }

    @api.model
    def _faults(self):
        """
        Return what an administrator should mend in the alias domains, one sentence each.
        """
        addresses = self._read_domains()
        capitals = [d.name for d in addresses.domains if d.name != d.folded]
        wrong = [d.name for d in addresses.domains if not d.usable]
        wrong += [name for name in addresses.allowed if not is_domain(name.lower())]
        capital = _(
            "The alias domain %s is stored with capitals. Odoo compares recipients in small "
            "letters, so that no new mail to it finds a route: write it in small letters."
        )
        no_domain = _("%s is no domain name; its addresses are left out of the list.")
        return [*(capital % name for name in capitals), *(no_domain % name for name in wrong)]
