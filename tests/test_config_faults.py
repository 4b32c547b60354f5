"""
Tests for mailer.config and mailer.config_keys: faults.
"""

import pytest

from mailer.config import parse
from mailer.errors import ConfigError

MINIMAL = "host: odoo.example.com\ntoken: s3cret\n"
NO_TOKEN = "expected a token of printable ASCII without spaces"
FILES = {
    "/etc/token": "s3cret\n",
    "/etc/empty": "\n",
    "/etc/three": "s3cret one two\n",
    "/etc/odd": "s3cret \u00e9\n",
    "/etc/no.pem": "s3cret",
}


def read(name):
    """
    Return the text of a file that there is.
    """
    if name == "/etc/binary":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    if name == "/etc/secret":
        raise PermissionError(13, "Permission denied", name)
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def faults(text, **environ):
    """
    Return the faults of a bad file as (line, key, text).
    """
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.yaml", read, environ)
    assert "s3cret" not in str(caught.value)
    return [(fault.line, fault.key, fault.text) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("aliases: relative", "expected an absolute path, or type:path, not 'relative'"),
        ("aliases: [/a]", "expected an absolute path, or type:path, not a list"),
        ("transport: LMDB:/a", "expected an absolute path, or type:path, not 'LMDB:/a'"),
        ("socket: odoo", "expected an absolute path, host:port, or a Twisted endpoint description"),
        ("socket: 25", "expected a path or host:port, not 25"),
        ("socketmap: {}", "expected listen, mode and group, not none of them"),
        ("http: {listen: /x, user: a, who: b}", "expected listen, mode and group, not user, who"),
        ("http: {listen: 8000}", "expected a path or host:port, not 8000"),
        (
            "http: h:99999",
            "expected an absolute path, host:port, or a Twisted endpoint description",
        ),
        (
            "policy: {listen: /x, mode: 0660}",
            'mode: expected an octal number in quotes, such as "0660"',
        ),
        (
            "policy: {listen: /x, mode: '0999'}",
            'mode: expected an octal number in quotes, such as "0660"',
        ),
        ("policy: {listen: /x, group: 5}", "group: expected the name of a group"),
        ("cache: ~/cache", "expected an absolute path, not '~/cache'"),
        ("cache: null", "expected an absolute path, not None"),
        ("refresh: often", "expected a number of seconds, not 'often'"),
        ("refresh: true", "expected a number of seconds, not True"),
        ("refresh: 0", "expected 1 to 86400 seconds, not 0"),
        ("refresh: .nan", "expected 1 to 86400 seconds, not nan"),
        ("refresh: 86401", "expected 1 to 86400 seconds, not 86401"),
        ("nexthop: a b", "expected printable ASCII without spaces"),
        ("nexthop: ''", "expected a text, not ''"),
        ("recipient_delimiter: a", 'expected characters such as "+", or "", not \'a\''),
        ("recipient_delimiter: ' '", 'expected characters such as "+", or "", not \' \''),
        ("recipient_delimiter: '@'", 'expected characters such as "+", or "", not \'@\''),
        ("recipient_delimiter: 1", 'expected characters such as "+", or "", not 1'),
        ("max_message_size: 1.5", "expected a whole number of octets, not 1.5"),
        ("max_message_size: 50M", "expected a whole number of octets, not '50M'"),
        ("max_message_size: true", "expected a whole number of octets, not True"),
        ("max_message_size: 1023", "expected 1024 to 2147483647 octets, not 1023"),
        ("hostname: 3", "expected a text, not 3"),
        ("hostname: m\u00fcx", "expected printable ASCII without spaces"),
        ("log: xml", "expected text or json, not 'xml'"),
        ("log: [text]", "expected text or json, not a list"),
        ("max_shrink: 50", "expected 0 to 1 (a part of the list), not 50"),
        ("max_shrink: -0.1", "expected 0 to 1 (a part of the list), not -0.1"),
        ("transport_grace: -1", "expected 0 to 3.1536e+07 seconds, not -1"),
        ("database: 5", "expected a text, not 5"),
        ("insecure: yes", "expected true or false, not 'yes'"),
        ("timeout: 541", "expected 1 to 280 seconds, not 541"),
        ("max_in_flight: 0", "expected 1 to 1000 deliveries, not 0"),
        ("domains: 5", "expected a list of domains, not 5"),
        ("domains: [a b]", "'a b' is not a domain"),
        ("domains: [example.com, 5]", "5 is not a domain"),
        ("ca: ca.pem", "expected an absolute path, not 'ca.pem'"),
        ("ca: /etc/none.pem", "/etc/none.pem cannot be read: No such file or directory"),
        ("ca: /etc/secret", "/etc/secret cannot be read: Permission denied"),
        ("ca: /etc/no.pem", "no PEM certificate in this file"),
        ("tokne: x", "unknown key, did you mean token?"),
        ("socket_map: /x", "unknown key, did you mean socketmap?"),
        ("completely_different: x", "unknown key"),
        ("socket: tcp:24", "no nexthop can be derived from this endpoint, set nexthop"),
        ("nexthop: " + "\u00e9" * 100, "expected printable ASCII without spaces"),
        ("cache: " + "x" * 100, "expected an absolute path, not '" + "x" * 59 + "…"),
    ],
)
def test_wrong_values(line, text):
    """
    Each kind of wrong value is refused with its line, its key and what was expected.
    """
    key = line.partition(":")[0]
    found = faults(f"{MINIMAL}# a comment\n\n{line}\n")
    assert (5, key, text) in found
    assert {(5, key)} == {fault[:2] for fault in found}


@pytest.mark.parametrize(
    "host", ["5", "''", "a b", "ftp://odoo", "odoo:x", "odoo:0", "odoo:99999", "http://", "ö.de"]
)
def test_wrong_hosts(host):
    """
    What names no server is refused.
    """
    found = faults(f"token: s3cret\nhost: {host}\n")
    assert [(2, "host")] == [fault[:2] for fault in found]
    assert "expected a" in found[0][2]


@pytest.mark.parametrize("host", ["https://u@odoo", "https://u:p@odoo", "odoo/?a=b", "odoo/#x"])
def test_hosts_with_more_than_a_place(host):
    """
    User, query and fragment have no place in the address of a server.
    """
    text = "expected a URL without user, query and fragment"
    assert [(2, "host", text)] == faults(f"token: s3cret\nhost: '{host}'\n")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("", (0, "token", "missing: token, token_file, or the systemd credential token")),
        ("token: ''", (2, "token", "expected a token of printable ASCII without spaces")),
        ("token: s3cret x", (2, "token", "expected a token of printable ASCII without spaces")),
        ("token: s3cret\u00e9", (2, "token", "expected a token of printable ASCII without spaces")),
        ("token: null", (2, "token", "expected a text; a token of digits alone needs quotes")),
        ("token: 123", (2, "token", "expected a text; a token of digits alone needs quotes")),
        ("token: [s3cret]", (2, "token", "expected a text; a token of digits alone needs quotes")),
        ("token_file: s3cret", (2, "token_file", "expected an absolute path")),
        ("token_file: 5", (2, "token_file", "expected an absolute path")),
        (
            "token_file: /etc/none",
            (2, "token_file", "/etc/none cannot be read: No such file or directory"),
        ),
        (
            "token_file: /etc/binary",
            (2, "token_file", "/etc/binary cannot be read: not a text file"),
        ),
        *(
            (f"token_file: /etc/{name}", (2, "token_file", f"{NO_TOKEN}, or two of them"))
            for name in ("empty", "three", "odd")
        ),
        (
            "token: s3cret\ntoken_file: /etc/token",
            (3, "token_file", "give either token or token_file"),
        ),
    ],
)
def test_wrong_tokens(lines, found):
    """
    A token that is missing, given twice or none at all is refused, and never shown.
    """
    assert found in faults(f"host: odoo\n{lines}\n")


@pytest.mark.parametrize("key", ["host", "cache", "log", "nexthop", "socket", "domains", "timeout"])
def test_a_token_that_continues_another_value(key):
    """
    A line without a space behind its colon belongs to the one before, and is not shown.
    """
    assert key in [fault[1] for fault in faults(f"{key}: x\n  token:s3cret\n")]


def test_a_credential_that_cannot_be_read():
    """
    The error names the file that systemd should have made.
    """
    found = faults("host: odoo\n", CREDENTIALS_DIRECTORY="/run/none")
    assert [(0, "token", "/run/none/token cannot be read: No such file or directory")] == found


def test_every_fault_is_named_at_once():
    """
    One reading shows all there is to mend, in the order of the file.
    """
    text = """\
log: xml
host: http://odoo.example.com
refresh: 0
tokne: s3cret
domains: [a b]
"""
    assert [
        (0, "token"),
        (1, "log"),
        (2, "host"),
        (3, "refresh"),
        (4, "tokne"),
        (5, "domains"),
    ] == [fault[:2] for fault in faults(text)]


def test_a_fault_is_a_line_of_the_message():
    """
    Each line of the message names file, line, key and fault.
    """
    with pytest.raises(ConfigError) as caught:
        parse(MINIMAL + "log: xml\nrefresh: 0\n", "/etc/a.yaml", read)
    assert [
        "/etc/a.yaml:3: log: expected text or json, not 'xml'",
        "/etc/a.yaml:4: refresh: expected 1 to 86400 seconds, not 0",
    ] == str(caught.value).splitlines()


@pytest.mark.parametrize("text", ["", "# nothing\n", "just text", "- host: odoo", "5", "null"])
def test_files_that_are_no_mapping(text):
    """
    An empty file and other kinds of YAML are refused as a whole.
    """
    assert [(0, "", "expected a mapping of keys to values")] == faults(text)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("host: odoo\ntoken: s3cret\nhost: two\n", 3, "a key stands twice"),
        ("token: s3cret\ntoken: s3cret\n", 2, "a key stands twice"),
        ("servers:\n- token: s3cret\n  token: s3cret2\n", 3, "a key stands twice"),
        ("host: odoo\ntoken: s3cret: x\n", 2, "mapping values are not allowed here"),
    ],
)
def test_faults_of_yaml(text, line, problem):
    """
    What is no YAML is refused with its line.
    """
    assert [(line, "", problem)] == faults(text)


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL + "aliases: [\n",
        "token: *s3cret\n",
        "token: !!int s3cret\n",
        "token: 's3cret\n",
        "host: odoo\ntoken s3cret\n",
        "host: odoo\ntoken s3cret\nlog: text\n",
        "host:\n  token: s3cret\n",
        "database: {token: s3cret}\n",
        "domains: [{token: s3cret}]\n",
        "http:\n  listen:\n    token: s3cret\n",
        "log:\n- token: s3cret\n",
        "cache:\n  token: s3cret\n",
        "servers: s3cret\n",
        "servers:\n- s3cret\n",
        "servers:\n- name: {token: s3cret}\n",
        "host: odoo\ntoken_file: {token: s3cret}\n",
    ],
)
def test_a_token_in_the_wrong_place_is_not_shown(text):
    """
    Neither bad YAML nor a wrong indentation brings a token into the error.
    """
    assert faults(text)
