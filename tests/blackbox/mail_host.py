"""
A mail host: a private Postfix and the daemon, for whatever Odoo the daemon is told of.
"""

import json
import shutil
import smtplib
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postfix import DOMAIN, LOCAL_USER, Postfix
from programs import Program, ask, metric, odoo_mailer, odoo_mailer_as
from waiting import free_port

SENDER = "customer@client.test"
LOCAL = f"{LOCAL_USER}@{DOMAIN}"
LINES = 40  # of each log that are shown with a failure


@dataclass(frozen=True, slots=True)
class Mail:
    """
    A message that can be told from all others.
    """

    message_id: str
    content: bytes


def compose(*fields: bytes, body: bytes = b"Hello.\r\n", sender: str = SENDER) -> Mail:
    """
    Return a message with the usual fields, and further ones.
    """
    message_id = f"<{uuid.uuid4().hex}@client.test>"
    head = (
        f"From: Customer <{sender}>".encode(),
        b"Date: Mon, 1 Jun 2026 12:00:00 +0000",
        f"Message-ID: {message_id}".encode(),
        *(fields or (b"Subject: A question", f"To: info@{DOMAIN}".encode())),
    )
    return Mail(message_id, b"\r\n".join(head) + b"\r\n\r\n" + body)


@contextmanager
def short_folder() -> Iterator[Path]:
    """
    Yield a folder for a mail host, which is removed in the end.

    Not pytest's own: user postfix has to get in, and a socket's path is short.
    """
    folder = Path(tempfile.mkdtemp(prefix="odoo-mailer-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class MailHost:
    """
    Everything of it lies in one folder.

    Args:
        folder: See ``Postfix``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postfix = Postfix(folder)
        self.config = folder / "odoo-mailer.yaml"
        self.socketmap = self.postfix.queue / "private" / "odoo-map"
        self.http_port = free_port()
        self.odoo: Mapping[str, object] = {}  # the keys of the configuration that name it
        self.can_pipe = False
        self.daemon = self.daemon_with(self.config)

    def daemon_with(self, config: Path) -> Program:
        """
        Return a daemon, not yet started, with a configuration of its own.
        """
        return Program(odoo_mailer(config, "daemon"), config.with_suffix(".log"))

    def settings(self, **changes: object) -> str:
        """
        Return the text of the configuration, JSON being YAML too; None leaves a key out.
        """
        private = self.postfix.queue / "private"
        settings = {
            **self.odoo,
            "socket": str(private / "odoo-lmtp"),
            "socketmap": str(self.socketmap),
            "nexthop": "lmtp:unix:private/odoo-lmtp",
            "http": f"127.0.0.1:{self.http_port}",
            "cache": str(self.folder / "cache"),
            "aliases": str(self.folder / "virtual_alias_odoo"),
            "transport": str(self.folder / "transport_odoo"),
            "refresh": 600,  # no test waits for a poll
        }
        settings = {**settings, **changes}
        return json.dumps({key: value for key, value in settings.items() if value is not None})

    def install(self) -> None:
        """
        Write all files and start Postfix.
        """
        (self.folder / "cache").mkdir()
        self.config.write_text(self.settings())
        pipe = odoo_mailer_as("nobody", self.config, "pipe")
        self.can_pipe = pipe is not None
        self.postfix.install(
            [*(pipe or ["/bin/false"]), "--sender", "${sender}", "--recipient", "${recipient}"]
        )
        self.postfix.start()

    def stop(self) -> None:
        """
        End all that was started.
        """
        try:
            self.postfix.stop()
        finally:
            self.daemon.stop()

    def start_daemon(self) -> None:
        """
        Start the daemon unless it runs; returns when it is ready.
        """
        if not self.daemon.running:
            self.daemon.start(notify=True)

    def knows(self, address: str) -> bool:
        """
        Say whether the daemon takes an address for one of Odoo's.
        """
        return self.lookup("aliases", address).startswith("OK ")

    def lookup(self, map_name: str, key: str) -> str:
        """
        Return what the daemon answers, past Postfix.
        """
        return ask(self.socketmap, map_name, key)

    def metric(self, name: str, **labels: str) -> float:
        """
        Return a metric of the daemon, summed over all labels but those given.
        """
        return metric(self.http_port, f"odoo_mailer_{name}", **labels)

    @contextmanager
    def session(self) -> Iterator[smtplib.SMTP]:
        """
        Yield an SMTP session with Postfix, greeted.
        """
        session = smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=30)
        try:
            session.ehlo("client.test")
            yield session
            session.quit()
        finally:
            session.close()

    def send(
        self,
        mail: Mail,
        recipients: Sequence[str],
        sender: str = SENDER,
        options: Sequence[str] = ("BODY=8BITMIME",),
    ) -> str:
        """
        Hand a mail to Postfix, all of whose recipients it takes; return the queue id.
        """
        with self.session() as session:
            expect(250, session.mail(sender, options))
            for recipient in recipients:
                expect(250, session.rcpt(recipient))
            _, text = expect(250, session.data(mail.content))
        return text.decode().split()[-1]

    def logs(self) -> dict[str, str]:
        """
        Return the end of each log, by its name.
        """
        texts = {"mail.log": self.postfix.log_text(), "daemon": self.daemon.output()}
        return {name: last_lines(text) for name, text in texts.items()}


def expect(code: int, reply: tuple[int, bytes]) -> tuple[int, bytes]:
    """
    Return an SMTP reply, which has to have this code.
    """
    assert code == reply[0], reply
    return reply


def last_lines(text: str, count: int = LINES) -> str:
    """
    Return the end of a log.
    """
    return "\n".join(text.splitlines()[-count:])
