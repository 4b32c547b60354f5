"""
A domain that Odoo shares, as documented: what is delivered, and what goes on without the daemon.
"""

from collections.abc import Iterator

import pytest
from installation import Installation
from mail_host import LOCAL, SENDER, compose
from other_odoo import other_odoo
from postfix import DOMAIN
from waiting import eventually
from wiring import (
    JOHN,
    NOBODY,
    OTHER,
    OTHER_DOMAIN,
    OUTBOUND,
    PLAIN,
    arrives,
    checks,
    others_go_on,
    outcome,
    rcpt,
    submit,
    wired,
)

pytestmark = pytest.mark.postfix

SHARED, CHANGING = "A domain that Odoo shares", "Changing over"

INFO, SALES, TEAM = f"info@{DOMAIN}", f"sales@{DOMAIN}", f"team@{DOMAIN}"
PSEUDO = ".odoo.invalid"


@pytest.fixture
def shared(site: Installation) -> Iterator[Installation]:
    """
    One where Odoo shares the domain.
    """
    with wired(site, SHARED):
        yield site


def test_each_its_way(shared: Installation) -> None:
    """
    The same, where Odoo's addresses and mailboxes are of one domain.
    """
    assert rcpt(shared, NOBODY) == {NOBODY: 550}
    mail = compose()
    queue_id = shared.send(mail, [INFO, LOCAL, JOHN, SALES, OTHER, OUTBOUND])
    assert outcome(shared, queue_id) == {
        INFO + PSEUDO: ("lmtp", "sent"),
        SALES + PSEUDO: ("lmtp", "sent"),
        LOCAL: ("local", "sent"),
        JOHN: ("local", "sent"),
        OTHER: ("local", "sent"),
        OUTBOUND: ("discard", "sent"),
    }
    assert [kept.recipient for kept in shared.kept(mail)] == [INFO, SALES]


def test_checks(shared: Installation) -> None:
    """
    The tables answer what the page says they have to.
    """
    expected = [answer for _, _, answer in checks()]
    results = [
        shared.postfix.command("postmap", "-q", key, f"regexp:{shared.postfix.config / table}")
        for key, table, _ in checks()
    ]
    assert len(expected) == 3
    assert [result.stdout.decode().strip() for result in results] == expected


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        ("INFO@Example.TEST", INFO),
        ("Sales+Tag@EXAMPLE.test", SALES),
        ("BÜRO+x@example.test", f"büro@{DOMAIN}"),
        ("Jobs+a+b@example.test", f"jobs@{DOMAIN}"),
    ],
)
def test_spellings(shared: Installation, asked: str, address: str) -> None:
    """
    Case and extension are as the client typed them until the daemon sees them.
    """
    mail = compose()
    queue_id = shared.send(mail, [asked], options=("SMTPUTF8", "BODY=8BITMIME"))
    assert outcome(shared, queue_id) == {asked + PSEUDO: ("lmtp", "sent")}
    assert [kept.recipient for kept in shared.kept(mail)] == [address]


def test_by_sendmail(shared: Installation) -> None:
    """
    The same for mail submitted on the machine, which no smtpd has folded.
    """
    mail = compose()
    submit(shared, mail, "InFo+x@eXample.Test", LOCAL)
    assert [kept.recipient for kept in shared.arrived(mail)] == [INFO]
    arrives(shared, mail)


def test_several_recipients(shared: Installation) -> None:
    """
    One message for several recipients is one POST still.
    """
    before = shared.metric("deliveries_total")
    mail = compose()
    outcome(shared, shared.send(mail, [INFO, SALES, TEAM, f"support@{DOMAIN}"]))
    assert shared.metric("deliveries_total") - before == 1
    assert [kept.recipient for kept in shared.kept(mail)] == [INFO, SALES, f"support@{DOMAIN}"]


def test_alias_with_other_targets(shared: Installation) -> None:
    """
    An alias that stands for others, in Odoo and elsewhere, is delivered to these.
    """
    expected = {
        (INFO,): {INFO + PSEUDO: "lmtp"},
        (INFO, SALES): {INFO + PSEUDO: "lmtp", SALES + PSEUDO: "lmtp"},
        (TEAM, INFO): {INFO + PSEUDO: "lmtp", SALES + PSEUDO: "lmtp"},
        (JOHN,): {JOHN: "local"},
        (LOCAL,): {LOCAL: "local"},
        (OUTBOUND,): {OUTBOUND: "discard"},
        (OTHER, INFO, JOHN): {OTHER: "local", INFO + PSEUDO: "lmtp", JOHN: "local"},
    }
    names = {targets: f"all{number}" for number, targets in enumerate(expected)}
    lines = [f"{name}@{DOMAIN} {' '.join(targets)}" for targets, name in names.items()]
    with other_odoo(shared, f"{TEAM} {INFO} {SALES}", *lines, transport=[INFO, SALES]) as (odoo, _):
        odoo.gate.set()
        queue_ids = {
            targets: shared.send(compose(), [f"{name.upper()}+x@{DOMAIN}"])
            for targets, name in names.items()
        }
        found = {targets: outcome(shared, queue_id) for targets, queue_id in queue_ids.items()}
    assert found == {
        targets: {recipient: (service, "sent") for recipient, service in services.items()}
        for targets, services in expected.items()
    }


@pytest.mark.parametrize("place", [0, 1, 2])
def test_alias_among_its_targets(shared: Installation, place: int) -> None:
    """
    An alias that stands for itself and for mailboxes gets to Odoo, and to these.
    """
    address = f"all@{DOMAIN}"
    targets = [JOHN, OUTBOUND]
    targets.insert(place, address)
    line = f"{address} {' '.join(targets)}"
    spellings = (address, f"All+x@{DOMAIN}", f"ALL@{DOMAIN.upper()}")
    with other_odoo(shared, line, transport=[address]) as (odoo, _):
        odoo.gate.set()
        queue_ids = [shared.send(compose(), [asked]) for asked in spellings]
        found = [sorted(outcome(shared, queue_id).values()) for queue_id in queue_ids]
    assert found == [[("discard", "sent"), ("lmtp", "sent"), ("local", "sent")]] * 3
    assert [post["X-Mail-Recipients"] for post in odoo.posts] == [address] * 3


def test_address_becomes_a_mailbox(shared: Installation) -> None:
    """
    An address that Odoo gave up is an ordinary mailbox at once.
    """
    shared.add_alias(JOHN)
    queue_id = shared.send(compose(), [JOHN])
    assert outcome(shared, queue_id) == {JOHN + PSEUDO: ("lmtp", "sent")}
    del shared.aliases[JOHN]
    shared.declare()
    queue_id = shared.send(compose(), [JOHN])
    assert outcome(shared, queue_id) == {JOHN: ("local", "sent")}


def test_content(site: Installation) -> None:
    """
    Odoo gets the same octets as with the plain wiring, addresses and odd things in them too.
    """
    mail = compose(
        b"Subject: Gr\xfc\xdfe \xff\xfe",
        b'To: B\xfcro <Info@Example.test>,\r\n\t"a, b" <sales@example.test> (x;),,undisclosed:;',
        b"Cc: " + b", ".join(b"user%d@example.test" % number for number in range(60)),
        b"X-Long: " + b"x" * 3000,
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/mixed; boundary=x",
        body=b"preamble\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n"
        b"From: info@example.test\r\nTo :odd\r\n\r\n.\r\na\0b \xff\r\n--x--\r\n",
    )
    start = b"From: Customer"
    for heading in (PLAIN, SHARED):
        with wired(site, heading):
            site.postfix.final(site.send(mail, [INFO]))
    first, second = (kept.content[kept.content.index(start) :] for kept in site.kept(mail))
    assert first == second


def test_refused(shared: Installation) -> None:
    """
    A sender that Odoo does not take is told the address that he wrote to, and Odoo's words.
    """
    text = "only partners may write to this address"
    shared.set_verdict(SALES, {"code": 550, "status": "5.7.1", "text": text})
    mail = compose()
    queue_id = shared.send(mail, [SALES], sender=LOCAL)
    assert outcome(shared, queue_id) == {SALES + PSEUDO: ("lmtp", "bounced")}
    assert f"orig_to=<{SALES}>" in shared.postfix.log_line(f"{queue_id}: to=<")
    report = b" ".join(arrives(shared, mail).split())
    assert text.encode() in report
    assert f"<{SALES}{PSEUDO}> (expanded from <{SALES}>)".encode() in report
    assert f"Original-Recipient: rfc822;{SALES} ".encode() in report


def test_alias_removed_while_mail_waits(shared: Installation) -> None:
    """
    Mail for an alias that went away gets Odoo's verdict.
    """
    address = f"campaign@{DOMAIN}"
    shared.add_alias(address)
    shared.set_verdict(address, {"code": 451, "status": "4.3.2", "text": "not now"})
    queue_id = shared.send(compose(), [address])
    shared.postfix.deferred(queue_id)
    del shared.aliases[address]
    del shared.verdicts[address]
    shared.declare()
    (status,) = shared.postfix.final(queue_id)
    assert (status.service, status.status, status.dsn) == ("lmtp", "bounced", "5.1.1")


@pytest.mark.parametrize(
    "changes",
    [
        {"virtual_alias_domains": DOMAIN},
        {"virtual_mailbox_domains": DOMAIN, "virtual_mailbox_maps": f"inline:{{{JOHN}=yes}}"},
        {"relay_domains": DOMAIN, "relay_recipient_maps": f"inline:{{{JOHN}=yes}}"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_kind_of_domain(site: Installation, changes: dict[str, str]) -> None:
    """
    It works whatever the domain is to Postfix.
    """
    with wired(site, SHARED, mydestination=OTHER_DOMAIN, **changes):
        assert rcpt(site, NOBODY) == {NOBODY: 550}
        queue_id = site.send(compose(), [INFO])
        assert outcome(site, queue_id) == {INFO + PSEUDO: ("lmtp", "sent")}


@pytest.mark.parametrize("local_part", ['"in fo"', '"in,fo"', '"info."'])
def test_quoted(shared: Installation, local_part: str) -> None:
    """
    What Odoo can have no alias of is refused at RCPT, not taken and bounced.
    """
    address = f"{local_part}@{DOMAIN}"
    assert rcpt(shared, address) == {address: 550}


def test_opens_no_relay(site: Installation) -> None:
    """
    A stranger cannot use the suffix.
    """
    with wired(site, SHARED, mynetworks="192.0.2.0/24"):
        replies = rcpt(site, INFO, INFO + PSEUDO, OUTBOUND)
    assert replies == {INFO: 250, INFO + PSEUDO: 454, OUTBOUND: 454}


def test_before_the_first_list(shared: Installation) -> None:
    """
    A daemon that never had a list puts its domain off, and nothing else.
    """
    shared.sandbox.stop()
    shared.daemon.stop()
    config = shared.folder / "shared-new.yaml"
    config.write_text(shared.settings(cache=str(shared.folder / "shared-new")))
    daemon = shared.daemon_with(config)
    daemon.start(notify=True)
    try:
        replies = rcpt(shared, INFO, NOBODY, OTHER)
    finally:
        daemon.stop()
    assert replies == {INFO: 451, NOBODY: 451, OTHER: 250}


def test_while_down(shared: Installation) -> None:
    """
    Only that domain waits, but for the mailboxes that are listed; mail of its senders goes out.
    """
    shared.daemon.stop()
    extended = LOCAL.replace("@", "+x@")
    replies = rcpt(shared, INFO, NOBODY, JOHN, LOCAL, extended, OTHER, OUTBOUND, sender=INFO)
    assert replies == {
        INFO: 451,
        NOBODY: 451,
        JOHN: 451,
        LOCAL: 250,
        extended: 250,
        OTHER: 250,
        OUTBOUND: 250,
    }
    others_go_on(shared, sender=INFO)


def test_while_down_in_the_queue(shared: Installation) -> None:
    """
    Mail for Odoo that was taken waits for the daemon, other mail beside it does not.
    """
    shared.sandbox.stop()
    mail = compose()
    queue_id = shared.send(mail, [INFO])
    shared.postfix.deferred(queue_id)
    shared.daemon.stop()
    others_go_on(shared, sender=SENDER)
    assert queue_id in shared.postfix.queued()
    shared.start_sandbox()
    shared.start_daemon()
    assert outcome(shared, queue_id) == {INFO + PSEUDO: ("lmtp", "sent")}
    assert [kept.recipient for kept in shared.kept(mail)] == [INFO]


@pytest.mark.parametrize(
    ("before", "after"),
    [((PLAIN,), (SHARED, CHANGING)), ((SHARED,), (SHARED, PLAIN, CHANGING))],
    ids=["to it", "from it"],
)
def test_changing_over(site: Installation, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """
    Mail that was taken before a change of the wiring gets to Odoo after it.
    """
    site.sandbox.stop()
    mail, later = compose(), compose()
    with wired(site, *before):
        queue_id = site.send(mail, [INFO, LOCAL])
        site.postfix.deferred(queue_id)
        with wired(site, *after):
            site.start_sandbox()
            assert {status for _, status in outcome(site, queue_id).values()} == {"sent"}
            site.send(later, [INFO])
            assert [kept.recipient for kept in site.arrived(later)] == [INFO]
    assert [kept.recipient for kept in site.kept(mail)] == [INFO]


def test_changing_over_at_once(site: Installation) -> None:
    """
    Mail that waits can be made to go the new way; the old one is not needed any more then.
    """
    address = f"requeued@{DOMAIN}"
    site.add_alias(address)
    site.sandbox.stop()
    mail = compose()
    with wired(site, PLAIN):
        site.postfix.deferred(site.send(mail, [address]))
        with wired(site, SHARED, CHANGING):
            line = eventually(
                lambda: site.postfix.log_line(f"to=<{address}{PSEUDO}>"),
                "a try on the new way",
                site.postfix.requeue,
            )
            assert "status=deferred" in line
            with wired(site, SHARED):
                site.start_sandbox()
                assert [kept.recipient for kept in site.arrived(mail)] == [address]
