"""
What the environment says of the Odoo to test with.
"""

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from database import Database, GivenError

_PROGRAMS = ("odoo", "odoo-bin", "odoo.py")
_VERSION = re.compile(r"Odoo Server ((?:saas~)?\d+\.\d+)")


@dataclass(frozen=True)
class Given:
    """
    An Odoo that can be started, and the database to be made for it.

    Args:
        odoo: The command line of odoo-bin; its options, if any, are the last words.
        series: Such as ``18.0``.
        addons_path: Empty where the command knows its own.
        db_filter: Name the database in ``--db-filter``, too, whatever the configuration says.
    """

    odoo: tuple[str, ...]
    series: str
    database: Database
    addons_path: str
    db_filter: bool = True

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Given":
        """
        Read the environment, and ask Odoo for its version.

        Raises:
            GivenError: A variable is missing, or cannot be used.
        """
        odoo = tuple(shlex.split(environ["ODOO_BIN"]))
        if "ODOO_DATABASE_URL" not in environ:
            raise GivenError("ODOO_BIN is set: set ODOO_DATABASE_URL too")
        return cls(
            odoo,
            _series(odoo),
            Database.parse(environ["ODOO_DATABASE_URL"]),
            environ.get("ODOO_ADDONS_PATH", ""),
        )

    def beside(self, suffix: str) -> "Given":
        """
        Return the same with another database, named after the first.
        """
        return replace(self, database=replace(self.database, name=f"{self.database.name}_{suffix}"))

    def command(self, subcommand: str) -> list[str]:
        """
        Return the command line with a subcommand, which has to come before the options.
        """
        words = list(self.odoo)
        programs = [n for n, word in enumerate(words) if Path(word).name in _PROGRAMS]
        first = programs[-1] + 1 if programs else 0
        options = (n for n in range(first, len(words)) if words[n].startswith("-"))
        words.insert(next(options, len(words)), subcommand)
        return words


def _series(odoo: tuple[str, ...]) -> str:
    try:
        run = subprocess.run([*odoo, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GivenError(f"ODOO_BIN: {error}") from error
    found = _VERSION.search(run.stdout + run.stderr)
    if not found:
        raise GivenError(f"ODOO_BIN --version tells no version: {run.stdout}{run.stderr}")
    return found[1]
