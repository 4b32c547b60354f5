"""
The wirings that change no address, as documented: what is delivered, and what goes on without the
daemon.
"""

from collections.abc import Iterator

import pytest
from installation import Installation
from mail_host import LOCAL, SENDER, compose, expect
from other_odoo import other_odoo
from postfix import DOMAIN
from waiting import eventually
from wiring import (
    JOHN,
    NOBODY,
    OTHER,
    OUTBOUND,
    PLAIN,
    others_go_on,
    outcome,
    rcpt,
    submit,
    wired,
)

pytestmark = pytest.mark.postfix

OWN = "A domain of Odoo's own"

INFO, LEADS = f"info@{DOMAIN}", f"leads@crm.{DOMAIN}"


@pytest.fixture
def plain(site: Installation) -> Iterator[Installation]:
    """
    An installation that is wired in the plain way.
    """
    with wired(site, PLAIN):
        yield site


@pytest.fixture
def own(site: Installation) -> Iterator[Installation]:
    """
    One where Odoo has a domain to itself, with a declared address of it.
    """
    with wired(site, OWN):
        site.add_alias(LEADS)
        yield site


def test_plain(plain: Installation) -> None:
    """
    Odoo's addresses, mailboxes, another domain and outbound mail each go their way.
    """
    assert rcpt(plain, NOBODY) == {NOBODY: 550}
    queue_id = plain.send(compose(), [INFO, LOCAL, OTHER, OUTBOUND])
    assert outcome(plain, queue_id) == {
        INFO: ("lmtp", "sent"),
        LOCAL: ("local", "sent"),
        OTHER: ("local", "sent"),
        OUTBOUND: ("discard", "sent"),
    }


def test_plain_while_down_by_smtp(plain: Installation) -> None:
    """
    Every recipient is put off, none refused, in and out.
    """
    plain.daemon.stop()
    recipients = (INFO, NOBODY, LOCAL, OTHER, OUTBOUND)
    assert rcpt(plain, *recipients) == dict.fromkeys(recipients, 451)


def test_plain_while_down_by_sendmail(plain: Installation) -> None:
    """
    What is submitted on the machine waits where sendmail(1) put it.
    """
    plain.daemon.stop()
    mail = compose()
    submit(plain, mail, OUTBOUND)
    problem = f"virtual_alias_maps map lookup problem for {OUTBOUND}"
    eventually(lambda: plain.postfix.log_line(problem), "cleanup to fail")
    assert list(plain.postfix.queued().values()) == ["maildrop"]
    plain.start_daemon()
    eventually(lambda: not plain.postfix.queued(), "the mail to go", plain.postfix.flush)
    assert "status=sent" in plain.postfix.log_line(f"to=<{OUTBOUND}>")


def test_plain_while_down_in_the_queue(plain: Installation) -> None:
    """
    Mail already taken is deferred, whoever it is for.
    """
    before = plain.metric("socketmap_lookups_total", map="aliases")
    with plain.session() as session:
        expect(250, session.mail(SENDER))
        expect(250, session.rcpt(OTHER))
        eventually(
            lambda: plain.metric("socketmap_lookups_total", map="aliases") >= before + 2,
            "the lookup of cleanup, which takes place beside the session",
        )
        plain.daemon.stop()
        _, text = expect(250, session.data(compose().content))
    queue_id = text.decode().split()[-1]
    assert plain.postfix.deferred(queue_id).text == "address resolver failure"
    plain.start_daemon()
    plain.postfix.reload()  # qmgr remembers the failure for 30 s
    assert outcome(plain, queue_id) == {OTHER: ("local", "sent")}


def test_own_domain(own: Installation) -> None:
    """
    The same, where the domain tells what is Odoo's.
    """
    unknown = f"nobody@crm.{DOMAIN}"
    assert rcpt(own, unknown, NOBODY) == {unknown: 550, NOBODY: 550}
    mail, extended = compose(), LEADS.replace("leads", "Leads+x")
    queue_id = own.send(mail, [extended, LOCAL, OTHER, OUTBOUND])
    assert outcome(own, queue_id) == {
        extended: ("lmtp", "sent"),
        LOCAL: ("local", "sent"),
        OTHER: ("local", "sent"),
        OUTBOUND: ("discard", "sent"),
    }
    assert [kept.recipient for kept in own.kept(mail)] == [LEADS]


def test_own_domain_asks_for_nothing_else(own: Installation) -> None:
    """
    The daemon hears of addresses of that domain alone.
    """
    asked = own.metric("socketmap_lookups_total")
    outcome(own, own.send(compose(), [LOCAL, OTHER, OUTBOUND], sender=LEADS))
    assert own.metric("socketmap_lookups_total") == asked


def test_own_domain_alias_with_other_targets(own: Installation) -> None:
    """
    An alias that stands for others, in Odoo and elsewhere, is delivered to these.
    """
    address = f"all@crm.{DOMAIN}"
    line = f"{address} {LEADS}, {JOHN}, {OUTBOUND}"
    with other_odoo(own, line, LEADS, transport=[LEADS]) as (odoo, _):
        odoo.gate.set()
        found = outcome(own, own.send(compose(), [address]))
    assert found == {
        LEADS: ("lmtp", "sent"),
        JOHN: ("local", "sent"),
        OUTBOUND: ("discard", "sent"),
    }
    assert [post["X-Mail-Recipients"] for post in odoo.posts] == [LEADS]


def test_own_domain_alias_removed_while_mail_waits(own: Installation) -> None:
    """
    Mail for an alias that went away gets Odoo's verdict.
    """
    own.set_verdict(LEADS, {"code": 451, "status": "4.3.2", "text": "not now"})
    queue_id = own.send(compose(), [LEADS])
    own.postfix.deferred(queue_id)
    del own.aliases[LEADS]
    del own.verdicts[LEADS]
    own.declare()
    (status,) = own.postfix.final(queue_id)
    assert (status.service, status.status, status.dsn) == ("lmtp", "bounced", "5.1.1")


def test_own_domain_while_down(own: Installation) -> None:
    """
    Only that domain waits; mail of its senders goes out.
    """
    unknown = f"nobody@crm.{DOMAIN}"
    own.daemon.stop()
    replies = rcpt(own, LEADS, unknown, LOCAL, NOBODY, OTHER, OUTBOUND, sender=LEADS)
    assert replies == {
        LEADS: 451,
        unknown: 451,
        LOCAL: 250,
        NOBODY: 550,
        OTHER: 250,
        OUTBOUND: 250,
    }
    others_go_on(own, sender=LEADS)
