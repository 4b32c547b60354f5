"""
Tests for the order of the modules: who may import whom, and what.
"""

import ast
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import mailer

# Layer of each module; a name may be a pattern, and may be of a module that is yet to come.
LAYERS = {
    0: """
        __init__
        address alias_list alias_table availability concealed config config_keys declared errors
        listen lmtp lmtp_events main_cf map_text message page_text reply sharded socketmap
        succession throttle verdict visible yaml_text
    """,
    1: """
        asyncio_http config_file descriptors exposure handover heap http_client http_exchange
        http_failures list_rows log_repeats logs
        map_files metrics odoo pages postfix spool store tls
        twisted_http
    """,
    2: """
        connection_limit deadline delivery directory http_server listening lmtp_server
        quick_transport reading refresh replacement socketmap_server watched_client web
    """,
    3: """
        __main__ asking cli commands* daemon generation map_commands pipe running sandbox* tap
    """,
}

# What the pure modules do without: the network, files, the clock, other processes.
IMPURE = """
    asyncio fcntl fileinput glob io mmap multiprocessing os pathlib prometheus_client select
    shutil signal socket sqlite3 ssl subprocess syslog tempfile threading time treq twisted
"""

# Who alone imports these.
SOLE = {
    "ruamel": "yaml_text",
    "treq": "twisted_http",
    "h11": "asyncio_http",
    "prometheus_client": "metrics",
}

FOLDER = Path(mailer.__file__).parent
SOURCES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path.read_text("utf-8")
    for path in sorted(FOLDER.rglob("*.py"))
}


def layer_of(module):
    """
    Return the layer of a module; fail where the table has none.
    """
    for layer, names in LAYERS.items():
        if any(fnmatchcase(module, name) for name in names.split()):
            return layer
    pytest.fail(
        f"mailer/{module}.py has no layer: add {module!r} to LAYERS in tests/test_layers.py"
    )


def imports_of(tree, module="", modules=frozenset(SOURCES)):
    """
    Yield the full name of whatever a module imports, anywhere in it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ["mailer", *module.split(".")][: -node.level]
                base = ".".join([*above, base] if base else above)
            inside = {f"{base}.{alias.name}" for alias in node.names}
            submodules = {name for name in inside if name.removeprefix("mailer.") in modules}
            yield from submodules
            if inside - submodules:
                yield base


def breaches(module, source):
    """
    Return what a module does that its layer does not allow.
    """
    tree = ast.parse(source)
    layer = layer_of(module)
    found = []
    for name in imports_of(tree, module):
        package, _, inner = name.partition(".")
        if package == "mailer" and layer_of(inner or "__init__") > layer:
            found.append(f"imports {name} of a higher layer")
        if SOLE.get(package, module) != module:
            found.append(f"imports {package}, which only {SOLE[package]} does")
        if layer == 0 and package in IMPURE.split() and (package, module) != ("os", "reply"):
            found.append(f"imports {package}")
    if layer == 0:
        found += [f"uses {name}" for name in sorted(impure_names(tree))]
    return found


def impure_names(tree):
    """
    Yield what a pure module calls of the world without importing it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("open", "__import__", "input", "print"):
            yield node.id
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and not node.attr.startswith("EX_")
        ):
            yield f"os.{node.attr}"


@pytest.mark.parametrize("module", SOURCES)
def test_each_module_keeps_to_its_layer(module):
    """
    A module imports its own layer or lower ones, and a pure one nothing of the world.
    """
    assert [] == breaches(module, SOURCES[module])


def test_no_module_has_two_layers():
    """
    The table is not in two minds.
    """
    names = " ".join(LAYERS.values()).split()
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("address", "import re\nfrom mailer.errors import ProtocolError", []),
        ("reply", "import os\nos.EX_OK", []),
        ("reply", "import os\nos.stat('x')", ["uses os.stat"]),
        ("reply", "from os import path", []),
        ("address", "import os", ["imports os"]),
        ("address", "def f():\n    import time", ["imports time"]),
        ("address", "from twisted.internet import defer", ["imports twisted"]),
        ("address", "from pathlib import Path", ["imports pathlib"]),
        ("address", "open('x')", ["uses open"]),
        ("address", "import mailer.web", ["imports mailer.web of a higher layer"]),
        ("address", "from mailer.web import x", ["imports mailer.web of a higher layer"]),
        ("address", "from .web import x", ["imports mailer.web of a higher layer"]),
        ("address", "from mailer import __version__", []),
        ("config", "from ruamel.yaml import YAML", ["imports ruamel, which only yaml_text does"]),
        ("web", "import treq", ["imports treq, which only twisted_http does"]),
        ("twisted_http", "import treq\nfrom mailer.store import x", []),
        ("metrics", "from prometheus_client import Counter", []),
        ("store", "import sqlite3\nopen('x')", []),
        ("odoo", "from mailer.refresh import x", ["imports mailer.refresh of a higher layer"]),
        ("cli", "from mailer.tap import x\nfrom mailer.sandbox_web import y", []),
    ],
)
def test_breaches_are_found(module, source, expected):
    """
    The check sees imports of every form, inside functions too.
    """
    assert expected == breaches(module, source)


def test_imports_of_modules_by_way_of_the_package():
    """
    A module that is imported from the package itself is seen as what it is.
    """
    tree = ast.parse("from mailer import web, __version__\nfrom . import tap")
    found = set(imports_of(tree, "address", {"web", "tap"}))
    assert {"mailer.web", "mailer.tap", "mailer"} == found


def test_a_module_without_layer_is_told_to_get_one():
    """
    A new module fails until the table has it.
    """
    with pytest.raises(pytest.fail.Exception, match="add 'newcomer' to LAYERS"):
        breaches("newcomer", "")
