"""
A private Postfix: its configuration, queue, mailboxes and log in one folder.

Derived from what Debian ships: the same services run, and the same ones are
chrooted into the queue folder. It listens on one port of loopback, and no mail
ever leaves it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from waiting import eventually, free_port

MASTER_CF = Path("/usr/share/postfix/master.cf.dist")

DOMAIN = "example.test"
LOCAL_USER = "jane"  # an ordinary mailbox of the same domain, delivered by local(8)
SECOND_USER = "john"  # another one
PIPED_USER = "piped"  # an address of Odoo's that goes through pipe(8)
FORWARDED_USER = "forwarded"  # one to which lmtp(8) sends XFORWARD
GONE_USER = "gone"  # taken at RCPT, and bounced by local(8)

# What /usr/lib/postfix/configure-instance.sh copies into the chroot.
CHROOT_FILES = ("localtime", "services", "resolv.conf", "hosts", "host.conf", "nsswitch.conf")

MAIN_CF = """\
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}/log

myhostname = mx.{domain}
mydomain = {domain}
myorigin = {domain}
mydestination = {domain}
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4

# Nothing leaves this machine.
default_transport = error:no outbound mail in this test
relay_transport = error:no outbound mail in this test
relayhost =
relay_domains =
notify_classes =

# The ordinary mailboxes of the same domain.
alias_maps = texthash:{folder}/etc/aliases
alias_database =
local_recipient_maps = $alias_maps
mailbox_size_limit = 0
message_size_limit = 52428800
recipient_delimiter = +
biff = no

# Odoo's addresses, as the documentation gives them; the first transport table is the test's own.
virtual_alias_maps = socketmap:unix:private/odoo-map:aliases
transport_maps = texthash:{folder}/etc/transport, socketmap:unix:private/odoo-map:transport
virtual_alias_domains =

# Try again at once, and do not punish the client for what a test provokes.
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 4s
transport_retry_time = 1s
max_idle = 5s
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
"""

_STATUS = re.compile(
    r"postfix/(?P<service>[\w-]+)[\w/-]*\[\d+\]: (?P<queue_id>\w+): to=<(?P<recipient>[^>]*)>,"
    r".*? relay=(?P<relay>[^,]*),.*? dsn=(?P<dsn>[\d.]+), status=(?P<status>\w+) \((?P<text>.*)\)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Status:
    """
    The outcome of one attempt to deliver to one recipient, as logged.
    """

    service: str
    queue_id: str
    recipient: str
    relay: str
    dsn: str
    status: str
    text: str


def missing() -> str | None:
    """
    Say why no Postfix can be run here; None where it can.
    """
    if os.geteuid() != 0:
        return "Postfix can be started by root only"
    if shutil.which("postfix") is None:
        return "Postfix is not installed"
    if not MASTER_CF.exists():
        return f"{MASTER_CF} is missing: not a Postfix as Debian packages it"
    return None


class Postfix:
    """
    One instance.

    Args:
        folder: An empty folder that everybody may enter, with a short path: sockets lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "etc"
        self.queue = folder / "queue"
        self.log = folder / "log" / "mail.log"
        self.mailboxes = folder / "mailboxes"
        self.port = free_port()

    def install(self, pipe_argv: Iterable[str]) -> None:
        """
        Write the configuration.

        Args:
            pipe_argv: The command of the pipe(8) transport ``odoo-pipe``.
        """
        for name in ("etc", "queue", "data", "log", "mailboxes"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.mailboxes, "nobody")  # default_privs: local(8) writes as this user
        (self.config / "main.cf").write_text(MAIN_CF.format(folder=self.folder, domain=DOMAIN))
        (self.config / "master.cf").write_text(self._master_cf(pipe_argv))
        (self.config / "aliases").write_text(
            f"{LOCAL_USER} {self.mailboxes}/{LOCAL_USER}/\n"
            f"{SECOND_USER} {self.mailboxes}/{SECOND_USER}/\n"
            f'{GONE_USER} "|exit 67"\n'  # EX_NOUSER
        )
        (self.config / "transport").write_text(
            f"{PIPED_USER}@{DOMAIN} odoo-pipe:\n"
            f"{FORWARDED_USER}@{DOMAIN} odoo-forward:unix:private/odoo-lmtp\n"
        )
        (self.queue / "etc").mkdir()
        for name in CHROOT_FILES:
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), self.queue / "etc" / name)

    def _master_cf(self, pipe_argv: Iterable[str]) -> str:
        shipped = MASTER_CF.read_text()
        master, count = re.subn(
            r"^smtp(\s+inet\s.*\ssmtpd)$", rf"127.0.0.1:{self.port}\1", shipped, flags=re.MULTILINE
        )
        assert count == 1, "the shipped master.cf has another smtpd service than expected"
        return (
            f"{master}\nodoo-forward unix - - y - - lmtp\n"
            "  -o syslog_name=postfix/odoo-forward -o lmtp_send_xforward_command=yes\n"
            "odoo-pipe unix - n n - - pipe\n"
            "  flags=q user=nobody null_sender=\n"
            f"  argv={' '.join(pipe_argv)}\n"
        )

    def start(self) -> None:
        """
        Start it; returns when it listens.
        """
        self.command("postfix", "start")
        eventually(lambda: "daemon started" in self.log_text(), "Postfix to start")

    @contextmanager
    def changed(self, parameters: Mapping[str, str], services: str = "") -> Iterator[None]:
        """
        Have another configuration in force for a while.

        Args:
            parameters: What becomes different in main.cf.
            services: Further lines of master.cf, unless it has them.
        """
        files = {name: (self.config / name).read_text() for name in ("main.cf", "master.cf")}
        try:
            if services not in files["master.cf"]:
                (self.config / "master.cf").write_text(files["master.cf"] + services)
            self.command("postconf", "-e", *(f"{k}={v}" for k, v in parameters.items()))
            self.reload()
            yield
        finally:
            for name, text in files.items():
                (self.config / name).write_text(text)
            self.reload()

    def reload(self) -> None:
        """
        Read the configuration again; returns when no process is left that had read the old one.
        """
        before = self._children()
        for name in ("main.cf", "master.cf"):
            os.utime(self.config / name, (0, 0))  # Postfix would wait until they are 2 s old
        self.command("postfix", "reload")
        eventually(lambda: not before & self._children(), "the processes from before to end")

    def _children(self) -> set[int]:
        """
        Return the processes of the master, its logger apart, which outlives a reload.
        """
        master = int((self.queue / "pid" / "master.pid").read_text())
        pids = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return {int(pid) for pid in pids if _name(pid) != "postlogd"}

    def stop(self) -> None:
        """
        Stop it, by its own command, then by the number of its own master process.
        """
        master = self.queue / "pid" / "master.pid"
        if not master.exists():
            return
        pid = int(master.read_text())
        self.command("postfix", "stop", check=False)
        if _is_alive(pid):
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not _is_alive(pid), "Postfix to end")

    def command(
        self, name: str, *args: str, stdin: bytes = b"", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """
        Run one of Postfix's commands on this instance, in its queue folder.
        """
        option = "-C" if name == "sendmail" else "-c"
        result = subprocess.run(
            [shutil.which(name) or name, option, str(self.config), *args],
            input=stdin,
            cwd=self.queue,
            capture_output=True,
            timeout=60,
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{name} {args} failed: {result.stderr!r}\n{self.log_text()}")
        return result

    def postmap(self, map_name: str, key: str) -> subprocess.CompletedProcess[bytes]:
        """
        Ask the socketmap as the configuration of Postfix names it.
        """
        table = f"socketmap:unix:private/odoo-map:{map_name}"
        return self.command("postmap", "-q", key, table, check=False)

    def queued(self) -> dict[str, str]:
        """
        Return the mails that wait: queue id to the name of their queue.
        """
        lines = self.command("postqueue", "-j").stdout.splitlines()
        return {item["queue_id"]: item["queue_name"] for item in map(json.loads, lines)}

    def flush(self) -> None:
        """
        Try all that is queued at once, what sendmail(1) left in ``maildrop`` too.
        """
        self.command("postkick", "public", "pickup", "W", check=False)  # it may be busy
        self.command("postqueue", "-f")

    def requeue(self) -> None:
        """
        Have what was deferred taken in again, and tried.
        """
        self.command("postsuper", "-r", "ALL", "deferred")
        self.flush()

    def log_text(self) -> str:
        """
        Return all that was logged so far.
        """
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def statuses(self, queue_id: str) -> list[Status]:
        """
        Return what was logged of the attempts to deliver one mail.
        """
        found = (Status(**match.groupdict()) for match in _STATUS.finditer(self.log_text()))
        return [status for status in found if status.queue_id == queue_id]

    def log_line(self, text: str) -> str:
        """
        Return the last line of the log that contains a text; empty where there is none.
        """
        return next((line for line in reversed(self.log_text().splitlines()) if text in line), "")

    def final(self, queue_id: str) -> list[Status]:
        """
        Wait until a mail has left the queue; return the statuses that are not ``deferred``.
        """
        removed = f"{queue_id}: removed"
        eventually(lambda: removed in self.log_text(), f"{queue_id} to leave the queue", self.flush)
        return [status for status in self.statuses(queue_id) if status.status != "deferred"]

    def deferred(self, queue_id: str) -> Status:
        """
        Wait until an attempt to deliver a mail was put off; return the latest such status.
        """

        def latest() -> list[Status]:
            return [status for status in self.statuses(queue_id) if status.status == "deferred"]

        return eventually(latest, f"{queue_id} to be deferred")[-1]

    def attempted(self, queue_id: str, count: int) -> None:
        """
        Wait until so many attempts to deliver a mail were logged.
        """
        eventually(lambda: len(self.statuses(queue_id)) >= count, f"{count} attempts", self.flush)

    def local_mails(self, user: str = LOCAL_USER) -> list[bytes]:
        """
        Return the mails in an ordinary mailbox.
        """
        return [path.read_bytes() for path in (self.mailboxes / user).glob("new/*")]


def _name(pid: str) -> str:
    try:
        return Path("/proc", pid, "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
