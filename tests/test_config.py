"""
Tests for mailer.config and mailer.config_keys: good files, and what a file may name.
"""

import copy
import json
import pickle
from dataclasses import asdict, fields

import pytest

from mailer.config import DEFAULT_CACHE, Config, Server, Token, parse
from mailer.config_keys import FILE, SERVER, is_loopback
from mailer.errors import ConfigError
from mailer.listen import Listen

MINIMAL = "host: odoo.example.com\ntoken: s3cret\n"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
FILES = {
    "/etc/token": "s3cret\n",
    "/etc/token2": "s3cret2\n",
    "/etc/tokens": "s3cret2\ns3cret1\n",
    "/etc/empty": "\n",
    "/etc/two": "s3cret one\n",
    "/etc/ca.pem": PEM,
    "/run/credentials/token": "s3cret\n",
}


def read(name):
    """
    Return the text of a file that there is.
    """
    if name == "/etc/binary":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def config(text, **environ):
    """
    Return the configuration of a good file.
    """
    return parse(text, "a.yaml", read, environ)


def faults(text, **environ):
    """
    Return the faults of a bad file as (line, key, text).
    """
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.yaml", read, environ)
    assert "s3cret" not in str(caught.value)
    return [(fault.line, fault.key, fault.text) for fault in caught.value.faults]


def test_a_minimal_file_has_all_defaults():
    """
    Host and token are enough; every default is the promised one.
    """
    expected = Config(
        servers=(Server("odoo", "https://odoo.example.com", Token("s3cret")),),
        aliases="/etc/postfix/virtual_alias_odoo",
        transport="/etc/postfix/transport_odoo",
        socket=Listen(path="/var/spool/postfix/private/odoo-lmtp"),
        socketmap=Listen(path="/var/spool/postfix/private/odoo-map"),
        http=Listen(host="127.0.0.1", port=8000),
        policy=None,
        cache="/var/lib/odoo-mailer",
        refresh=60,
        nexthop="",
        recipient_delimiter="+",
        max_message_size=52428800,
        hostname="",
        log="text",
        max_shrink=0.5,
        transport_grace=432000,
    )
    assert expected == config(MINIMAL)


def test_server_defaults():
    """
    What a server has where the file is silent.
    """
    server = config(MINIMAL).servers[0]
    assert (120, 4, "", "", frozenset()) == (
        server.timeout,
        server.max_in_flight,
        server.database,
        server.ca,
        server.domains,
    )


def test_every_key_reaches_its_place():
    """
    A file with every key gives exactly these values.
    """
    text = """
host: odoo.example.com:8443/base/
token: s3cret
database: prod
ca: /etc/ca.pem
timeout: 30
max_in_flight: 8
domains: [X.example, y.example]
insecure: false
aliases: lmdb:/etc/postfix/a
transport: hash:/etc/postfix/t
socket: /tmp/socket
socketmap: {listen: /tmp/map, mode: "0600", group: mail}
http: "[::1]:8001"
policy: tcp:10040
cache: /tmp/cache
refresh: 1.5
nexthop: lmtp:inet:h:24
recipient_delimiter: "-+"
max_message_size: 1024
hostname: mx.example.com
log: json
max_shrink: 1
transport_grace: 0
"""
    expected = Config(
        servers=(
            Server(
                "odoo",
                "https://odoo.example.com:8443/base",
                Token("s3cret"),
                database="prod",
                ca=PEM,
                timeout=30.0,
                max_in_flight=8,
                domains=frozenset({"x.example", "y.example"}),
            ),
        ),
        aliases="lmdb:/etc/postfix/a",
        transport="hash:/etc/postfix/t",
        socket=Listen(path="/tmp/socket"),
        socketmap=Listen(path="/tmp/map", mode=0o600, group="mail"),
        http=Listen(host="::1", port=8001),
        policy=Listen(endpoint="tcp:10040"),
        cache="/tmp/cache",
        refresh=1.5,
        nexthop="lmtp:inet:h:24",
        recipient_delimiter="-+",
        max_message_size=1024,
        hostname="mx.example.com",
        log="json",
        max_shrink=1.0,
        transport_grace=0.0,
    )
    assert expected == config(text)


def test_the_schema_has_the_keys_of_the_values():
    """
    No key is accepted and then forgotten, no value is without its key.
    """
    shared = {field.name for field in fields(Config)} - {"servers"}
    server = {field.name for field in fields(Server)} - {"url", "name"}
    single = (server | {"host", "token_file", "insecure"}) - {"other_token"}
    assert shared | single | {"servers"} == {str(key) for key in FILE.schema}
    assert single | {"name"} == {str(key) for key in SERVER.schema}


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("odoo", "https://odoo"),
        ("odoo.example.com:8069", "https://odoo.example.com:8069"),
        ("https://odoo.example.com", "https://odoo.example.com"),
        ("https://odoo.example.com/", "https://odoo.example.com"),
        ("https://odoo.example.com/a/b//", "https://odoo.example.com/a/b"),
        ('"[::1]:8069"', "https://[::1]:8069"),
        ("http://localhost:8069", "http://localhost:8069"),
        ("http://odoo.localhost", "http://odoo.localhost"),
        ("http://127.0.0.1:8069", "http://127.0.0.1:8069"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ('"http://[::1]:8069"', "http://[::1]:8069"),
    ],
)
def test_hosts(host, url):
    """
    A name means https; plain http is for this machine.
    """
    assert url == config(f"host: {host}\ntoken: s3cret\n").servers[0].url


@pytest.mark.parametrize(
    "host",
    [
        "http://odoo.example.com",
        "HTTP://odoo.example.com",
        "Http://192.0.2.1:8069",
        "http://localhost.example.com",
        "http://notlocalhost",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "http://127.0.0.1.example.com",
        '"http://[::2]"',
    ],
)
def test_plain_http_to_other_machines_is_refused(host):
    """
    The token does not cross a network in clear unless the administrator insists.
    """
    text = "the token would cross the network in clear; use https, or set insecure: true"
    assert [(2, "host", text)] == faults(f"token: s3cret\nhost: {host}\n")
    assert [(2, "host", text)] == faults(f"token: s3cret\nhost: {host}\ninsecure: false\n")
    assert config(f"token: s3cret\nhost: {host}\ninsecure: true\n").servers[0].url


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://LOCALHOST", True),
        ("http://[::ffff:192.0.2.1]", False),
        ("http://localhost@odoo.example.com", False),
        ("http:", False),
    ],
)
def test_loopback(url, loopback):
    """
    Only names and addresses of this machine are loopback.
    """
    assert loopback == is_loopback(url)


def test_token_file():
    """
    A token may stand in a file of its own, where white space around it does not count.
    """
    assert Token("s3cret") == config("host: odoo\ntoken_file: /etc/token\n").servers[0].token


def test_systemd_credential():
    """
    Without a token in the file the credential called token is taken.
    """
    environ = {"CREDENTIALS_DIRECTORY": "/run/credentials"}
    assert Token("s3cret") == config("host: odoo\n", **environ).servers[0].token


def test_the_file_goes_before_the_credential():
    """
    A token that the file gives counts.
    """
    environ = {"CREDENTIALS_DIRECTORY": "/run/credentials"}
    text = "host: odoo\ntoken_file: /etc/token2\n"
    assert Token("s3cret2") == config(text, **environ).servers[0].token


@pytest.mark.parametrize(
    ("line", "environ", "cache"),
    [
        ("", {}, DEFAULT_CACHE),
        ("", {"STATE_DIRECTORY": "/var/lib/private/odoo"}, "/var/lib/private/odoo"),
        ("", {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ("cache: /srv\n", {"STATE_DIRECTORY": "/var/lib/a"}, "/srv"),
    ],
)
def test_state_directory(line, environ, cache):
    """
    The cache is where the file says, else in the first folder that systemd made.
    """
    assert cache == config(MINIMAL + line, **environ).cache


def test_no_environment_is_needed():
    """
    The environment may be left out.
    """
    assert DEFAULT_CACHE == parse(MINIMAL, "a.yaml", read).cache


SEVERAL = """
timeout: 60
domains: example.com
servers:
  - name: one
    host: one.example.com
    token: s3cret1
  - name: two
    host: http://two.example.com
    insecure: true
    token_file: /etc/token2
    database: db
    ca: /etc/ca.pem
    timeout: 5
    max_in_flight: 1
    domains: [two.example]
"""


def test_several_servers():
    """
    Each has its own keys; what stands above the list holds for all that say nothing else.
    """
    parsed = config(SEVERAL)
    expected = (
        Server(
            "one",
            "https://one.example.com",
            Token("s3cret1"),
            timeout=60.0,
            domains=frozenset({"example.com"}),
        ),
        Server(
            "two",
            "http://two.example.com",
            Token("s3cret2"),
            "db",
            PEM,
            5.0,
            1,
            frozenset({"two.example"}),
            token_file="/etc/token2",
        ),
    )
    assert expected == parsed.servers
    assert parsed.domains == {"one": frozenset({"example.com"}), "two": frozenset({"two.example"})}


def test_servers_of_one():
    """
    A list of one server is a list.
    """
    text = "servers:\n- {name: one, host: odoo, token: s3cret}\n"
    assert ["one"] == [server.name for server in config(text).servers]


@pytest.mark.parametrize(
    ("value", "mode", "group"),
    [
        ("/x", 0o660, "postfix"),
        ("{listen: /x}", 0o660, "postfix"),
        ('{listen: /x, mode: "0600"}', 0o600, "postfix"),
        ('{listen: /x, mode: "666", group: ""}', 0o666, ""),
    ],
)
def test_permissions_of_sockets(value, mode, group):
    """
    Mode and group may be given, each for itself.
    """
    socket = config(MINIMAL + f"socket: {value}\n").socket
    assert Listen(path="/x", mode=mode, group=group) == socket


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("token_file: /etc/tokens\n", {}),
        ("", {"CREDENTIALS_DIRECTORY": "/run/credentials"}),
    ],
)
def test_two_tokens_while_one_is_changed(monkeypatch, text, environ):
    """
    The first of the file or the credential is the one to send, both are good.
    """
    monkeypatch.setitem(FILES, "/run/credentials/token", " s3cret2 s3cret1 ")
    (server,) = config(f"host: odoo\n{text}", **environ).servers
    assert (Token("s3cret2"), Token("s3cret1")) == (server.token, server.other_token)
    assert (Token("s3cret2"), Token("s3cret1")) == server.tokens


def test_the_same_token_twice_is_one(monkeypatch):
    """
    As one may leave it when the change is over.
    """
    monkeypatch.setitem(FILES, "/etc/token", "s3cret\ns3cret\n")
    (server,) = config("host: odoo\ntoken_file: /etc/token\n").servers
    assert (Token("s3cret"),) == server.tokens


@pytest.mark.parametrize(
    ("text", "environ", "file"),
    [
        ("token: s3cret\n", {}, ""),
        ("token_file: /etc/token\n", {}, "/etc/token"),
        ("", {"CREDENTIALS_DIRECTORY": "/run/credentials"}, "/run/credentials/token"),
    ],
)
def test_where_the_token_stands(text, environ, file):
    """
    It is known, for those who look after its permissions.
    """
    assert file == config(f"host: odoo\n{text}", **environ).servers[0].token_file


def test_a_token_does_not_show_itself():
    """
    Neither repr nor str of a token, a server or a configuration has the secret.
    """
    parsed = config(MINIMAL)
    shown = f"{parsed!r} {parsed} {parsed.servers[0].token} {parsed.servers[0]!r}"
    assert "s3cret" not in shown
    assert "Token(***)" in shown


def test_a_token_is_not_pickled():
    """
    A configuration written anywhere would hold the secret; copies are the token itself.
    """
    parsed = config(MINIMAL)
    for value in (parsed, parsed.servers[0], parsed.servers[0].token):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="a token is not written anywhere"):
                pickle.dumps(value, protocol)
    assert parsed == copy.deepcopy(parsed)
    assert parsed.servers[0].token is copy.copy(parsed.servers[0].token)
    assert "s3cret" not in json.dumps(asdict(parsed), default=repr)
    assert "s3cret" not in f"{parsed.servers[0].token} {parsed.servers[0].token!s:>20}"


def test_a_token_knows_its_value():
    """
    Given as octets, of whatever kind and length.
    """
    assert Token("s3cret").is_value(b"s3cret")
    assert not any(Token("s3cret").is_value(o) for o in (b"", b"s3cre", b"s3cret2", b"\xff" * 6))


def test_tokens_are_compared_by_value():
    """
    Equal secrets are equal tokens, and nothing else is.
    """
    assert Token("a") == Token("a")
    assert hash(Token("a")) == hash(Token("a"))
    assert Token("a") != Token("b")
    assert Token("a") != "a"
