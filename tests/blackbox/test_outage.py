"""
Odoo or the daemon is away: mail waits, and nothing is lost or doubled.
"""

import smtplib

import pytest
from held_sockets import held_sockets
from installation import Installation
from mail_host import LOCAL, SENDER, compose, expect
from waiting import eventually

pytestmark = pytest.mark.postfix

INFO, SALES = "info@example.test", "sales@example.test"


def test_odoo_down(site: Installation) -> None:
    """
    While Odoo is down mail is accepted and queued; when it is back the mail arrives once.
    """
    site.sandbox.stop()
    mail = compose()
    queue_id = site.send(mail, [INFO, SALES])
    status = site.postfix.deferred(queue_id)
    assert (status.service, status.dsn) == ("lmtp", "4.4.1")
    site.start_sandbox()
    statuses = site.postfix.final(queue_id)
    assert sorted((s.recipient, s.status) for s in statuses) == [(INFO, "sent"), (SALES, "sent")]
    assert [kept.recipient for kept in site.kept(mail)] == [INFO, SALES]


def test_lookups_while_odoo_is_down(site: Installation) -> None:
    """
    Known and unknown addresses are told apart without Odoo, after a restart of the daemon too.
    """
    site.sandbox.stop()
    site.daemon.stop()
    site.start_daemon()
    with site.session() as session:
        expect(250, session.mail(SENDER))
        expect(250, session.rcpt(INFO))
        expect(550, session.rcpt("nobody@example.test"))


def test_no_list_yet(site: Installation) -> None:
    """
    A daemon that never had a list puts every recipient off, and refuses none.
    """
    site.sandbox.stop()
    site.daemon.stop()
    config = site.folder / "new.yaml"
    config.write_text(site.settings(cache=str(site.folder / "new")))
    daemon = site.daemon_with(config)
    daemon.start(notify=True)
    try:
        with site.session() as session:
            expect(250, session.mail("at-first@client.test"))
            replies = [session.rcpt(name) for name in (INFO, LOCAL, "nobody@example.test")]
    finally:
        daemon.stop()
    assert [code for code, _ in replies] == [451, 451, 451]


def test_daemon_down_at_rcpt(site: Installation) -> None:
    """
    Without the daemon every recipient is put off, none refused.
    """
    site.daemon.stop()
    with site.session() as session:
        expect(250, session.mail("while-down@client.test"))
        replies = [session.rcpt(name) for name in (INFO, LOCAL, "nobody@example.test")]
    assert [code for code, _ in replies] == [451, 451, 451]


def test_daemon_down_with_mail_queued(site: Installation) -> None:
    """
    Mail already queued waits for the daemon, and arrives when it is back.
    """
    site.sandbox.stop()
    mail = compose()
    queue_id = site.send(mail, [INFO])
    site.postfix.deferred(queue_id)
    site.daemon.stop()
    site.start_sandbox()
    tries = len(site.postfix.statuses(queue_id))
    site.postfix.flush()
    site.postfix.attempted(queue_id, tries + 1)
    assert {"deferred"} == {status.status for status in site.postfix.statuses(queue_id)}
    site.start_daemon()
    assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]
    assert [kept.recipient for kept in site.kept(mail)] == [INFO]


def test_daemon_restarted_within_a_session(site: Installation) -> None:
    """
    A restart between two recipients of one SMTP session passes unnoticed.
    """
    mail = compose()
    with site.session() as session:
        begin(site, session)
        assert site.daemon.stop() == 0
        site.start_daemon()
        expect(250, session.rcpt(SALES))
        expect(550, session.rcpt("nobody@example.test"))
        expect(250, session.data(mail.content))
    assert [kept.recipient for kept in site.arrived(mail, 2)] == [INFO, SALES]


def test_daemon_killed_within_a_session(site: Installation) -> None:
    """
    The same after a crash, which leaves the sockets behind.
    """
    mail = compose()
    with site.session() as session:
        begin(site, session)
        site.daemon.kill()
        site.start_daemon()
        expect(250, session.rcpt(SALES))
        expect(550, session.rcpt("nobody@example.test"))
        expect(250, session.data(mail.content))
    assert [kept.recipient for kept in site.arrived(mail, 2)] == [INFO, SALES]


def test_socket_activation(site: Installation) -> None:
    """
    With sockets that the supervisor holds, a recipient waits for the daemon to come back.
    """
    mail = compose()
    with held_sockets(site) as daemon, site.session() as session:
        daemon.start(notify=True)
        begin(site, session)
        assert daemon.stop() == 0
        session.putcmd("RCPT", f"TO:<{SALES}>")
        daemon.start(notify=True)
        expect(250, session.getreply())
        expect(250, session.data(mail.content))
        assert [kept.recipient for kept in site.arrived(mail, 2)] == [INFO, SALES]


def test_held_sockets_stay(site: Installation) -> None:
    """
    Sockets that the supervisor holds are as it made them, while the daemon runs and after it.
    """
    path = site.postfix.queue / "private" / "odoo-map"
    with held_sockets(site) as daemon:
        before = path.stat()
        daemon.start(notify=True)
        during = path.stat()
        daemon.stop()
        after = path.stat()
    assert (during.st_mode, during.st_ino) == (before.st_mode, before.st_ino)
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def begin(site: Installation, session: smtplib.SMTP) -> None:
    """
    Name a sender and a recipient; returns when both smtpd and cleanup have asked for the latter.
    """
    before = site.metric("socketmap_lookups_total", map="aliases")
    # A sender of its own: smtpd remembers a failed lookup for this sender and recipient.
    expect(250, session.mail("steady@client.test"))
    expect(250, session.rcpt(INFO))
    eventually(
        lambda: site.metric("socketmap_lookups_total", map="aliases") >= before + 2,
        "the lookup of cleanup, which takes place beside the session",
    )


def test_the_return_of_odoo_is_noticed_without_mail(site: Installation) -> None:
    """
    The first mail finds Odoo down, those after it are answered at once; nobody has to send one for
    it to be noticed that Odoo is back.
    """
    site.sandbox.stop()
    for _ in range(2):
        site.postfix.deferred(site.send(compose(), [INFO]))
    assert site.metric("odoo_up") == 0
    site.postfix.command("postsuper", "-d", "ALL")
    calls = site.metric("delivery_seconds_count")
    site.start_sandbox()
    eventually(lambda: site.metric("odoo_up") == 1, "Odoo to be noticed")
    assert calls == site.metric("delivery_seconds_count")
