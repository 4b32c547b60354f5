"""
A real Odoo with the addon, in a database and a folder of its own.
"""

import os
import re
import shutil
import subprocess
import tempfile
import xmlrpc.client
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from given import Given
from postfix import DOMAIN
from programs import Program
from waiting import eventually, free_port

ADDON = Path(__file__).parents[2] / "addons" / "mail_delivery"
MODULES = ("mail_delivery", "crm", "project")
# A stranger's interpreter: it must not find our packages.
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
INSTALL = 1800  # seconds
START = 180.0  # seconds

INFO = f"info@{DOMAIN}"  # makes leads; crm comes with it
SALES = f"sales@{DOMAIN}"  # makes leads, too
TASKS = f"tasks@{DOMAIN}"  # makes tasks of a project


class OdooServer:
    """
    One Odoo, on a port of loopback.

    Args:
        folder: See ``fresh_odoo``.
    """

    def __init__(self, given: Given, folder: Path) -> None:
        self.given = given
        self.database = given.database
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "data" / "odoo.log"
        self._output = folder / "odoo.out"
        self._options = self._common_options(folder / "data")
        argv = [*given.odoo, *self._options, *self._serving_options()]
        self.program = Program(argv, self._output, ENVIRON)
        self._uid = 0
        self._mail_server = 0

    def _common_options(self, data: Path) -> list[str]:
        database = self.database
        options = {
            "--database": database.name,
            "--db-filter": f"^{re.escape(database.name)}$" if self.given.db_filter else "",
            "--db_host": database.host,
            "--db_port": str(database.port),
            "--db_user": database.user,
            "--db_password": database.password,
            "--addons-path": self.given.addons_path,
            "--data-dir": str(data),
            "--logfile": str(self._log),
            "--log-handler": ":INFO",
        }
        return [f"{name}={value}" for name, value in options.items() if value]

    def _serving_options(self) -> list[str]:
        return [
            "--http-interface=127.0.0.1",
            f"--http-port={self.port}",
            "--workers=0",
            "--max-cron-threads=0",
        ]

    def install(self, *options: str, modules: Sequence[str] = MODULES) -> int:
        """
        Install modules, without demonstration data; return the exit status.

        Args:
            options: Further ones, such as those that run tests.
        """
        what = [f"--init={','.join(modules)}", "--without-demo=true", "--stop-after-init"]
        with self._output.open("ab") as output:
            run = subprocess.run(
                [*self.program.argv, *what, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=ENVIRON,
                timeout=INSTALL,
            )
        return run.returncode

    def start(self) -> None:
        """
        Start it unless it runs; returns when it answers.
        """
        if not self.program.running:
            self.program.start()
            eventually(self._is_ready, "Odoo to answer", deadline=START)

    def stop(self) -> None:
        """
        End it, as its administrator would.
        """
        self.program.stop()

    def _is_ready(self) -> bool:
        assert self.program.running, f"Odoo ended:\n{self.log_text()}"
        try:
            with xmlrpc.client.ServerProxy(f"{self.url}/xmlrpc/2/common") as common:
                uid = common.authenticate(self.database.name, "admin", "admin", {})
        except (OSError, xmlrpc.client.Error):
            return False
        self._uid = uid if isinstance(uid, int) else 0
        return bool(self._uid)

    def log_text(self) -> str:
        """
        Return all that it logged or wrote, since it was installed.
        """
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        return self.program.output() + log

    def shell_command(self) -> list[str]:
        """
        Return the command line of its shell, which runs the script on standard input.
        """
        return [*self.given.command("shell"), *self._options, "--no-http"]

    # What an administrator does in it.

    def call(self, model: str, method: str, *args: object, **named: object) -> Any:
        """
        Call a method over XML-RPC as the administrator.
        """
        with xmlrpc.client.ServerProxy(f"{self.url}/xmlrpc/2/object") as proxy:
            return proxy.execute_kw(
                self.database.name, self._uid, "admin", model, method, list(args), named
            )

    def create(self, model: str, /, **values: object) -> int:
        """
        Create a record and return its id.
        """
        return int(self.call(model, "create", values))

    def find(
        self, model: str, /, *fields: str, order: str = "id", **values: object
    ) -> list[dict[str, Any]]:
        """
        Return the fields of all records that have these values.
        """
        domain = [(name, "=", value) for name, value in values.items()]
        found: list[dict[str, Any]] = self.call(
            model, "search_read", domain, fields=fields, order=order
        )
        return found

    def create_alias(self, name: str, model: str = "crm.lead", **values: object) -> str:
        """
        Create an alias of the tests' domain and return its address.
        """
        self.create("mail.alias", alias_name=name, alias_model_id=self._model(model), **values)
        return f"{name}@{DOMAIN}"

    def _model(self, name: str) -> int:
        (model,) = self.find("ir.model", "id", model=name)
        return int(model["id"])

    def prepare(self, smtp_port: int) -> None:
        """
        Declare the domain, the three aliases and where mail is sent to.
        """
        self.create("mail.alias.domain", name=DOMAIN)
        if not self.find("mail.alias", "id", alias_full_name=INFO):
            self.create_alias("info")
        self.create_alias("sales")
        self.create("project.project", name="Tasks by mail", alias_name="tasks")
        self._mail_server = self.create(
            "ir.mail_server",
            name="the tests",
            smtp_host="127.0.0.1",
            smtp_port=smtp_port,
            smtp_encryption="none",
        )

    def send_through(self, smtp_port: int) -> None:
        """
        Have it send its mail to another server on this machine.
        """
        self.call("ir.mail_server", "write", [self._mail_server], {"smtp_port": smtp_port})

    def set_parameter(self, key: str, value: str) -> str:
        """
        Set a system parameter and return what it was; empty removes it.
        """
        before = self.call("ir.config_parameter", "get_param", key) or ""
        self.call("ir.config_parameter", "set_param", key, value or False)
        return str(before)

    def connect_mailer(self, name: str, webhook: str = "") -> str:
        """
        Connect a mailer, as on the settings page, and return its token.
        """
        wizard = self.create("mail_delivery.token", name=name, webhook=webhook)
        action = self.call("mail_delivery.token", "action_connect", [wizard])
        return str(action["context"]["mail_delivery_token"])


@contextmanager
def fresh_odoo(given: Given) -> Iterator[OdooServer]:
    """
    Yield an Odoo with an empty database; both are gone in the end.

    The addon is copied to where Odoo looks for addons of its own accord, so
    that its user can read it wherever the checkout lies.
    """
    given.database.create()
    folder = Path(tempfile.mkdtemp(prefix="odoo-mailer-", dir="/tmp"))
    try:
        folder.chmod(0o711)  # whoever Odoo runs as may enter, if told the name
        (folder / "data").mkdir()
        (folder / "data").chmod(0o777)
        _copy_addon(folder / "data" / "addons" / given.series)
        server = OdooServer(given, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
        given.database.drop()


def _copy_addon(place: Path) -> None:
    shutil.copytree(ADDON, place / ADDON.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (place.parent, place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@contextmanager
def served_odoo(given: Given, smtp_port: int) -> Iterator[OdooServer]:
    """
    Yield an Odoo that is installed, prepared and running.
    """
    with fresh_odoo(given) as server:
        status = server.install()
        assert status == 0, f"Odoo could not be installed:\n{faults(server.log_text())}"
        server.start()
        server.prepare(smtp_port)
        yield server


def faults(log: str, most: int = 200) -> str:
    """
    Return what a log has of errors: the first lines of all, then the last ones with tracebacks.

    Args:
        log: Its end is returned where it has no errors.
        most: Lines of the latter.
    """
    entries = re.split(r"^(?=\d{4}-\d\d-\d\d \d\d:)", log, flags=re.MULTILINE)
    bad = [entry for entry in entries if re.match(r"\S+ \S+ \d+ (ERROR|CRITICAL) ", entry)]
    heads = [entry.partition("\n")[0] for entry in bad]
    return "\n".join([*heads, "", *"".join(bad or entries).splitlines()[-most:]])
