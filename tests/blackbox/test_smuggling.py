"""
SMTP smuggling against the real thing: one mail in, one mail out, whatever stands round its dots.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from installation import Installation
from mail_host import SENDER, compose
from programs import START
from waiting import eventually

pytestmark = pytest.mark.postfix

INFO, SALES = "info@example.test", "sales@example.test"
# What an attacker wants to be taken for a transaction of its own.
INNER = b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<sales@example.test>\r\nDATA\r\ninner\r\n"

DOTS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]


class Lmtp:
    """
    A client that sends what a test wants, as it stands.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._replies = connection.makefile("rb")

    def send(self, octets: bytes) -> None:
        """
        Send octets; no reply is awaited.
        """
        self._connection.sendall(octets)

    def replies(self, count: int) -> list[str]:
        """
        Return the codes of so many replies, lines of the same reply as one.
        """
        lines: list[bytes] = []
        while len(lines) < count:
            line = self._replies.readline()
            assert line, f"the connection was closed after {lines}"
            if line[3:4] == b" ":
                lines.append(line)
        return [line[:3].decode() for line in lines]


@contextmanager
def lmtp(site: Installation) -> Iterator[Lmtp]:
    """
    Yield a client of the daemon, greeted, past Postfix.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START)
        connection.connect(str(site.postfix.queue / "private" / "odoo-lmtp"))
        client = Lmtp(connection)
        client.send(b"LHLO client.test\r\n")
        assert client.replies(2) == ["220", "250"]
        yield client
        client.send(b"QUIT\r\n")
        assert client.replies(1) == ["221"]


def begin(recipient: str) -> bytes:
    """
    Return the commands that come before a message.
    """
    return f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()


@pytest.mark.parametrize("dots", DOTS, ids=repr)
def test_lmtp(site: Installation, dots: bytes) -> None:
    """
    A client of the daemon that stuffs no dots gets no second message in.
    """
    mail = compose(body=b"text" + dots + INNER)
    with lmtp(site) as client:
        client.send(begin(INFO) + mail.content + b".\r\n")
        assert client.replies(4) == ["250", "250", "354", "250"]
    (kept,) = site.kept(mail)
    assert kept.recipient == INFO
    # The one octet that RFC 5321 4.5.2 takes away is the dot that begins a line.
    assert kept.content.endswith(b"text" + dots.replace(b"\r\n.", b"\r\n") + INNER)
    assert len(list(site.mail.glob("new/*"))) == 1


def test_lmtp_lets_in_what_ends_by_the_standard(site: Installation) -> None:
    """
    The same behind CRLF.CRLF is a second message; else the test above proves nothing.
    """
    mail = compose(body=b"text\r\n")
    with lmtp(site) as client:
        client.send(begin(INFO) + mail.content + b".\r\n" + INNER + b".\r\n")
        assert client.replies(8) == ["250", "250", "354", "250"] * 2
    assert [kept.recipient for kept in site.kept(mail)] == [INFO]
    assert len(list(site.mail.glob("new/*"))) == 2


def test_postfix(site: Installation) -> None:
    """
    Of mails that were submitted with such dots in them Postfix delivers each as one.
    """
    mails = [compose(body=b"text" + dots + INNER) for dots in DOTS]
    for mail in mails:
        site.postfix.command("sendmail", "-i", "-f", SENDER, INFO, stdin=mail.content)
    eventually(lambda: all(map(site.kept, mails)), "all mails", site.postfix.flush)
    eventually(lambda: not site.postfix.queued(), "the queue to be empty")
    for mail in mails:
        (kept,) = site.kept(mail)
        assert kept.recipient == INFO
        assert kept.content.endswith(INNER), kept.content
    assert len(list(site.mail.glob("new/*"))) == len(mails)
