"""
The databases of the tests: made for them, and dropped by them only.

They are known by their comment. One that has another, or none, is someone
else's and is left alone, whatever its name.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

COMMENT = "made for the tests of odoo-mailer, which drop it"
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class GivenError(ValueError):
    """
    What the environment says cannot be used; the text says why.
    """


@dataclass(frozen=True)
class Database:
    """
    One database, whether it exists or not.

    Args:
        user: A role that may create databases.
    """

    host: str
    port: int
    user: str
    password: str
    name: str

    @classmethod
    def parse(cls, url: str) -> "Database":
        """
        Read ``postgresql://user[:password]@host[:port]/NAME``.
        """
        expected = "ODOO_DATABASE_URL: postgresql://user[:password]@host:port/NAME expected"
        try:
            parts = urlsplit(url)
            port = parts.port or 5432
        except ValueError as error:
            raise GivenError(expected) from error
        name = parts.path.removeprefix("/")
        scheme = parts.scheme in ("postgresql", "postgres")
        if not (scheme and parts.hostname and parts.username) or parts.query:
            raise GivenError(expected)
        if not _NAME.fullmatch(name):
            raise GivenError(f"{expected}, where NAME has letters, digits, _ and - only")
        return cls(
            parts.hostname, port, unquote(parts.username), unquote(parts.password or ""), name
        )

    def create(self) -> None:
        """
        Make it anew.

        Raises:
            GivenError: There is one of its name that is not ours.
        """
        if self._exists():
            if self._comment() != COMMENT:
                raise GivenError(f"{self.name} is a database of yours: name one that is not there")
            self.drop()
        self.sql(
            f"CREATE DATABASE \"{self.name}\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'",
            maintenance=True,
        )
        self.sql(f"COMMENT ON DATABASE \"{self.name}\" IS '{COMMENT}'", maintenance=True)

    def drop(self) -> None:
        """
        Drop it, with whatever is connected; if it is not ours, it stays.
        """
        if self._comment() == COMMENT:
            self.sql(f'DROP DATABASE "{self.name}" WITH (FORCE)', maintenance=True)

    def disconnect(self) -> None:
        """
        End all connections to it, as a restart of PostgreSQL does.
        """
        self.sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'",
            maintenance=True,
        )

    def _exists(self) -> bool:
        query = f"SELECT 1 FROM pg_database WHERE datname = '{self.name}'"
        return self.sql(query, maintenance=True) == "1"

    def _comment(self) -> str:
        query = (
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
            f"WHERE datname = '{self.name}'"
        )
        return self.sql(query, maintenance=True)

    def sql(self, statement: str, maintenance: bool = False) -> str:
        """
        Run a statement and return what it gives, unadorned.

        Args:
            maintenance: In the database ``postgres`` instead.
        """
        place = {"-h": self.host, "-p": str(self.port), "-U": self.user}
        place["-d"] = "postgres" if maintenance else self.name
        options = [word for option in place.items() for word in option]
        run = subprocess.run(
            ["psql", "-XqAtw", "-v", "ON_ERROR_STOP=1", *options, "-c", statement],
            env={**os.environ, **({"PGPASSWORD": self.password} if self.password else {})},
            capture_output=True,
            text=True,
        )
        if run.returncode != 0:
            raise GivenError(f"psql: {run.stderr.strip()}")
        return run.stdout.strip()
