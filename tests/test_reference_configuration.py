"""
conf/odoo-mailer.yaml is the reference: it shows every key, and the defaults it shows are true.
"""

import re
from pathlib import Path

import pytest

from mailer.config import Config, Server, parse
from mailer.config_keys import FILE

REFERENCE = Path(__file__).parent.parent / "conf" / "odoo-mailer.yaml"


def unexpected(name: str) -> str:
    raise AssertionError(f"the reference configuration reads {name}")


def test_reference_is_valid_as_it_stands():
    """
    Only host and token are set; everything else is the default.
    """
    config = parse(REFERENCE.read_text(), "conf", unexpected)

    assert Config(config.servers) == config


def test_defaults_shown_are_those_of_the_code():
    """
    With every default uncommented the configuration is the same.
    """
    text = re.sub(r"^#(\w+:.*)$", r"\1", REFERENCE.read_text(), flags=re.M)

    config = parse(text, "conf", unexpected)

    server = config.servers[0]
    assert Server(server.name, server.url, server.token) == server
    assert Config(config.servers) == config


@pytest.mark.parametrize("key", sorted(str(key) for key in FILE.schema))
def test_every_key_is_shown(key):
    """
    No key is left out of the reference.
    """
    assert re.search(rf"^#?\s*{key}:", REFERENCE.read_text(), flags=re.M) or re.search(
        rf"\b{key}: ", REFERENCE.read_text()
    )
