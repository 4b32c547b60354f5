"""
A mail server on loopback that takes whatever Odoo sends, and keeps it.
"""

import threading
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import cast


@dataclass(frozen=True)
class Sent:
    """
    One mail as it was handed over.
    """

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage


class MailSink:
    """
    It listens while its ``with`` block lasts; ``sent`` has the mails, in order.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.sent = self.sent
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "MailSink":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    sent: list[Sent]


class _Session(StreamRequestHandler):
    """
    As much of RFC 5321 as smtplib speaks without extensions.
    """

    timeout = 30

    def handle(self) -> None:
        sender, recipients = "", []
        self._reply(b"220 sink")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"MAIL":
                sender, recipients = _path(line), []
            elif verb == b"RCPT":
                recipients.append(_path(line))
            elif verb == b"DATA":
                self._reply(b"354 go ahead")
                message = message_from_bytes(self._message(), policy=policy.SMTP)
                kept = Sent(sender, tuple(recipients), cast(EmailMessage, message))
                cast(_Server, self.server).sent.append(kept)
            elif verb == b"QUIT":
                self._reply(b"221 bye")
                return
            self._reply(b"250 fine")

    def _reply(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")

    def _message(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)


def _path(line: bytes) -> str:
    return line.decode().partition("<")[2].partition(">")[0]
