"""
Mail on its whole way: SMTP, Postfix, LMTP, the stand-in for Odoo.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from installation import FORWARDED, Installation
from mail_host import LOCAL, SENDER, compose, expect
from waiting import eventually

pytestmark = pytest.mark.postfix

INFO, SALES, SUPPORT = "info@example.test", "sales@example.test", "support@example.test"


def header(message: bytes) -> bytes:
    """
    Return the header of a message, line ends as in SMTP.
    """
    return message.replace(b"\r\n", b"\n").partition(b"\n\n")[0].replace(b"\n", b"\r\n")


def test_address_beside_a_mailbox(site: Installation) -> None:
    """
    An address of Odoo's and an ordinary mailbox of one domain each get their own copy.
    """
    mail = compose()
    queue_id = site.send(mail, [INFO, LOCAL])
    outcome = {s.recipient: (s.service, s.status) for s in site.postfix.final(queue_id)}
    assert outcome == {INFO: ("lmtp", "sent"), LOCAL: ("local", "sent")}
    assert [kept.recipient for kept in site.kept(mail)] == [INFO]
    mark = mail.message_id.encode()
    assert sum(mark in content for content in site.postfix.local_mails()) == 1


def test_content_arrives_exactly(site: Installation) -> None:
    """
    What the client sent is the end of what arrives, octet for octet.
    """
    mail = compose()
    site.send(mail, [INFO])
    assert site.arrived(mail)[0].content.endswith(mail.content)


def test_envelope_in_front(site: Installation) -> None:
    """
    Odoo gets the envelope as Return-Path and Delivered-To, before everything else.
    """
    mail = compose()
    site.send(mail, [INFO])
    lines = header(site.arrived(mail)[0].content).split(b"\r\n")
    assert [f"Return-Path: <{SENDER}>".encode(), f"Delivered-To: {INFO}".encode()] == lines[:2]


def test_extension(site: Installation) -> None:
    """
    user+extension is delivered to user.
    """
    mail = compose()
    site.send(mail, ["info+ticket-7@example.test"])
    assert [kept.recipient for kept in site.arrived(mail)] == [INFO]


def test_extension_in_quotes(site: Installation) -> None:
    """
    As well where the extension needs quotes: Postfix asks for such an address with and without.
    """
    mail = compose()
    queue_id = site.send(mail, ['"info+e x, t"@example.test'])
    assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]
    assert [kept.recipient for kept in site.kept(mail)] == [INFO]


def test_mixed_case_by_smtp(site: Installation) -> None:
    """
    An address as somebody typed it is delivered: cleanup and qmgr ask for it unfolded.
    """
    mail = compose()
    queue_id = site.send(mail, ["INFO@Example.TEST", "Sales+Tag@EXAMPLE.test"])
    assert [status.status for status in site.postfix.final(queue_id)] == ["sent", "sent"]
    assert [kept.recipient for kept in site.kept(mail)] == [INFO, SALES]


def test_mixed_case_by_sendmail(site: Installation) -> None:
    """
    The same for mail submitted on the machine itself, which no smtpd has folded.
    """
    mail = compose()
    text = mail.content.replace(b"\r\n", b"\n")
    site.postfix.command("sendmail", "-i", "-f", SENDER, "InFo@eXample.Test", LOCAL, stdin=text)
    assert [kept.recipient for kept in site.arrived(mail)] == [INFO]


def test_mixed_case_beyond_ascii(site: Installation) -> None:
    """
    Case is folded beyond ASCII, too.
    """
    mail = compose()
    site.send(mail, ["BÜRO@example.test"], options=("SMTPUTF8", "BODY=8BITMIME"))
    assert [kept.recipient for kept in site.arrived(mail)] == ["büro@example.test"]


def test_several_recipients(site: Installation) -> None:
    """
    One message for several recipients is one POST, with one reply for each of them.
    """
    mail = compose()
    before = site.metric("deliveries_total")
    queue_id = site.send(mail, [INFO, SALES, SUPPORT])
    statuses = site.postfix.final(queue_id)
    assert sorted(s.recipient for s in statuses if s.status == "sent") == [INFO, SALES, SUPPORT]
    assert site.metric("deliveries_total") - before == 1
    assert [kept.recipient for kept in site.kept(mail)] == [INFO, SALES, SUPPORT]


def test_different_replies(site: Installation) -> None:
    """
    One recipient refused does not keep the mail from the others.
    """
    refusal = {"code": 550, "status": "5.2.1", "text": "closed for today"}
    site.set_verdict(SALES, refusal)
    mail = compose()
    queue_id = site.send(mail, [INFO, SALES, SUPPORT])
    outcome = {s.recipient: (s.status, s.dsn) for s in site.postfix.final(queue_id)}
    sent = ("sent", "2.0.0")
    assert {INFO: sent, SALES: ("bounced", "5.2.1"), SUPPORT: sent} == outcome
    assert [kept.recipient for kept in site.kept(mail)] == [INFO, SUPPORT]


def test_alias_with_other_targets(site: Installation) -> None:
    """
    An alias that stands for others is delivered to these.
    """
    mail = compose()
    queue_id = site.send(mail, ["Team+x@example.test"])
    outcome = {(s.recipient, s.service, s.status) for s in site.postfix.final(queue_id)}
    assert outcome == {(INFO, "lmtp", "sent"), (SALES, "lmtp", "sent")}
    assert [kept.recipient for kept in site.kept(mail)] == [INFO, SALES]


def test_local_part(site: Installation) -> None:
    """
    An alias without a domain holds in the domains that Odoo names.
    """
    mail = compose()
    site.send(mail, ["Jobs@example.test"])
    assert [kept.recipient for kept in site.arrived(mail)] == ["jobs@example.test"]


def test_bcc(site: Installation) -> None:
    """
    A recipient that no field of the message names gets it.
    """
    mail = compose(b"Subject: quietly", b"To: undisclosed-recipients:;")
    site.send(mail, [SUPPORT])
    kept = site.arrived(mail)
    assert [copy.recipient for copy in kept] == [SUPPORT]
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in kept[0].content


def test_latin1_body(site: Installation) -> None:
    """
    An 8-bit body in another charset than UTF-8 arrives octet for octet.
    """
    mail = compose(
        b"Subject: Latin-1",
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=iso-8859-1",
        b"Content-Transfer-Encoding: 8bit",
        body="Grüße, à bientôt\r\n".encode("latin-1"),
    )
    site.send(mail, [INFO])
    assert site.arrived(mail)[0].content.endswith(mail.content)


def test_header_that_is_not_utf8(site: Installation) -> None:
    """
    Raw octets in header fields arrive as they are.
    """
    mail = compose(b"Subject: Gr\xfc\xdfe \xff\xfe", b"To: B\xfcro <info@example.test>")
    site.send(mail, [INFO])
    assert site.arrived(mail)[0].content.endswith(mail.content)


def test_smtputf8(site: Installation) -> None:
    """
    Internationalised mail passes: sender, recipient and header in UTF-8.
    """
    mail = compose("Subject: Grüße".encode(), "To: Büro <büro@example.test>".encode())
    options = ("SMTPUTF8", "BODY=8BITMIME")
    site.send(mail, ["büro@example.test"], sender="jürgen@client.test", options=options)
    kept = site.arrived(mail)
    assert [copy.recipient for copy in kept] == ["büro@example.test"]
    assert kept[0].content.startswith("Return-Path: <jürgen@client.test>\r\n".encode())
    assert kept[0].content.endswith(mail.content)


def test_dots(site: Installation) -> None:
    """
    Lines that begin with dots arrive as they were written.
    """
    mail = compose(body=b".\r\n..\r\n.dot\r\n\r\n...three\r\nend.\r\n.\r\n")
    site.send(mail, [INFO])
    assert site.arrived(mail)[0].content.endswith(mail.content)


def test_nul_octets(site: Installation) -> None:
    """
    NUL octets in a body arrive.
    """
    mail = compose(body=b"a\0b\r\n\0\r\n")
    site.send(mail, [INFO])
    assert site.arrived(mail)[0].content.endswith(mail.content)


def test_20_megabytes(site: Installation) -> None:
    """
    A message of 20 MB arrives whole.
    """
    line = b"0123456789abcdef" * 4 + b".tail\r\n"
    mail = compose(body=line * (20_000_000 // len(line)))
    site.send(mail, [INFO])
    # Not by ==, whose failure would print all of it.
    assert site.arrived(mail)[0].content.endswith(mail.content)


def test_empty_body(site: Installation) -> None:
    """
    A message that is a header only arrives.
    """
    mail = compose(body=b"")
    site.send(mail, [INFO])
    assert site.arrived(mail)[0].content.endswith(mail.content)


def test_null_sender(site: Installation) -> None:
    """
    A bounce, which has no sender, is delivered with the null path.
    """
    mail = compose()
    site.send(mail, [INFO], sender="")
    lines = header(site.arrived(mail)[0].content).split(b"\r\n")
    assert lines[0] == b"Return-Path: <>"


def test_same_mail_twice_in_one_session(site: Installation) -> None:
    """
    Two transactions of one session are two deliveries.
    """
    first, second = compose(), compose()
    with site.session() as session:
        for mail in (first, second):
            expect(250, session.mail(SENDER))
            expect(250, session.rcpt(INFO))
            expect(250, session.data(mail.content))
    assert len(site.arrived(first)) == 1
    assert len(site.arrived(second)) == 1


def test_many_recipients(site: Installation) -> None:
    """
    More recipients than Postfix puts into one LMTP transaction all get their copy.
    """
    mail = compose()
    names = [f"jobs+{number}@example.test" for number in range(60)]
    queue_id = site.send(mail, [*names, INFO])
    statuses = site.postfix.final(queue_id)
    assert sorted([*names, INFO]) == sorted(s.recipient for s in statuses if s.status == "sent")
    recipients = [kept.recipient for kept in site.kept(mail)]
    assert recipients == [INFO, "jobs@example.test"]


@pytest.mark.parametrize(
    "path", ['<"info"@example.test>', "<info>", "<@relay.test:Info@example.test>"]
)
def test_spellings(site: Installation, path: str) -> None:
    """
    The same mailbox written in another way is the same mailbox.
    """
    mail = compose()
    with site.session() as session:
        expect(250, session.mail(SENDER))
        expect(250, session.docmd("RCPT", f"TO:{path}"))
        expect(250, session.data(mail.content))
    assert [kept.recipient for kept in site.arrived(mail)] == [INFO]


def test_xforward(site: Installation) -> None:
    """
    A Postfix that forwards what it knows of the client is understood.
    """
    mail = compose()
    queue_id = site.send(mail, [FORWARDED])
    (status,) = site.postfix.final(queue_id)
    assert (status.service, status.status) == ("odoo-forward", "sent")
    assert [kept.recipient for kept in site.kept(mail)] == [FORWARDED]
    assert queue_id in site.daemon.output()


def test_probe(site: Installation) -> None:
    """
    Postfix's address verification, which sends no message, gets its answer.
    """
    site.postfix.command("sendmail", "-bv", "-f", SENDER, "support+probe@example.test")
    line = eventually(lambda: site.postfix.log_line("to=<support+probe@example.test>"), "the probe")
    assert "status=deliverable" in line


def test_burst(site: Installation) -> None:
    """
    Many mails at once all arrive, once each.
    """
    mails = [compose() for _ in range(100)]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda mail: site.send(mail, [INFO, SALES]), mails))
    eventually(lambda: not site.postfix.queued(), "the queue to be empty")
    contents = b"".join(path.read_bytes() for path in site.mail.glob("new/*"))
    assert {contents.count(f"Message-ID: {mail.message_id}".encode()) for mail in mails} == {2}


def test_loop(site: Installation) -> None:
    """
    A message that was here before for the same recipient is a loop.
    """
    mail = compose(b"Delivered-To: info@example.test", b"Subject: again")
    queue_id = site.send(mail, [INFO])
    outcome = [(s.service, s.dsn, s.status) for s in site.postfix.final(queue_id)]
    assert outcome == [("lmtp", "5.4.6", "bounced")]
    assert site.kept(mail) == []
