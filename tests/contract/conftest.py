"""
The server that the contract is checked against.

By default a sandbox is started. To check another server, such as an Odoo with
the addon, name it in the environment:

    ODOO_MAILER_CONTRACT_URL       http://odoo.example.com:8069
    ODOO_MAILER_CONTRACT_TOKEN     its token
    ODOO_MAILER_CONTRACT_ADDRESS   an address of its list that takes mail of anyone
    ODOO_MAILER_CONTRACT_OTHER     a second such address (optional)
    ODOO_MAILER_CONTRACT_DATABASE  its database (optional)

and run ``pytest tests/contract``. Every message has a sender and a Message-ID
of its own, and leaves a record in Odoo: use a database made for tests.
"""

import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

VARIABLES = "ODOO_MAILER_CONTRACT_"
START_TIMEOUT = 20.0  # seconds
ANSWER_TIMEOUT = 150.0  # seconds, more than Odoo's limit_time_real

ALIASES = """\
aliases:
  info@example.com:
  sales@example.com:
  team@example.com: [info@example.com, desk@example.net]
local_parts:
  jobs:
  help: [desk@example.net]
domains: [example.com, example.org]
"""


@dataclass(frozen=True)
class Answer:
    """
    One answer.
    """

    code: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def marked(self) -> bool:
        """It says that the addon gave it."""
        return self.headers.get_all("X-Mail-Delivery") == ["1"]

    def verdicts(self) -> dict[str, tuple[int, str]]:
        """
        Return code and status for each address.
        """
        assert self.code == 200, self.body[:500]
        assert self.marked
        assert self.headers.get_content_type() == "application/json"
        found = {}
        for address, verdict in json.loads(self.body)["recipients"].items():
            assert isinstance(verdict["text"], str)
            found[address.casefold()] = verdict["code"], verdict["status"]
        return found


@dataclass(frozen=True)
class Message:
    """
    A message as the daemon posts it, and the digest that stays the same on every try.
    """

    octets: bytes
    digest: str


@dataclass(frozen=True)
class Odoo:
    """
    The server under test, and what is known of it.
    """

    url: str
    token: str
    address: str
    other: str = ""
    database: str = ""
    maildir: Path | None = None

    def request(
        self,
        method: str,
        point: str,
        headers: dict[str, str | bytes] | None = None,
        body: bytes | None = None,
        token: str | bytes | None = "",
    ) -> Answer:
        """
        Send one request on a connection of its own.

        Args:
            token: Empty for the right one, None for none at all.
        """
        url = urlsplit(self.url)
        secure = url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        sent = {**({"X-Odoo-Database": self.database} if self.database else {}), **(headers or {})}
        if token is not None:
            sent["X-Mail-Token"] = token or self.token
        connection = kind(url.hostname or "", url.port, timeout=ANSWER_TIMEOUT)
        try:
            connection.request(method, f"{url.path.rstrip('/')}/mail_delivery/{point}", body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, point: str, **headers: str) -> Answer:
        """
        Fetch a list; ``If_None_Match="…"`` sends a field.
        """
        return self.request(
            "GET", point, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def pipe(self, message: Message, *recipients: str) -> Answer:
        """
        Post a message as the daemon does.
        """
        return self.request(
            "POST",
            "pipe",
            {
                "Content-Type": "message/rfc822",
                "X-Mail-Sender": "sender@example.net",
                "X-Mail-Recipients": ",".join(recipients),
                "X-Mail-Digest": message.digest,
                "X-Mail-Queue-Id": "4XyZ1234",
            },
            message.octets,
        )

    def pipe_until_final(self, message: Message, *recipients: str) -> list[Answer]:
        """
        Post a message, again after each temporary answer, as Postfix has it done.
        """
        answers: list[Answer] = []
        for _ in range(30):
            answers.append(self.pipe(message, *recipients))
            busy = answers[-1].code in (409, 429, 503)
            if not busy and all(code // 100 != 4 for code, _ in answers[-1].verdicts().values()):
                break
            time.sleep(1)
        return answers

    def message(self, *recipients: str, body: bytes = b"Hello\r\n") -> Message:
        """
        Make a message unlike any other, with the fields that the daemon puts in front.
        """
        name = uuid.uuid4().hex
        received = (
            b"From: Sender <%(name)b@example.net>\r\nTo: someone@example.net\r\n"
            b"Subject: Contract %(name)b\r\nMessage-ID: <%(name)b@example.net>\r\n"
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
            b"Content-Transfer-Encoding: 8bit\r\n\r\n"
        ) % {b"name": name.encode()} + body
        front = b"Return-Path: <%b@example.net>\r\n" % name.encode()
        front += b"".join(b"Delivered-To: %b\r\n" % address.encode() for address in recipients)
        return Message(front + received, f"sha-256={hashlib.sha256(received).hexdigest()}")

    def nobody(self) -> str:
        """
        Return an address in a domain of the server that it does not have.
        """
        return f"nobody-{uuid.uuid4().hex}@{self.address.partition('@')[2]}"


@dataclass(frozen=True)
class Mails:
    """
    A view into the sandbox's Maildir.
    """

    folder: Path

    def copies(self, message: Message) -> list[tuple[str, bytes]]:
        """
        Return recipient and octets of each copy of a message, told by its Message-ID.
        """
        (name,) = [line for line in message.octets.split(b"\r\n") if line.startswith(b"Message-ID")]
        copies = (path.read_bytes() for path in (self.folder / "new").iterdir())
        found = (copy.split(b"\r\n", 1) for copy in copies if name in copy)
        return sorted((a.decode().removeprefix("X-Original-To: "), rest) for a, rest in found)


@pytest.fixture(scope="session")
def odoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odoo]:
    """
    The server named in the environment, else a sandbox.
    """
    names = ("URL", "TOKEN", "ADDRESS", "OTHER", "DATABASE")
    named = {name: os.environ.get(VARIABLES + name, "") for name in names}
    if not named["URL"]:
        with _sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
            yield sandbox
    else:
        missing = [VARIABLES + name for name in names[:3] if not named[name]]
        assert not missing, f"set {', '.join(missing)} too"
        yield Odoo(
            named["URL"],
            named["TOKEN"],
            named["ADDRESS"].casefold(),
            named["OTHER"].casefold(),
            named["DATABASE"],
        )


@pytest.fixture
def other(odoo: Odoo) -> str:
    """
    A second address of the server.
    """
    if not odoo.other:
        pytest.skip(f"needs a second address in {VARIABLES}OTHER")
    return odoo.other


@pytest.fixture
def mails(odoo: Odoo) -> Mails:
    """
    What was stored.
    """
    if odoo.maildir is None:
        pytest.skip("only the sandbox's Maildir can be looked into")
    return Mails(odoo.maildir)


@pytest.fixture
def edit(odoo: Odoo) -> Iterator[Callable[[dict[str, str]], None]]:
    """
    Replaces words of the list of the server; those that were there come back in the end.
    """
    if odoo.maildir is None:
        pytest.skip("only the sandbox's list can be changed from here")
    file = odoo.maildir.parent / "aliases.yaml"

    def write(text: str) -> None:
        before = odoo.get("aliases").headers["ETag"]
        file.write_text(text, encoding="utf-8")
        end = time.monotonic() + ANSWER_TIMEOUT
        while odoo.get("aliases").headers["ETag"] == before:
            assert time.monotonic() < end, "the sandbox did not read its file again"
            time.sleep(0.05)

    def edit(edits: dict[str, str]) -> None:
        text = ALIASES
        for old, new in edits.items():
            assert old in text
            text = text.replace(old, new)
        write(text)

    yield edit
    write(ALIASES)


@contextmanager
def _sandbox(folder: Path) -> Iterator[Odoo]:
    """
    Run a sandbox on a free port until the tests are over.
    """
    port = _free_port()
    odoo = Odoo(
        f"http://127.0.0.1:{port}",
        "contract-token",
        "info@example.com",
        "sales@example.com",
        maildir=folder / "mail",
    )
    (folder / "aliases.yaml").write_text(ALIASES, encoding="utf-8")
    config = folder / "odoo-mailer.yaml"
    config.write_text(
        f"host: {odoo.url}\ntoken: {odoo.token}\ncache: {folder}\nhttp: 127.0.0.1:{_free_port()}\n",
        encoding="utf-8",
    )
    places = ["--aliases", str(folder / "aliases.yaml"), "--mail", str(odoo.maildir)]
    command = [sys.executable, "-m", "mailer.cli", "-c", str(config), "sandbox", *places]
    log = folder / "log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as run:
        try:
            _wait_for(port, run, log)
            yield odoo
        finally:
            run.terminate()
            try:
                run.wait(10)
            except subprocess.TimeoutExpired:
                run.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, run: "subprocess.Popen[bytes]", log: Path) -> None:
    """
    Return once the port is open.
    """
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and run.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the sandbox did not start:\n{log.read_text(errors='replace')[-2000:]}")
