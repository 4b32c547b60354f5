"""
Changes in Odoo are in force at Postfix at once.
"""

import time
from collections.abc import Callable
from statistics import median

import pytest
from mail_host import expect
from postfix import DOMAIN
from waiting import eventually
from whole_site import WholeSite, letter, stranger

pytestmark = pytest.mark.postfix

TRIES = 9
LIMIT = 10.0  # seconds; generous, for no test is to fail by the clock
STEP = 0.01  # seconds between two RCPT


def test_new_alias(
    site: WholeSite,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    """
    An alias saved in Odoo is accepted at RCPT soon after; how soon is printed.
    """
    since_answer, since_click = [], []
    for number in range(TRIES):
        name = f"campaign-{number}"
        with site.host.session() as session:
            expect(250, session.mail(stranger()))
            expect(550, session.rcpt(f"{name}@{DOMAIN}"))
            click = time.perf_counter()
            address = site.odoo.create_alias(name)
            saved = time.perf_counter()
            while session.rcpt(address)[0] != 250:
                assert time.perf_counter() - saved < LIMIT, f"{address} is not accepted"
                time.sleep(STEP)
            accepted = time.perf_counter()
        since_answer.append(accepted - saved)
        since_click.append(accepted - click)
    figures = {
        "ms_from_answer_to_accepted": since_answer,
        "ms_from_click_to_accepted": since_click,
    }
    for name, seconds in figures.items():
        record_property(name, round(median(seconds) * 1000))
    with capsys.disabled():
        print(
            f"\na new alias was accepted {median(since_answer) * 1000:.0f} ms after Odoo had"
            f" saved it ({min(since_answer) * 1000:.0f} to {max(since_answer) * 1000:.0f}),"
            f" {median(since_click) * 1000:.0f} ms after the click; median of {TRIES}"
        )


def test_new_alias_makes_leads(site: WholeSite) -> None:
    """
    What is accepted is delivered, too.
    """
    address, sender = site.alias("fresh"), stranger()
    mail = letter("Still warm", to=address, sender=sender)
    assert [(address, "sent")] == site.delivered(mail, address, sender=sender)
    assert 1 == len(site.leads("Still warm"))


def test_removed_alias(site: WholeSite) -> None:
    """
    An alias that was deleted is refused at RCPT.
    """
    address = site.alias("short-lived")
    (alias,) = site.odoo.find("mail.alias", "id", alias_full_name=address)
    site.odoo.call("mail.alias", "unlink", [alias["id"]])
    with site.host.session() as session:
        expect(250, session.mail(stranger()))
        (_, text) = eventually(
            lambda: (reply := session.rcpt(address))[0] == 550 and reply, "the refusal"
        )
    assert text.startswith(b"5.1.1 ")


def test_allowed_domain(site: WholeSite) -> None:
    """
    A domain added to those of local parts makes them known there.
    """
    site.alias("jobs", alias_incoming_local=True)
    assert not site.host.knows("jobs@other.test")
    before = site.odoo.set_parameter("mail.catchall.domain.allowed", "other.test")
    try:
        eventually(lambda: site.host.knows("jobs@other.test"), "the domain")
    finally:
        site.odoo.set_parameter("mail.catchall.domain.allowed", before)
    eventually(lambda: not site.host.knows("jobs@other.test"), "the domain to go")
