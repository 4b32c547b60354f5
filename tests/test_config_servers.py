"""
Tests for mailer.config and mailer.config_keys: faults of several servers, and of any file.
"""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.config import parse
from mailer.config_keys import FILE
from mailer.errors import ConfigError

SAME_TOKEN = (
    "a and b have the same token; the webhook tells servers apart by their tokens, "
    "give each its own"
)
VALUES = [
    "s3cret",
    "/etc/token",
    "''",
    "5",
    "-1",
    "1.5",
    ".nan",
    ".inf",
    "0x" + "f" * 5000,
    "1" + "0" * 400,
    "true",
    "null",
    "2001-01-01",
    "[]",
    "[a, /b]",
    "{}",
    "{listen: /x}",
    "{listen: {listen: /x}}",
    "{token: a}",
    "[{token: a}]",
    "[&a [*a]]",
    "!!binary aGk=",
    "!a b",
    "|\n  a\n  b",
]


def read(name):
    """
    Find no file but one with a token.
    """
    if name != "/etc/token":
        raise FileNotFoundError(2, "No such file or directory", name)
    return "s3cret"


def faults(text, **environ):
    """
    Return the faults of a bad file as (line, key, text).
    """
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.yaml", read, environ)
    assert "s3cret" not in str(caught.value)
    return [(fault.line, fault.key, fault.text) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("servers: []", [(1, "servers", "expected a list with at least one server")]),
        ("servers: {}", [(1, "servers", "expected a list with at least one server")]),
        ("servers: null", [(1, "servers", "expected a list with at least one server")]),
        (
            "servers:\n- odoo",
            [(2, "servers.0", "expected a mapping with name, host and token")],
        ),
        (
            "servers:\n- {host: odoo, token: s3cret}",
            [(2, "servers.0.name", "missing: every server of the list needs a name")],
        ),
        (
            "servers:\n- {host: odoo, token: s3cret}\n- {host: two, token: s3cret2}",
            [
                (2, "servers.0.name", "missing: every server of the list needs a name"),
                (3, "servers.1.name", "missing: every server of the list needs a name"),
            ],
        ),
        (
            "servers:\n- name: one\n  token: s3cret\n- name: two\n  host: odoo\n",
            [
                (2, "servers.0.host", "missing: the address of the Odoo server"),
                (
                    4,
                    "servers.1.token",
                    "missing: token, token_file, or the systemd credential token",
                ),
            ],
        ),
        (
            "servers:\n- name: one\n  token: s3cret\n  host: odoo\n  socket: /x\n",
            [(5, "servers.0.socket", "belongs to the top of the file, not to one server")],
        ),
        (
            "servers:\n- name: one\n  token: s3cret\n  host: http://odoo\n  timeout: 0\n",
            [
                (
                    4,
                    "servers.0.host",
                    "the token would cross the network in clear; use https, or set insecure: true",
                ),
                (5, "servers.0.timeout", "expected 1 to 280 seconds, not 0"),
            ],
        ),
        (
            "host: odoo\ntoken: s3cret\nservers:\n- {name: one, host: odoo, token: s3cret}\n",
            [
                (1, "host", "belongs into the items of servers, as there are servers"),
                (2, "token", "belongs into the items of servers, as there are servers"),
            ],
        ),
        (
            "timeout: 0\nservers:\n- {name: one, host: odoo, token: s3cret}\n",
            [(1, "timeout", "expected 1 to 280 seconds, not 0")],
        ),
        (
            "ca: /etc/none\nservers:\n- {name: one, host: odoo, token: s3cret}\n",
            [(1, "ca", "/etc/none cannot be read: No such file or directory")],
        ),
        (
            "servers:\n- {name: a, host: h, token: s3cret}\n- {name: a, host: i, token: s3cret2}\n",
            [(1, "servers", "two servers are named a")],
        ),
        (
            "servers:\n- {name: a, host: h, token: s3cret}\n- {name: b, host: i, token: s3cret}\n",
            [
                (
                    1,
                    "servers",
                    SAME_TOKEN,
                )
            ],
        ),
    ],
)
def test_faults_of_several_servers(text, found):
    """
    Each fault is named at its item; names and tokens are each server's own.
    """
    assert found == faults(text)


@pytest.mark.parametrize("file", ["s3cret new", "new s3cret"])
def test_a_token_on_its_way_out_is_not_anothers(file):
    """
    Both tokens of a server tell it from the others.
    """
    text = (
        "servers:\n- {name: a, host: h, token: s3cret}\n- {name: b, host: i, token_file: /tokens}\n"
    )
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.yaml", {"/tokens": file}.__getitem__, {})
    assert [(1, "servers", SAME_TOKEN)] == [
        (fault.line, fault.key, fault.text) for fault in caught.value.faults
    ]


def test_the_credential_is_for_a_single_server():
    """
    With several servers nobody could say whose token it is.
    """
    text = "servers:\n- {name: one, host: odoo}\n"
    assert [(2, "servers.0.token")] == [
        fault[:2] for fault in faults(text, CREDENTIALS_DIRECTORY="/etc")
    ]


@given(
    st.dictionaries(
        st.sampled_from([*map(str, FILE.schema), "name", "5", "true", "? [a]\n"]),
        st.sampled_from(VALUES),
        max_size=6,
    ),
    st.booleans(),
)
@example({"refresh": "1" + "0" * 400}, False)
@example({"max_message_size": "0x" + "f" * 5000}, False)
@example({"host": "http://[::1"}, False)
def test_any_values_are_a_configuration_or_a_config_error(values, in_servers):
    """
    Nothing else is raised, and every fault has its text.
    """
    begin, indent = ("servers:\n- name: x\n", "  ") if in_servers else ("", "")
    text = begin + "".join(f"{indent}{k}: {v}\n" for k, v in values.items())
    found = ()
    try:
        parse(text, "a.yaml", read)
    except ConfigError as error:
        found = error.faults
    assert all(fault.text for fault in found)


@given(st.text() | st.text("host: odken\n-[]{}&*!'\"#?,|>", max_size=40))
def test_any_text_is_a_configuration_or_a_config_error(text):
    """
    Nothing else is raised.
    """
    with suppress(ConfigError):
        parse(text, "a.yaml", read)
