import logging

from odoo import _, api, models

from ..logic.address_list import AddressList, Domain, is_clean, is_domain, is_local_part
from ..logic.list_version import make_patch, parse_etag
from .mail_delivery_change import KEY

_logger = logging.getLogger(__name__)

JOINER = '"],"'  # between two entries of the JSON page

# OFFSET 0: or else lower() is done again for each place where its result stands.
_PAGE = f"""
    SELECT string_agg({{entry}}, %(joiner)s) FILTER (WHERE NOT is_part),
           count(*) FILTER (WHERE NOT is_part),
           array_agg(key) FILTER (WHERE is_part)
      FROM (SELECT key, ascii(key) = 35 AS is_part
              FROM (SELECT {KEY} AS key FROM mail_alias OFFSET 0) AS keys
             WHERE key IS NOT NULL) AS rows
"""
# Holds no address back that Odoo's own forms let in; rows written by SQL may have anything.
_ONLY_CLEAN = r"""
    WHERE is_part
       OR key COLLATE "C" ~
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
        return self.env["mail_delivery.change"]._version(addresses.facts())

    @api.model
    def _patch(self, addresses, then, now):
        """
        Return the patch from one version to another, which is that of now; None in any doubt.
        """
        changes = self.env["mail_delivery.change"]._since(then)
        rows = self.env["mail_delivery.change"]._rows_of([change.key for change in changes])
        return make_patch(then, now, changes, rows, addresses.service_addresses())

    @api.model
    def _patch_from(self, etag):
        """
        Return the patch from the JSON page of an ETag to the present one; None in any doubt.

        Aliases are not counted for it: who calls has others wait.
        """
        then = parse_etag(etag, "json")
        addresses = self._read_domains()
        now = self.env["mail_delivery.change"]._read_version(addresses.facts())
        if not then or not now or then.content == now.content:
            return None
        return self._patch(addresses, then, now)

    @api.model
    def _text_page(self, addresses):
        addresses, lines = self._entries(addresses, "\n", between=" ")
        return addresses.text_page(lines)

    @api.model
    def _transport_page(self, addresses):
        addresses, lines = self._entries(addresses, "\n")
        return addresses.transport_page(lines)

    @api.model
    def _json_page(self, addresses, version):
        """
        Return the JSON page, and how many members it has.
        """
        addresses, entries = self._entries(addresses, JOINER, between='":["')
        # Two domains of one name, or capitals by SQL, make several aliases of one address.
        members = addresses.members(len(set(entries.split(JOINER.encode()))) if entries else 0)
        return addresses.json_page(entries, version.content, members), members

    @api.model
    def _entries(self, addresses, joiner, between=None):
        """
        Return the list with its local parts, and the entries of the aliases with a domain.

        :param joiner: what stands between two entries
        :param between: what stands between an address and its target; None for no target
        """
        values = {"joiner": joiner, "between": between}
        entry = "key" if between is None else "key || %(between)s || key"
        query = _PAGE.format(entry=entry)
        lines, rows, parts = self._fetched(query, values)
        texts = [text.encode() for text in (between, joiner) if text is not None]
        if not is_clean(lines, texts, rows):
            lines, kept, parts = self._fetched(query + _ONLY_CLEAN, values)
            _logger.warning("%s aliases are no addresses and are left out of the list", rows - kept)
        names = {key.removeprefix("#") for key in parts}
        local_parts = tuple(sorted(filter(is_local_part, names)))
        taken = self.env["mail_delivery.change"]._rows_of(addresses.service_addresses())
        return AddressList(
            addresses.domains, addresses.allowed, local_parts, frozenset(taken)
        ), lines

    def _fetched(self, query, values):
        self.env.cr.execute(query, values)
        lines, rows, parts = self.env.cr.fetchone()
        return (lines or "").encode(), rows, parts or []

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
