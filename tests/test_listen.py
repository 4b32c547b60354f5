"""
Tests for mailer.listen.
"""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.testing import MemoryReactor

from mailer.listen import DEFAULT_GROUP, DEFAULT_MODE, Listen, parse_listen

QUEUE = "/var/spool/postfix"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/run/odoo.sock", Listen(path="/run/odoo.sock")),
        ("127.0.0.1:8000", Listen(host="127.0.0.1", port=8000)),
        ("localhost:1", Listen(host="localhost", port=1)),
        (":65535", Listen(port=65535)),
        ("[::1]:24", Listen(host="::1", port=24)),
        ("[::]:24", Listen(host="::", port=24)),
        ("tcp:8000", Listen(endpoint="tcp:8000")),
        ("tcp6:8000:interface=\\:\\:", Listen(endpoint="tcp6:8000:interface=\\:\\:")),
        ("unix:/run/x", Listen(endpoint="unix:/run/x")),
        ("systemd:domain=UNIX:name=odoo", Listen(endpoint="systemd:domain=UNIX:name=odoo")),
    ],
)
def test_listening_places(text, place):
    """
    A path, host:port and a Twisted endpoint description are each told apart.
    """
    assert place == parse_listen(text)


@pytest.mark.parametrize(
    "text",
    ["", "odoo", "run/x", "h:", "h:0", "h:65536", "h:99999", "h:123456", "h:-1", "a b:1", "::1:24"],
)
def test_what_is_no_listening_place(text):
    """
    The error says what was expected.
    """
    with pytest.raises(ValueError, match="expected an absolute path, host:port, or a Twisted"):
        parse_listen(text)


def test_socket_paths_have_a_longest_length():
    """
    The kernel takes 107 octets, counted as UTF-8.
    """
    assert parse_listen("/" + "x" * 106).path
    for path in ("/" + "x" * 107, "/" + "\u00e9" * 54):
        with pytest.raises(ValueError, match="at most 107 octets"):
            parse_listen(path)


def test_permissions_are_kept():
    """
    Mode and group go with a UNIX socket; without any, Postfix gets in.
    """
    given_place, default = parse_listen("/x", 0o600, "mail"), parse_listen("/x")
    assert (0o600, "mail") == (given_place.mode, given_place.group)
    assert (DEFAULT_MODE, DEFAULT_GROUP) == (default.mode, default.group) == (0o660, "postfix")


@pytest.mark.parametrize(
    ("text", "description", "client", "postfix"),
    [
        (
            "/var/spool/postfix/private/x",
            None,
            "unix:/var/spool/postfix/private/x",
            "unix:private/x",
        ),
        (
            "/run/a:b=c",
            None,
            None,
            "unix:/run/a:b=c",
        ),
        (
            "/var/spool/postfix2/x",
            None,
            "unix:/var/spool/postfix2/x",
            "unix:/var/spool/postfix2/x",
        ),
        (
            "mail.example:24",
            "tcp:24:interface=mail.example:backlog=1024",
            "tcp:mail.example:24",
            "inet:mail.example:24",
        ),
        (
            "[::1]:24",
            "tcp:24:interface=\\:\\:1:backlog=1024",
            "tcp:\\:\\:1:24",
            "inet:[::1]:24",
        ),
        (":24", "tcp:24:interface=:backlog=1024", "tcp:127.0.0.1:24", "inet:127.0.0.1:24"),
        (
            "0.0.0.0:24",
            "tcp:24:interface=0.0.0.0:backlog=1024",
            "tcp:127.0.0.1:24",
            "inet:127.0.0.1:24",
        ),
        ("tcp:24", "tcp:24:backlog=1024", "", ""),
        ("unix:/x", "unix:/x:backlog=1024", "", ""),
        ("tcp:24:backlog=7", "tcp:24:backlog=7", "", ""),
        ("systemd:domain=UNIX:index=0", "systemd:domain=UNIX:index=0", "", ""),
    ],
)
def test_names_for_twisted_and_postfix(text, description, client, postfix):
    """
    A place has a description to listen, one to connect, and Postfix's name for it.
    """
    place = parse_listen(text)
    assert description in (None, place.description)
    assert client in (None, place.client)
    assert postfix == place.postfix(QUEUE) == place.postfix(QUEUE + "/")


@pytest.mark.parametrize(
    "text", ["/run/x", "127.0.0.1:8000", "[::1]:24", "tcp:8000", "systemd:domain=INET:index=0"]
)
def test_a_place_shows_as_it_was_written(text):
    """
    Messages name a place as the administrator did.
    """
    assert text == str(parse_listen(text))


@pytest.mark.parametrize("path", ["/run/x", "/a:b=c\\d", "/with space", "/\u00e9"])
def test_twisted_reads_the_description_of_a_path(path):
    """
    Twisted finds the path again, whatever stands in it.
    """
    reactor = MemoryReactor()
    clientFromString(reactor, parse_listen(path).client).connect(None)
    assert path == reactor.unixClients[0][0]


def test_twisted_reads_the_description_of_a_port():
    """
    Twisted finds port, interface and backlog again, for IPv6 too.
    """
    reactor = MemoryReactor()
    serverFromString(reactor, parse_listen("[::1]:24").description).listen(None)
    assert (24, 1024, "::1") == tuple(reactor.tcpServers[0][i] for i in (0, 2, 3))


@given(st.text() | st.from_regex(r"(/|tcp:|\[?[\w.:]{0,9}\]?:)[\w:=\\\[\]]{0,9}", fullmatch=True))
def test_any_text_is_a_listening_place_or_a_value_error(text):
    """
    Nothing else is raised, and every place has its names.
    """
    with suppress(ValueError):
        place = parse_listen(text)
        assert all((str(place), place.description))
        assert place.postfix(QUEUE).startswith(("unix:", "inet:")) or place.endpoint
