"""
Fuzzing the configuration file: a ``Config``, or faults that can be shown and hold no token.
"""

import re

from mailer.config import Config, parse
from mailer.errors import ConfigError

MAX_LENGTH = 4200  # octets: there is room for a number that Python would not show

SECRET = "s3cret"
FILES = {"/token": "one two\n", "/ca": "-----BEGIN CERTIFICATE-----\n"}


def read(name):
    """
    Return the text of a file that the configuration names.
    """
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def is_secret(text):
    """
    Say whether the secret is the value of the token, and stands nowhere else.
    """
    return text.count(SECRET) == 1 and bool(re.match(rf"token: {SECRET}[a-z]*\n", text))


def check_faults(text, faults, shown):
    """
    Check that there are faults, each on a line of the file, and that they show no token.
    """
    last = len(re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)) + 1
    assert faults
    assert all(0 <= fault.line <= last and fault.text for fault in faults)
    assert SECRET not in shown or not is_secret(text)


def check(octets):
    """
    Nothing else is raised; every fault has a line of the file; the token is shown nowhere.
    """
    text = octets.decode("utf-8", "replace")
    try:
        config = parse(text, "x.yaml", read, {})
    except ConfigError as error:
        check_faults(text, error.faults, str(error))
        return
    assert isinstance(config, Config)
    assert config.servers
    assert all(re.fullmatch(r"https?://\S+", server.url) for server in config.servers)
    assert all(re.fullmatch(r"[!-~]+", one.value) for s in config.servers for one in s.tokens)
    assert SECRET not in repr(config) or not is_secret(text)
