"""
One whole installation: a mail host, and the stand-in for Odoo.
"""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from mail_host import Mail, MailHost, last_lines
from postfix import DOMAIN, FORWARDED_USER, PIPED_USER
from programs import Program, odoo_mailer
from waiting import eventually, free_port

TOKEN = "a-token-of-the-tests"
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
class Kept:
    """
    A copy that the stand-in for Odoo kept: for whom, and the message.
    """

    recipient: str
    content: bytes


class Installation(MailHost):
    """
    Everything of it lies in one folder.

    Args:
        folder: See ``Postfix``.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.alias_file = folder / "aliases.yaml"
        self.mail = folder / "mail"
        self.odoo_port = free_port()
        self.odoo = {"host": f"http://127.0.0.1:{self.odoo_port}", "token": TOKEN}
        self.aliases: dict[str, list[str]] = {}
        self.verdicts: dict[str, dict[str, object]] = {}
        self.revision = 0
        self.sandbox = Program(
            odoo_mailer(
                self.config, "sandbox", "--aliases", str(self.alias_file), "--mail", str(self.mail)
            ),
            folder / "sandbox.log",
        )

    def install(self) -> None:
        """
        Write all files and start Postfix.
        """
        self.mail.mkdir()
        self.reset_aliases()
        super().install()

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
            super().stop()
        finally:
            self.sandbox.stop()

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

    def logs(self) -> dict[str, str]:
        """
        Return the end of each log, by its name.
        """
        return {**super().logs(), "sandbox": last_lines(self.sandbox.output())}


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
