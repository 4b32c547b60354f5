"""
One whole installation: a private Postfix, the daemon, and the stand-in for Odoo.
"""

import json
import os
import smtplib
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postfix import DOMAIN, FORWARDED_USER, LOCAL_USER, PIPED_USER, Postfix
from programs import Program, ask, metric, odoo_mailer, odoo_mailer_as
from waiting import eventually, free_port

TOKEN = "a-token-of-the-tests"
SENDER = "customer@client.test"
LOCAL = f"{LOCAL_USER}@{DOMAIN}"
PIPED = f"{PIPED_USER}@{DOMAIN}"
FORWARDED = f"{FORWARDED_USER}@{DOMAIN}"

# What Odoo declares when a test begins; no target means the address itself.
ALIASES: dict[str, list[str]] = {
    f"info@{DOMAIN}": [],
    f"sales@{DOMAIN}": [],
    f"support@{DOMAIN}": [],
    f"büro@{DOMAIN}": [],
    f"team@{DOMAIN}": [f"info@{DOMAIN}", f"sales@{DOMAIN}"],
    PIPED: [],
    FORWARDED: [],
}
LOCAL_PARTS: dict[str, list[str]] = {"jobs": []}


@dataclass(frozen=True, slots=True)
class Mail:
    """
    A message that can be told from all others.
    """

    message_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """
    A copy that the stand-in for Odoo kept: for whom, and the message.
    """

    recipient: str
    content: bytes


def compose(*fields: bytes, body: bytes = b"Hello.\r\n") -> Mail:
    """
    Return a message with the usual fields, and further ones.
    """
    message_id = f"<{uuid.uuid4().hex}@client.test>"
    head = (
        f"From: Customer <{SENDER}>".encode(),
        b"Date: Mon, 1 Jun 2026 12:00:00 +0000",
        f"Message-ID: {message_id}".encode(),
        *(fields or (b"Subject: A question", f"To: info@{DOMAIN}".encode())),
    )
    return Mail(message_id, b"\r\n".join(head) + b"\r\n\r\n" + body)


class Installation:
    """
    Everything of it lies in one folder.

    Args:
        folder: See ``Postfix``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postfix = Postfix(folder)
        self.config = folder / "odoo-mailer.yaml"
        self.alias_file = folder / "aliases.yaml"
        self.mail = folder / "mail"
        self.socketmap = self.postfix.queue / "private" / "odoo-map"
        self.http_port = free_port()
        self.odoo_port = free_port()
        self.aliases: dict[str, list[str]] = {}
        self.verdicts: dict[str, dict[str, object]] = {}
        self.revision = 0
        self.can_pipe = False
        self.daemon = self.daemon_with(self.config)
        self.sandbox = Program(
            odoo_mailer(
                self.config, "sandbox", "--aliases", str(self.alias_file), "--mail", str(self.mail)
            ),
            folder / "sandbox.log",
        )

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
            "host": f"http://127.0.0.1:{self.odoo_port}",
            "token": TOKEN,
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
        self.mail.mkdir()
        self.config.write_text(self.settings())
        self.reset_aliases()
        pipe = odoo_mailer_as("nobody", self.config, "pipe")
        self.can_pipe = pipe is not None
        self.postfix.install(
            [*(pipe or ["/bin/false"]), "--sender", "${sender}", "--recipient", "${recipient}"]
        )
        self.postfix.start()

    def restore(self) -> None:
        """
        Bring everything to the state in which a test begins.
        """
        self.postfix.command("postsuper", "-d", "ALL")
        for path in self.mail.glob("new/*"):
            path.unlink()
        self.config.write_text(self.settings())
        self.start_sandbox()
        if (self.aliases, self.verdicts) != (ALIASES, {}):
            self.reset_aliases()
        self.start_daemon()
        self._wait_for_list()

    def stop(self) -> None:
        """
        End all that was started.
        """
        try:
            self.postfix.stop()
        finally:
            try:
                self.daemon.stop()
            finally:
                self.sandbox.stop()

    def start_daemon(self) -> None:
        """
        Start the daemon unless it runs; returns when it is ready.
        """
        if not self.daemon.running:
            self.daemon.start(notify=True)

    def start_sandbox(self) -> None:
        """
        Start the stand-in for Odoo unless it runs; returns when it answers.
        """
        if not self.sandbox.running:
            self.sandbox.start()
            eventually(lambda: _accepts(self.odoo_port), "the sandbox to listen")

    def reset_aliases(self) -> None:
        """
        Let Odoo declare what it does when a test begins.
        """
        self.aliases, self.verdicts = dict(ALIASES), {}
        self.write_aliases()

    def write_aliases(self) -> None:
        """
        Put ``aliases`` and ``verdicts`` into the file of the stand-in, at once.

        Each edit has an address of its own, by which it is known.
        """
        self.revision += 1
        content = {
            "aliases": {**self.aliases, self._mark: []},
            "local_parts": LOCAL_PARTS,
            "domains": [DOMAIN],
            "verdicts": self.verdicts,
        }
        new = self.alias_file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1, ensure_ascii=False))
        os.replace(new, self.alias_file)

    def declare(self) -> None:
        """
        The same; returns when the stand-in and the daemon have taken notice.
        """
        self.write_aliases()
        self._wait_for_list()

    def _wait_for_list(self) -> None:
        eventually(lambda: self.knows(self._mark), "the daemon to have the list")

    @property
    def _mark(self) -> str:
        return f"revision-{self.revision}@{DOMAIN}"

    def add_alias(self, address: str) -> None:
        """
        Let Odoo declare an address.
        """
        self.aliases[address] = []
        self.declare()

    def set_verdict(self, address: str, verdict: dict[str, object]) -> None:
        """
        Let Odoo answer so to mail for an address.
        """
        self.verdicts[address] = verdict
        self.declare()

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

    def kept(self, mail: Mail) -> list[Kept]:
        """
        Return the copies of a mail that the stand-in for Odoo has, by recipient.
        """
        mark = mail.message_id.encode()
        contents = [path.read_bytes() for path in self.mail.glob("new/*")]
        copies = [_kept(content) for content in contents if mark in content]
        return sorted(copies, key=lambda kept: kept.recipient)

    def arrived(self, mail: Mail, count: int = 1) -> list[Kept]:
        """
        Wait until the stand-in for Odoo has so many copies of a mail; return them.
        """
        eventually(
            lambda: len(self.kept(mail)) >= count, f"{count} copies in Odoo", self.postfix.flush
        )
        return self.kept(mail)


def expect(code: int, reply: tuple[int, bytes]) -> tuple[int, bytes]:
    """
    Return an SMTP reply, which has to have this code.
    """
    assert code == reply[0], reply
    return reply


def _kept(content: bytes) -> Kept:
    line, _, message = content.partition(b"\n")
    name, _, recipient = line.decode().rstrip("\r").partition(": ")
    assert name == "X-Original-To", line
    return Kept(recipient, message)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
