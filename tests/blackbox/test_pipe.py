"""
``odoo-mailer pipe`` as a pipe(8) transport.
"""

import pytest
from installation import PIPED, Installation
from mail_host import compose

pytestmark = pytest.mark.postfix


@pytest.fixture
def piping(site: Installation) -> Installation:
    """
    An installation whose program the unprivileged user of pipe(8) can start.
    """
    if not site.can_pipe:
        pytest.skip("user nobody can start no interpreter that has what the program needs")
    return site


def test_pipe_delivers(piping: Installation) -> None:
    """
    The mail is Odoo's when the command has ended.
    """
    mail = compose(b"Subject: Gr\xfc\xdfe", body=b".dot\r\n\xff\r\n")
    queue_id = piping.send(mail, [PIPED])
    (status,) = piping.postfix.final(queue_id)
    assert (status.service, status.status) == ("pipe", "sent")
    assert [kept.recipient for kept in piping.kept(mail)] == [PIPED]


def test_pipe_delivers_exactly(piping: Installation) -> None:
    """
    The octets of the mail stay, its line ends apart, which pipe(8) makes LF.
    """
    mail = compose(b"Subject: Gr\xfc\xdfe", body=b".dot\r\n..\r\n\xff\0\r\n")
    piping.send(mail, [PIPED])
    content = piping.arrived(mail)[0].content.replace(b"\r\n", b"\n")
    assert content.endswith(mail.content.replace(b"\r\n", b"\n"))


def test_pipe_null_sender(piping: Installation) -> None:
    """
    A bounce passes, too.
    """
    mail = compose()
    queue_id = piping.send(mail, [PIPED], sender="")
    assert [status.status for status in piping.postfix.final(queue_id)] == ["sent"]
    assert len(piping.kept(mail)) == 1


def test_pipe_while_odoo_is_down(piping: Installation) -> None:
    """
    The mail is deferred, not bounced, and arrives once when Odoo is back.
    """
    piping.sandbox.stop()
    mail = compose()
    queue_id = piping.send(mail, [PIPED])
    status = piping.postfix.deferred(queue_id)
    assert (status.service, status.dsn) == ("pipe", "4.4.1"), status.text
    piping.start_sandbox()
    assert [status.status for status in piping.postfix.final(queue_id)] == ["sent"]
    assert len(piping.kept(mail)) == 1


def test_pipe_with_a_faulty_configuration(piping: Installation) -> None:
    """
    A fault of the administrator bounces no mail.
    """
    piping.config.write_text(piping.settings(tokn="x"))
    mail = compose()
    queue_id = piping.send(mail, [PIPED])
    assert piping.postfix.deferred(queue_id).service == "pipe"
    piping.config.write_text(piping.settings())
    assert [status.status for status in piping.postfix.final(queue_id)] == ["sent"]
    assert len(piping.kept(mail)) == 1


def test_pipe_refused(piping: Installation) -> None:
    """
    A refusal of Odoo's bounces with Odoo's words, and none of ours.
    """
    text = "only partners may write to this address"
    piping.set_verdict(PIPED, {"code": 550, "status": "5.7.1", "text": text})
    queue_id = piping.send(compose(), [PIPED])
    (status,) = piping.postfix.final(queue_id)
    assert (status.service, status.status, status.dsn) == ("pipe", "bounced", "5.7.1"), status.text
    assert status.text.strip() == text
