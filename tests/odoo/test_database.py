"""
Which databases are taken, and which are left alone.
"""

from contextlib import suppress
from dataclasses import replace

import pytest
from database import COMMENT, Database, GivenError
from given import Given


def test_ours_is_made_anew(given: Given) -> None:
    """
    What an interrupted run left behind is dropped, and made anew.
    """
    database = given.beside("left").database
    database.create()
    try:
        database.sql("CREATE TABLE old ()")
        database.create()
        assert "" == database.sql("SELECT relname FROM pg_class WHERE relname = 'old'")
    finally:
        database.drop()


def test_other_is_left_alone(given: Given) -> None:
    """
    A database without our comment is neither made anew nor dropped.
    """
    database = given.beside("other").database
    database.create()
    comment = f'COMMENT ON DATABASE "{database.name}" IS '
    try:
        database.sql(f"{comment} NULL")
        with pytest.raises(GivenError, match="is a database of yours"):
            database.create()
        database.drop()
        assert "1" == database.sql("SELECT 1")
    finally:
        with suppress(GivenError):
            database.sql(f"{comment} '{COMMENT}'")
        database.drop()


def test_url(given: Given) -> None:
    """
    A URL says where, who and what; the port may be left out.
    """
    full = Database("db.test", 5433, "odoo", "p@ss", "tests")
    assert full == Database.parse("postgresql://odoo:p%40ss@db.test:5433/tests")
    assert replace(full, port=5432, password="") == Database.parse(
        "postgresql://odoo@db.test/tests"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tests",
        "mysql://odoo@db.test/tests",
        "postgresql://db.test/tests",
        "postgresql://odoo@db.test",
        "postgresql://odoo@db.test:x/tests",
        "postgresql://odoo@db.test/te'st",
        "postgresql://odoo@db.test/tests?sslmode=require",
    ],
)
def test_url_that_is_none(url: str) -> None:
    """
    Whatever else is refused, before anything is done.
    """
    with pytest.raises(GivenError):
        Database.parse(url)
