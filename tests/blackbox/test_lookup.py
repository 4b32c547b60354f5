"""
What Postfix learns about addresses while a client is connected.
"""

import time

import pytest
from installation import Installation
from mail_host import LOCAL, SENDER, expect
from waiting import eventually

pytestmark = pytest.mark.postfix

INFO = "info@example.test"


def test_known_address(site: Installation) -> None:
    """
    An address of Odoo's is taken at RCPT without any local user of its name.
    """
    with site.session() as session:
        expect(250, session.mail(SENDER))
        expect(250, session.rcpt(INFO))


def test_unknown_address(site: Installation) -> None:
    """
    An unknown address is refused at RCPT, for good.
    """
    with site.session() as session:
        expect(250, session.mail(SENDER))
        _, text = expect(550, session.rcpt("nobody@example.test"))
    assert text.startswith(b"5.1.1 ")


def test_ordinary_mailbox(site: Installation) -> None:
    """
    An ordinary mailbox of the same domain is taken as ever.
    """
    with site.session() as session:
        expect(250, session.mail(SENDER))
        expect(250, session.rcpt(LOCAL))


def test_foreign_domain(site: Installation) -> None:
    """
    The maps open no relay, and say nothing of a bare domain.
    """
    with site.session() as session:
        expect(250, session.mail(SENDER))
        code, _ = session.rcpt("info@elsewhere.test")
    assert 500 <= code <= 599


def test_postmap_finds(site: Installation) -> None:
    """
    ``postmap -q`` prints what the maps answer, the key in ``aliases`` as it was asked.
    """
    aliases = site.postfix.postmap("aliases", "Info+x@Example.TEST")
    transport = site.postfix.postmap("transport", "Info+x@Example.TEST")
    assert (aliases.returncode, aliases.stdout) == (0, b"Info+x@Example.TEST\n")
    assert (transport.returncode, transport.stdout) == (0, b"lmtp:unix:private/odoo-lmtp\n")


@pytest.mark.parametrize("key", ["nobody@example.test", "example.test", "*", "info", "a@b@c"])
@pytest.mark.parametrize("map_name", ["aliases", "transport"])
def test_postmap_finds_nothing(site: Installation, map_name: str, key: str) -> None:
    """
    ``postmap -q`` of anything else ends with 1 and prints nothing, no error either.
    """
    result = site.postfix.postmap(map_name, key)
    assert (result.returncode, result.stdout, result.stderr) == (1, b"", b"")


def test_postmap_unknown_map(site: Installation) -> None:
    """
    A map name that does not exist is an error, not an empty answer.
    """
    result = site.postfix.postmap("alias", INFO)
    assert result.returncode == 1
    assert result.stdout == b""
    assert b"error" in result.stderr


def test_new_alias(site: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """
    An alias made in Odoo is taken at RCPT within the second, by way of the webhook.
    """
    address = "campaign@example.test"
    with site.session() as session:
        expect(250, session.mail(SENDER))
        expect(550, session.rcpt(address))
        site.aliases[address] = []
        site.write_aliases()
        start = time.monotonic()
        eventually(lambda: session.rcpt(address)[0] == 250, "the new alias")
        seconds = time.monotonic() - start
    with capsys.disabled():
        print(f"\n{address} was taken {seconds:.2f} s after it was made")


def test_alias_removed(site: Installation) -> None:
    """
    An alias that Odoo gave up is refused at RCPT.
    """
    address = "campaign@example.test"
    site.add_alias(address)
    del site.aliases[address]
    site.write_aliases()
    with site.session() as session:
        expect(250, session.mail(SENDER))
        eventually(lambda: session.rcpt(address)[0] == 550, "the refusal")
