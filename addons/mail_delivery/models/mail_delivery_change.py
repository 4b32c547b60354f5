import logging

from odoo import api, models

from ..logic.list_version import HASHES, Change, Version

_logger = logging.getLogger(__name__)

MANY = 10_000  # changes that are looked through at each fetch; more are summed up
KEPT = 5_000  # of them stay then, for who has an older list

# What a row of mail_alias puts on the list: an address, or "#" and a local part; NULL is
# nothing. A text page takes "#" (35) at the start of a line for a comment, and "{" (123) for
# JSON. "C": lower() costs a third of what it does with a language's rules. The index is made
# of this function: where it changes, it needs another name.
_KEY = """
    CREATE OR REPLACE FUNCTION {schema}.mail_delivery_key(
        name text, full_name text, domain_id integer, incoming_local boolean
    ) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE
            WHEN incoming_local AND name > '' AND ascii(name) NOT IN (35, 123)
            THEN '#' || lower(name COLLATE "C")
            WHEN NOT coalesce(incoming_local, false) AND domain_id IS NOT NULL
                 AND name > '' AND ascii(full_name) NOT IN (35, 123)
            THEN lower(full_name COLLATE "C")
        END
    $$
"""
KEY = "mail_delivery_key(alias_name, alias_full_name, alias_domain_id, alias_incoming_local)"
# Whoever may write to mail_alias may have the change noted; the search path is the caller's.
_NOTE = """
    CREATE OR REPLACE FUNCTION {schema}.mail_delivery_note_change()
    RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DECLARE
        before text;
        after text;
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            DELETE FROM {schema}.mail_delivery_base;
            RETURN NULL;
        END IF;
        IF TG_OP = 'UPDATE' AND (OLD.alias_name, OLD.alias_full_name, OLD.alias_domain_id,
                                 OLD.alias_incoming_local)
                                IS NOT DISTINCT FROM
                                (NEW.alias_name, NEW.alias_full_name, NEW.alias_domain_id,
                                 NEW.alias_incoming_local) THEN
            RETURN NULL;
        END IF;
        IF TG_OP <> 'INSERT' THEN
            before := {schema}.mail_delivery_key(OLD.alias_name, OLD.alias_full_name,
                                                 OLD.alias_domain_id, OLD.alias_incoming_local);
        END IF;
        IF TG_OP <> 'DELETE' THEN
            after := {schema}.mail_delivery_key(NEW.alias_name, NEW.alias_full_name,
                                                NEW.alias_domain_id, NEW.alias_incoming_local);
        END IF;
        IF before IS NOT NULL AND before IS DISTINCT FROM after THEN
            INSERT INTO {schema}.mail_delivery_change (key, rows) VALUES (before, -1);
        END IF;
        IF after IS NOT NULL AND before IS DISTINCT FROM after THEN
            INSERT INTO {schema}.mail_delivery_change (key, rows) VALUES (after, 1);
        END IF;
        RETURN NULL;
    END
    $$
"""
_TABLES = """
    CREATE TABLE IF NOT EXISTS mail_delivery_change (
        id bigserial PRIMARY KEY,
        txid bigint NOT NULL DEFAULT txid_current(),
        key text NOT NULL,
        rows integer NOT NULL
    );
    CREATE TABLE IF NOT EXISTS mail_delivery_base (
        id integer PRIMARY KEY CHECK (id = 1),
        rows bigint NOT NULL,
        hashes numeric NOT NULL,
        triggers text
    )
"""
_INDEX = f"""
    CREATE INDEX mail_delivery_key_index ON mail_alias (({KEY}) COLLATE "C");
    ANALYZE mail_alias
"""
_TRIGGERS = {
    "mail_delivery_change": "INSERT OR UPDATE OR DELETE ON mail_alias FOR EACH ROW",
    "mail_delivery_truncate": "TRUNCATE ON mail_alias FOR EACH STATEMENT",
}
# The base holds as long as the triggers are those that it was made under: who switches one
# off and on again, or makes it anew, leaves another row version in the catalogue.
_IN_FORCE = """
    SELECT string_agg(oid || ':' || xmin, ',' ORDER BY tgname)
      FROM pg_trigger
     WHERE tgrelid = 'mail_alias'::regclass AND tgname = ANY(%(triggers)s)
       AND tgenabled IN ('O', 'A')
    HAVING count(*) = cardinality(%(triggers)s)
"""
# Odoo makes a float of each numeric, so that sums of hashes are asked for as text.
_HASH = "hashtextextended(key, 0)::numeric"
# Of a transaction that is none yet, but of this one: the database was restored from a dump.
_IS_FOREIGN = """
    txid >= txid_snapshot_xmax(txid_current_snapshot())
    AND txid IS DISTINCT FROM txid_current_if_assigned()
"""
# What stands in braces below is of this module: no SQL comes from outside (S608).
_VERSION = f"""
    SELECT base.rows + coalesce(sum(change.rows), 0),
           (base.hashes + coalesce(sum(change.rows * {_HASH}), 0))::text,
           txid_current_snapshot()::text,
           base.triggers IS NOT DISTINCT FROM ({_IN_FORCE}) AND base.triggers IS NOT NULL
           AND count(change.id) <= %(many)s AND NOT coalesce(bool_or({_IS_FOREIGN}), false)
      FROM mail_delivery_base AS base LEFT JOIN mail_delivery_change AS change ON true
     GROUP BY base.id
"""  # noqa: S608
_FORGET = f"""
    DELETE FROM mail_delivery_change
     WHERE id <= (SELECT max(id) FROM mail_delivery_change) - %(kept)s OR ({_IS_FOREIGN})
"""  # noqa: S608
_SETTLE = f"""
    INSERT INTO mail_delivery_base (id, rows, hashes, triggers)
    SELECT 1, listed.rows - later.rows, listed.hashes - later.hashes, ({_IN_FORCE})
      FROM (SELECT count(key) AS rows, coalesce(sum({_HASH}), 0) AS hashes
              FROM (SELECT {KEY} AS key FROM mail_alias OFFSET 0) AS aliases) AS listed,
           (SELECT coalesce(sum(rows), 0) AS rows,
                   coalesce(sum(rows * {_HASH}), 0) AS hashes
              FROM mail_delivery_change) AS later
        ON CONFLICT (id) DO UPDATE
       SET rows = excluded.rows, hashes = excluded.hashes, triggers = excluded.triggers
"""  # noqa: S608
_SINCE = f"""
    SELECT key, sum(rows), sum(rows * {_HASH})::text
      FROM mail_delivery_change
     WHERE NOT txid_visible_in_snapshot(txid, %s::txid_snapshot)
     GROUP BY key
"""  # noqa: S608
_ROWS_OF = f"""
    SELECT {KEY} AS key, count(*)
      FROM mail_alias WHERE ({KEY}) COLLATE "C" = ANY(%s::text[]) GROUP BY 1
"""  # noqa: S608


class MailDeliveryChange(models.AbstractModel):
    """
    What triggers note of each change of mail_alias, whoever makes it: Odoo, SQL, a cascade.

    The sums over the list are those of a base and of all changes that the transaction
    sees, so that they are exact in whatever order others commit. Which changes came after
    a version is what the snapshot of that version did not see. Now and then all is summed
    up anew: old changes go, and the base is counted from the aliases themselves.
    """

    _name = "mail_delivery.change"
    _description = "Changes of the list of addresses"

    def init(self):
        self.env.cr.execute("SELECT quote_ident(current_schema())")
        [schema] = self.env.cr.fetchone()
        self.env.cr.execute(_TABLES)
        for function in (_KEY, _NOTE):
            self.env.cr.execute(function.format(schema=schema))
        self.env.cr.execute("SELECT to_regclass('mail_delivery_key_index')")
        if self.env.cr.fetchone() == (None,):
            self.env.cr.execute(_INDEX)
        for name, when in _TRIGGERS.items():
            self._create_trigger(schema, name, when)

    @api.model
    def _create_trigger(self, schema, name, when):
        self.env.cr.execute(
            "SELECT 1 FROM pg_trigger WHERE tgrelid = 'mail_alias'::regclass AND tgname = %s",
            (name,),
        )
        if not self.env.cr.fetchone():
            self.env.cr.execute(
                f"CREATE TRIGGER {name} AFTER {when}"
                f" EXECUTE FUNCTION {schema}.mail_delivery_note_change()"
            )

    @api.model
    def _remove(self):
        """
        Take everything out of the database again, mail_alias first.
        """
        for name in _TRIGGERS:
            self.env.cr.execute(f"DROP TRIGGER IF EXISTS {name} ON mail_alias")
        self.env.cr.execute(
            """DROP FUNCTION IF EXISTS mail_delivery_note_change();
               DROP FUNCTION IF EXISTS mail_delivery_key CASCADE;
               DROP TABLE IF EXISTS mail_delivery_change, mail_delivery_base"""
        )

    @api.model
    def _version(self, facts):
        """
        Return the version of the list, as this transaction sees it.

        :param facts: hash of all that is not an alias
        """
        version = self._read_version(facts)
        if version is None:
            self._settle()
            version = self._read_version(facts, in_doubt=True)
        return version

    @api.model
    def _read_version(self, facts, in_doubt=False):
        """
        Return the version of the list; None if the aliases have to be counted for that.

        :param in_doubt: they have just been counted
        """
        self.env.cr.execute(_VERSION, {"triggers": sorted(_TRIGGERS), "many": MANY})
        rows, hashes, snapshot, certain = self.env.cr.fetchone() or (0, 0, "", False)
        if not certain and not in_doubt:
            return None
        return Version(facts, int(rows), int(hashes) % HASHES, snapshot)

    @api.model
    def _settle(self):
        """
        Count the aliases, and forget changes that nobody will ask for.

        :raise SerializationFailure: another transaction does the same; try again
        """
        self.env.cr.execute(_FORGET, {"kept": KEPT})
        self.env.cr.execute(_SETTLE, {"triggers": sorted(_TRIGGERS)})

    @api.model
    def _since(self, version):
        """
        Return the changes that a version does not have.
        """
        if not version.snapshot:
            return []
        self.env.cr.execute(_SINCE, (version.snapshot,))
        return [Change(key, int(rows), int(hashes)) for key, rows, hashes in self.env.cr.fetchall()]

    @api.model
    def _rows_of(self, keys):
        """
        Return how many aliases have each of some keys; of those that none has, nothing.
        """
        self.env.cr.execute(_ROWS_OF, (list(keys),))
        return dict(self.env.cr.fetchall())

    @api.autovacuum
    def _gc_changes(self):
        before = self._read_version("")
        self._settle()
        after = self._read_version("", in_doubt=True)
        if before is not None and before.content != after.content:
            _logger.warning(
                "mail_alias was changed with its triggers off; mailers find it at their next fetch"
            )
