"""
Tests for logic.configuration, read by odoo-mailer.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logic.configuration import PLACE_FOR_TOKEN, configuration
from mailer.config import DEFAULT_HTTP, Token, parse
from mailer.errors import ConfigError
from mailer.listen import Listen

HOSTS = st.sampled_from(["odoo.example.com", "xn--bcher-kva.example", "192.0.2.1", "[2001:db8::1]"])
PORTS = st.just("") | st.integers(1, 65535).map(":{}".format)
PATHS = st.text(st.sampled_from("aZ09/-._~%@:$&'()*+,;=!\"\\{}[]|^`"), max_size=12).map(
    "/{}".format
)
HTTPS = st.builds("https://{}{}{}".format, HOSTS, PORTS, st.just("") | PATHS)
TOKENS = st.text(st.characters(min_codepoint=ord("!"), max_codepoint=ord("~")), min_size=1)
DATABASES = st.text() | TOKENS
WEBHOOKS = st.just("") | st.builds(
    "http://{}{}/aliases".format, HOSTS | st.just("localhost"), PORTS
)


def read(text):
    """
    Read a file as odoo-mailer does; it names no other file.
    """
    return parse(text, "odoo-mailer.yaml", lambda _name: pytest.fail("no file is named"))


def faults(text):
    """
    Return the keys that odoo-mailer finds at fault.
    """
    try:
        read(text)
    except ConfigError as error:
        return [fault.key for fault in error.faults]
    return []


def test_a_file_says_what_there_is_to_say():
    """
    Host, token and webhook are in force; the database is there to be taken in.
    """
    expected = """\
# /etc/odoo-mailer/odoo-mailer.yaml
host: "https://odoo.example.com"
token: "s3cret"
http: "0.0.0.0:8000"  # where Odoo calls the webhook
# database: "prod"  # Odoo 19, where it serves several databases
"""
    webhook = "http://mail.example.com:8000/aliases"

    assert expected == configuration("https://odoo.example.com", "prod", "s3cret", webhook)


@given(HTTPS, DATABASES, TOKENS, WEBHOOKS)
@example(
    "https://odoo.example.com/", "\U0001f600\ud800\n# x", "\\\"'#:{", "http://mail:8000/aliases"
)
def test_odoo_mailer_reads_the_file(base_url, database, token, webhook):
    """
    For any https address the file is valid, and means what was put in.
    """
    config = read(configuration(base_url, database, token, webhook))
    [server] = config.servers

    assert base_url.rstrip("/") == server.url
    assert Token(token) == server.token
    assert "" == server.database
    assert (config.http == DEFAULT_HTTP) <= (webhook in ("", "http://localhost:8000/aliases"))


@given(HTTPS, TOKENS)
def test_the_database_can_be_taken_in(base_url, database):
    """
    The line of the database is valid once the ``#`` before it is gone.
    """
    text = configuration(base_url, database, "s3cret", "").replace("# database", "database")

    assert database == read(text).servers[0].database


def test_without_a_token_there_is_a_place_for_it():
    """
    Where the token is not shown, odoo-mailer does not start before it was put in.
    """
    text = configuration("https://odoo.example.com", "prod", "", "")

    assert ["token"] == faults(text)
    assert Token("s3cret") == read(text.replace(PLACE_FOR_TOKEN, "s3cret")).servers[0].token


@pytest.mark.parametrize(
    ("base_url", "insecure"),
    [
        ("https://odoo.example.com", False),
        ("HTTPS://odoo.example.com", False),
        ("http://odoo.example.com", True),
        ("HTTP://odoo.example.com:8069/", True),
        ("http://192.0.2.1:8069", True),
        ("http://localhost:8069", False),
        ("http://127.0.0.1:8069", False),
        ("http://[::1]:8069", False),
    ],
)
def test_a_token_in_clear_is_asked_for_by_name(base_url, insecure):
    """
    An http address that leaves the machine is valid too, with a word of warning.
    """
    text = configuration(base_url, "prod", "s3cret", "")

    assert base_url.lower().rstrip("/") == read(text).servers[0].url
    assert insecure == ("insecure: true" in text)


@pytest.mark.parametrize(
    ("webhook", "expected"),
    [
        ("", DEFAULT_HTTP),
        ("http://mail.example.com:8000/aliases", Listen(host="0.0.0.0", port=8000)),
        ("http://mail.example.com/aliases", Listen(host="0.0.0.0", port=80)),
        ("http://192.0.2.1:8001/aliases", Listen(host="0.0.0.0", port=8001)),
        ("http://localhost:8000/aliases", Listen(host="127.0.0.1", port=8000)),
        ("http://127.0.0.1:8001", Listen(host="127.0.0.1", port=8001)),
    ],
)
def test_odoo_mailer_listens_where_odoo_calls(webhook, expected):
    """
    The webhook is served on its port, on loopback alone where it is called there.
    """
    assert expected == read(configuration("https://odoo", "prod", "s3cret", webhook)).http


@pytest.mark.parametrize(
    ("webhook", "hosts"),
    [
        ("http://[::1]:8000/aliases", {"::1", "::"}),
        ("http://[2001:db8::1]:8000/aliases", {"2001:db8::1", "::"}),
    ],
)
def test_odoo_mailer_listens_where_odoo_calls_by_ipv6(webhook, hosts):
    """
    An address of IPv6 is not reached by listening on one of IPv4.
    """
    http = read(configuration("https://odoo", "prod", "s3cret", webhook)).http

    assert http.host in hosts


@pytest.mark.parametrize(
    "junk", ["http://[", "http://[::1", "http://x:port/", "http://x:99999/", "x", "://", "\x00"]
)
def test_junk_does_not_raise(junk):
    """
    The file is shown while an address is being written, before anyone has checked it.
    """
    assert configuration("https://odoo.example.com", "prod", "s3cret", junk)
    assert configuration(junk, "prod", "s3cret", "")


@given(st.text(), DATABASES)
def test_a_file_is_yaml_for_any_address(base_url, database):
    """
    Whatever the address is, it stays in its line: odoo-mailer finds fault with the host alone.
    """
    try:
        text = configuration(base_url, database, "s3cret", "")
    except ValueError:
        return  # test_junk_does_not_raise

    assert faults(text) in ([], ["host"])
