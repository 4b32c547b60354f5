"""
All of it together: Postfix, the daemon, a real Odoo, and where Odoo's own mail goes.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from api import Api
from mail_host import Mail, MailHost, compose, last_lines, short_folder
from mail_sink import MailSink
from odoo_server import INFO, SALES, TASKS, OdooServer
from waiting import eventually


class WholeSite:
    """
    Args:
        host: Its Postfix and daemon, not yet started.
        odoo: It runs.
        sink: Where Odoo sends mail to.
    """

    def __init__(self, host: MailHost, odoo: OdooServer, sink: MailSink) -> None:
        self.host = host
        self.odoo = odoo
        self.sink = sink
        token = odoo.connect_mailer("end to end", f"http://127.0.0.1:{host.http_port}/aliases")
        host.odoo = {"host": odoo.url, "token": token}
        self.api = Api(odoo.port, token)

    def restore(self) -> None:
        """
        Bring everything to the state in which a test begins.
        """
        self.host.postfix.command("postsuper", "-d", "ALL")
        self.odoo.start()
        self.host.start_daemon()
        eventually(
            lambda: all(map(self.host.knows, (INFO, SALES, TASKS))), "the daemon to have the list"
        )
        self.sink.sent.clear()

    def delivered(self, mail: Mail, *recipients: str, sender: str) -> list[tuple[str, str]]:
        """
        Send a mail, wait until it has left the queue, and return recipient and fate, in order.
        """
        queue_id = self.host.send(mail, recipients, sender)
        return sorted((s.recipient, s.status) for s in self.host.postfix.final(queue_id))

    def leads(self, subject: str) -> list[int]:
        """
        Return the leads of a subject.
        """
        return [lead["id"] for lead in self.odoo.find("crm.lead", "id", name=subject)]

    def tasks(self, subject: str) -> list[int]:
        """
        Return the tasks of a subject.
        """
        return [task["id"] for task in self.odoo.find("project.task", "id", name=subject)]

    def thread(self, lead: int) -> list[dict[str, Any]]:
        """
        Return the mails of a lead, the oldest first.
        """
        return self.odoo.find(
            "mail.message",
            *("subject", "body", "email_from", "message_id"),
            model="crm.lead",
            res_id=lead,
            message_type="email",
        )

    def alias(self, name: str, **values: object) -> str:
        """
        Create an alias that makes leads; returns its address when the daemon has it.
        """
        address = self.odoo.create_alias(name, **values)
        eventually(lambda: self.host.knows(address), f"the daemon to know {address}")
        return address

    def logs(self) -> dict[str, str]:
        """
        Return the end of each log, by its name.
        """
        return {**self.host.logs(), "odoo": last_lines(self.odoo.log_text())}


def stranger() -> str:
    """
    Return an address that nobody had before; Odoo takes 20 records an hour from one.
    """
    return f"{uuid.uuid4().hex}@client.test"


def letter(subject: str, *fields: str, to: str, sender: str, body: str = "Hello.") -> Mail:
    """
    Return a plain message.
    """
    head = (f"Subject: {subject}", f"To: {to}", *fields)
    octets = re.sub(r"\r?\n", "\r\n", f"{body}\n").encode()
    return compose(*(field.encode() for field in head), body=octets, sender=sender)


@contextmanager
def whole_site(odoo: OdooServer, sink: MailSink) -> Iterator[WholeSite]:
    """
    Yield the site of an Odoo, all of it running.
    """
    with short_folder() as folder:
        host = MailHost(folder)
        site = WholeSite(host, odoo, sink)
        try:
            host.install()
            host.start_daemon()
            yield site
        finally:
            host.stop()
