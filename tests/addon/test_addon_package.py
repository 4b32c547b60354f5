"""
Tests for what the addon mail_delivery is made of.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

ADDON = Path(__file__).parents[2] / "addons" / "mail_delivery"
SOURCES = {str(path.relative_to(ADDON)): path for path in sorted(ADDON.rglob("*.py"))}
LOGIC = [name for name in SOURCES if name.startswith("logic/")]
ALLOWED = sys.stdlib_module_names | {"requests"}  # Odoo has requests, whatever is installed

OLDEST_PYTHON = (3, 10)  # of Odoo 17, 18 and 19


def foreign_imports(source):
    """
    Return what a module imports beside the standard library, requests and its own package.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        else:
            continue
        # One dot is the package itself; two are the addon, which needs Odoo.
        own = re.compile(r"\.(\w.*)?")
        found += [n for n in names if n.split(".")[0] not in ALLOWED and not own.fullmatch(n)]
    return found


@pytest.fixture(scope="module")
def manifest():
    """
    The manifest, which is a literal.
    """
    return ast.literal_eval((ADDON / "__manifest__.py").read_text("utf-8"))


def test_logic_is_there():
    """
    The tests below look at every module of ``logic``.
    """
    assert {
        "logic/__init__.py",
        "logic/address_list.py",
        "logic/configuration.py",
        "logic/envelope.py",
        "logic/list_version.py",
        "logic/notifier.py",
        "logic/trace.py",
        "logic/verdict.py",
        "logic/webhook.py",
    } <= set(LOGIC)


@pytest.mark.parametrize("name", LOGIC)
def test_logic_needs_no_odoo(name):
    """
    A module of ``logic`` imports the standard library, requests, and its own package.
    """
    assert [] == foreign_imports(SOURCES[name].read_text("utf-8"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import re\nimport os.path\nfrom collections.abc import Iterable", []),
        ("import requests\nfrom requests.exceptions import Timeout", []),
        ("from .webhook import Mailer\nfrom . import webhook", []),
        ("import odoo", ["odoo"]),
        ("from odoo.tools import consteq", ["odoo.tools"]),
        ("def f():\n    import odoo", ["odoo"]),
        ("from .. import delivery", [".."]),
        ("from ..delivery import Delivery", ["..delivery"]),
        ("from logic.webhook import Mailer", ["logic.webhook"]),
        ("import psycopg2, json", ["psycopg2"]),
    ],
)
def test_a_foreign_import_is_found(source, expected):
    """
    The test of the imports sees each kind of them, wherever it stands.
    """
    assert expected == foreign_imports(source)


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_compiles(name):
    """
    Each Python file is one for the oldest Python of the Odoo series that there are.
    """
    ast.parse(SOURCES[name].read_text("utf-8"), name, feature_version=OLDEST_PYTHON)
    compile(SOURCES[name].read_text("utf-8"), name, "exec")


@pytest.mark.parametrize("key", ["name", "version", "author", "license", "website", "summary"])
def test_the_manifest_has_a_text_for(key, manifest):
    """
    What the OCA asks of a manifest is there, and no empty text.
    """
    assert isinstance(manifest[key], str)
    assert manifest[key].strip()


def test_the_manifest_is_one_of_the_oca(manifest):
    """
    Author, licence, version and dependencies are as the OCA's checks want them.
    """
    assert "Odoo Community Association (OCA)" in manifest["author"].split(", ")
    assert manifest["license"] in ("AGPL-3", "LGPL-3")
    assert re.fullmatch(r"(1[789]\.0\.)?\d+\.\d+\.\d+", manifest["version"])
    assert "mail" in manifest["depends"]
    assert manifest["website"].startswith("https://")


@pytest.mark.parametrize("key", ["data", "images"])
def test_the_files_of_the_manifest_exist(key, manifest):
    """
    Each file that the manifest names is in the addon.
    """
    assert [] == [name for name in manifest.get(key, []) if not (ADDON / name).is_file()]


def test_every_view_is_in_the_manifest(manifest):
    """
    No XML or CSV file with data is left out of the manifest.
    """
    folders = ("data", "security", "views", "wizard")
    found = (path for folder in folders for path in (ADDON / folder).glob("*.[xc][ms][lv]"))

    assert set(manifest["data"]) == {str(path.relative_to(ADDON)) for path in found}
