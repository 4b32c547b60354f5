"""
The whole flow on loopback, in a temporary folder: lookups, LMTP, Odoo stand-in, metrics.

Drives the installed ``odoo-mailer``, as Postfix, Odoo and an administrator would.
"""

import argparse
import contextlib
import mailbox
import os
import shlex
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from email import message_from_binary_file, policy
from email.message import EmailMessage
from pathlib import Path
from typing import BinaryIO

COMMAND = Path(sys.executable).with_name("odoo-mailer")
ALIASES = """\
verdicts:
  partners@example.com: {code: 550, status: 5.7.1, text: Only partners may write here}
aliases:
  info@example.com:
  sales@example.com: [info@example.com]
  partners@example.com:
"""
PATIENCE = 20.0  # seconds until a program must be up


def main() -> None:
    parser = argparse.ArgumentParser(description="Show odoo-mailer at work.")
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory(prefix="odoo-mailer-demo-") as name:
        folder = Path(name)
        ports = free_ports(2)
        write_configuration(folder, *ports)
        with sandbox(folder, ports[0]), daemon(folder):
            show_lookups(folder)
            show_delivery(folder)
            show_metrics(ports[1])
            if keep:
                stay(folder, ports[1])
    say("Done. Nothing is left behind.")


def write_configuration(folder: Path, odoo_port: int, http_port: int) -> None:
    (folder / "aliases.yaml").write_text(ALIASES)
    (folder / "odoo-mailer.yaml").write_text(
        f"""\
host: http://127.0.0.1:{odoo_port}
token: demo-token
socket: {{listen: {folder}/lmtp, group: ""}}
socketmap: {{listen: {folder}/map, group: ""}}
http: 127.0.0.1:{http_port}
cache: {folder}/cache
"""
    )
    say("The configuration")
    print((folder / "odoo-mailer.yaml").read_text())
    say("What the Odoo stand-in declares")
    print(ALIASES)


def show_lookups(folder: Path) -> None:
    say("What Postfix is told: a known, an extended, and an unknown address")
    for map_name in ("aliases", "transport"):
        for key in ("info@example.com", "Info+Fair@Example.COM", "jane@example.com"):
            arguments = ["lookup", map_name, key]
            print(f"$ odoo-mailer {shlex.join(arguments):45}", flush=True, end="  ->  ")
            run(folder, *arguments)


def show_delivery(folder: Path) -> None:
    say("A message with an attachment, to three addresses, over LMTP")
    message = EmailMessage()
    message["From"], message["To"] = "customer@example.org", "info@example.com"
    message["Subject"] = "Drawing of the part"
    message["Message-ID"] = "<demo@example.org>"
    message.set_content("Please find the drawing attached.\n")
    message.add_attachment(b"\x89PNG " * 200, maintype="image", subtype="png", filename="part.png")
    with smtplib.LMTP(str(folder / "lmtp")) as lmtp:
        lmtp.ehlo()
        lmtp.mail("customer@example.org", ["SIZE=2000"])
        accepted = []
        for recipient in ("info@example.com", "partners@example.com", "jane@example.com"):
            code, text = lmtp.rcpt(recipient)
            print(f"RCPT {recipient:20}         ->  {code} {text.decode()}")
            accepted += [recipient] if code == 250 else []
        replies = [lmtp.data(message.as_bytes())] + [lmtp.getreply() for _ in accepted[1:]]
        for recipient, (code, text) in zip(accepted, replies, strict=True):
            print(f"the message for {recipient:20} -> {code} {text.decode()}")
    say("It arrived in the stand-in's Maildir")
    for stored in mailbox.Maildir(folder / "mail", factory=parse, create=False):
        for name in ("X-Original-To", "Return-Path", "Delivered-To", "Message-ID", "Subject"):
            print(f"{name}: {stored[name]}")
        for part in stored.walk():
            if part.get_filename():
                print(f"attachment: {part.get_filename()}, {len(part.get_content())} octets")


def parse(file: BinaryIO) -> EmailMessage:
    return message_from_binary_file(file, policy=policy.default)


def show_metrics(port: int) -> None:
    say("What Prometheus sees of it")
    shown = ("lookups_total", "lmtp_", "deliveries_total", "refresh_total", "aliases{", "odoo_up")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            counted = not line.startswith("#") and not line.endswith(" 0.0")
            if counted and any(name in line for name in shown):
                print(line)


def stay(folder: Path, http_port: int) -> None:
    say("It stays up; Ctrl-C ends it. Things to try, in another terminal")
    command = f"{COMMAND} -c {folder}/odoo-mailer.yaml"
    print(
        f"""\
{command} lookup aliases sales@example.com
{command} refresh
{command} pipe --sender me@example.org --recipient info@example.com < README.md
curl http://127.0.0.1:{http_port}/metrics
curl http://127.0.0.1:{http_port}/readyz
echo '  new@example.com:' >> {folder}/aliases.yaml     # under aliases: it is known at once
$EDITOR {folder}/aliases.yaml
ls {folder}/mail/new
"""
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


@contextlib.contextmanager
def sandbox(folder: Path, port: int) -> Iterator[None]:
    arguments = ["--aliases", str(folder / "aliases.yaml"), "--mail", str(folder / "mail")]
    with running(folder, "sandbox", *arguments):
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[None]:
    reader, writer = os.pipe()
    with running(folder, "daemon", "-r", str(writer), keep=(writer,)):
        os.close(writer)
        if os.read(reader, 1) != b"\n":
            raise SystemExit("the daemon did not start")
        os.close(reader)
        wait_for(lambda: run(folder, "refresh", quiet=True))
        yield


@contextlib.contextmanager
def running(folder: Path, *arguments: str, keep: tuple[int, ...] = ()) -> Iterator[None]:
    log = (folder / f"{arguments[0]}.log").open("wb")
    with log:
        process = subprocess.Popen(
            [COMMAND, "-c", folder / "odoo-mailer.yaml", *arguments], stderr=log, pass_fds=keep
        )
    try:
        yield
    except BaseException:
        print((folder / f"{arguments[0]}.log").read_text(), file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait()


def run(folder: Path, *arguments: str, quiet: bool = False) -> None:
    output = subprocess.PIPE if quiet else None
    subprocess.run(
        [COMMAND, "-c", folder / "odoo-mailer.yaml", *arguments],
        check=quiet,
        stdout=output,
        stderr=output,
    )


def wait_for(attempt: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            attempt()
            return
        except (OSError, subprocess.CalledProcessError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def say(title: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}== {title}{plain}", flush=True)


if __name__ == "__main__":
    main()
