"""
Tests for mailer.main_cf.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.config import Config, Server, Token
from mailer.listen import parse_listen
from mailer.main_cf import PARAMETERS, main_cf, nexthop

QUEUE = "/var/spool/postfix"
SERVERS = (Server("odoo", "https://odoo.example.com", Token("secret")),)
UNUSED = {
    "virtual_alias_maps": "$virtual_maps",
    "virtual_alias_domains": "$virtual_alias_maps",
    "transport_maps": "",
}
MAP = "socketmap:unix:private/odoo-map"
TABLES = st.lists(
    st.sampled_from(["hash:/etc/postfix/a", "regexp:/etc/b", "ldap:/etc/c", "socketmap:unix:d:e"]),
    unique=True,
    max_size=3,
)


def config(**keys):
    """
    Return a configuration.
    """
    return Config(SERVERS, **keys)


def values(text):
    """
    Return the parameters that a text sets.
    """
    pairs = [line.partition(" =") for line in text.splitlines() if not line.startswith("#")]
    return {name: value.strip() for name, _, value in pairs}


def lines(current=UNUSED, queue=QUEUE, **keys):
    """
    Return the parameters that are printed.
    """
    return values(main_cf(config(**keys), queue, current))


@pytest.mark.parametrize("current", [UNUSED, {}, dict.fromkeys(PARAMETERS, "")])
def test_fresh_postfix(current):
    """
    Where nothing is set yet, only our tables are used, and never for domains.
    """
    expected = {
        "virtual_alias_maps": f"{MAP}:aliases",
        "transport_maps": f"{MAP}:transport",
        "virtual_alias_domains": "",
    }
    assert expected == lines(current)


def test_tables_in_use():
    """
    Tables already in use stand behind ours; those for aliases go on naming the domains.
    """
    current = UNUSED | {"virtual_alias_maps": "hash:/etc/a", "transport_maps": "hash:/etc/t"}
    expected = {
        "virtual_alias_maps": f"{MAP}:aliases, hash:/etc/a",
        "transport_maps": f"{MAP}:transport, hash:/etc/t",
        "virtual_alias_domains": "hash:/etc/a",
    }
    assert expected == lines(current)


def test_domains_in_use():
    """
    Domains that are set already stay as they are.
    """
    current = {
        "virtual_alias_maps": "hash:/etc/a",
        "virtual_alias_domains": "example.com, hash:/etc/d",
    }
    assert "example.com, hash:/etc/d" == lines(current)["virtual_alias_domains"]


@pytest.mark.parametrize(
    "domains",
    [
        "$virtual_alias_maps, example.org",
        "example.org ${virtual_alias_maps}",
        "$(virtual_alias_maps) example.org",
    ],
)
def test_domains_never_through_our_table(domains):
    """
    A reference to virtual_alias_maps among the domains would lead Postfix to us for domains.
    """
    current = {"virtual_alias_maps": "hash:/etc/a", "virtual_alias_domains": domains}
    found = lines(current)["virtual_alias_domains"]
    assert {"hash:/etc/a", "example.org"} == set(found.replace(",", " ").split())


@pytest.mark.parametrize(
    "maps",
    [
        "hash:/etc/a",
        "hash:/etc/a, hash:/etc/b",
        "hash:/etc/a hash:/etc/b",
        "proxy:mysql:/etc/a,hash:/etc/b",
        "inline:{a@x=b@y, c@x=d@y}",
        "pcre:{{/^a{1,2}@x$/ b@y}}, hash:/etc/b",
        "socketmap:unix:private/other:aliases",
    ],
)
def test_twice_with(maps):
    """
    With what was printed before in main.cf the same lines are printed again.
    """
    current = UNUSED | {"virtual_alias_maps": maps, "transport_maps": maps}
    once = main_cf(config(), QUEUE, current)
    assert once == main_cf(config(), QUEUE, values(once))


@given(TABLES, TABLES, TABLES, st.sampled_from([" ", ", "]))
def test_twice(aliases, domains, transport, separator):
    """
    Whatever tables were in use, a second run prints the same lines.
    """
    tables = dict(zip(PARAMETERS, (aliases, domains, transport), strict=True))
    current = {name: separator.join(used) for name, used in tables.items()}
    once = main_cf(config(), QUEUE, current)
    assert once == main_cf(config(), QUEUE, values(once))


@pytest.mark.parametrize(
    ("place", "queue", "table"),
    [
        ("/var/spool/postfix/private/odoo-map", QUEUE, "unix:private/odoo-map"),
        ("/var/spool/postfix/private/odoo-map", QUEUE + "/", "unix:private/odoo-map"),
        ("/srv/postfix/public/map", "/srv/postfix", "unix:public/map"),
        ("/run/odoo-map", QUEUE, "unix:/run/odoo-map"),
        ("/var/spool/postfix-2/map", QUEUE, "unix:/var/spool/postfix-2/map"),
        ("127.0.0.1:9000", QUEUE, "inet:127.0.0.1:9000"),
        ("localhost:9000", QUEUE, "inet:localhost:9000"),
        (":9000", QUEUE, "inet:127.0.0.1:9000"),
        ("0.0.0.0:9000", QUEUE, "inet:127.0.0.1:9000"),
        ("[::1]:9000", QUEUE, "inet:[::1]:9000"),
    ],
)
def test_places(place, queue, table):
    """
    A socket below the queue directory is named relative to it, TCP as inet.
    """
    found = lines(queue=queue, socketmap=parse_listen(place))
    assert f"socketmap:{table}:aliases" == found["virtual_alias_maps"]
    assert f"socketmap:{table}:transport" == found["transport_maps"]


def test_twice_over_tcp():
    """
    Our tables are known again when they are reached over TCP.
    """
    place = config(socketmap=parse_listen("[::1]:9000"))
    once = main_cf(place, QUEUE, UNUSED | {"transport_maps": "hash:/etc/t"})
    assert once == main_cf(place, QUEUE, values(once))


@pytest.mark.parametrize("endpoint", ["systemd:domain=UNIX:index=0", "fd:3"])
def test_no_table_without_a_place(endpoint):
    """
    Of a socketmap that Postfix cannot be told the way to no table without a place is printed.
    """
    text = main_cf(config(socketmap=parse_listen(endpoint)), QUEUE, UNUSED)
    assert "socketmap::" not in text


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "lmtp:unix:private/odoo-lmtp"),
        ({"socket": parse_listen("/run/lmtp")}, "lmtp:unix:/run/lmtp"),
        ({"socket": parse_listen("127.0.0.1:24")}, "lmtp:inet:127.0.0.1:24"),
        ({"socket": parse_listen("[::]:24")}, "lmtp:inet:127.0.0.1:24"),
        ({"nexthop": "relay:[odoo.example.com]"}, "relay:[odoo.example.com]"),
    ],
)
def test_nexthop(keys, expected):
    """
    The next hop is the configured one, or leads to where LMTP listens.
    """
    assert expected == nexthop(config(**keys), QUEUE)


def test_no_secret():
    """
    The token is not printed.
    """
    assert "secret" not in main_cf(config(), QUEUE, UNUSED)
