"""
The programs under test as child processes, and how the tests talk to them.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import mailer

PACKAGE_ROOT = Path(mailer.__file__).parents[1]  # a checkout, or where the package is installed
ENVIRON = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "PYTHONFAULTHANDLER": "1"}
START = 30.0  # seconds to get ready
STOP = 60.0  # seconds to end after a signal


def odoo_mailer(config: Path, *args: str) -> list[str]:
    """
    Return the command line of ``odoo-mailer``: the installed script, else the module.
    """
    script = Path(sys.executable).with_name("odoo-mailer")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "mailer.cli"]
    return [*program, "-c", str(config), *args]


def odoo_mailer_as(user: str, config: Path, *args: str) -> list[str] | None:
    """
    Return the command line for a user who may not enter the folder of our own interpreter.

    Returns:
        None where this user can start no interpreter that has what the program needs.
    """
    libraries = [path for path in sys.path if path.endswith("-packages")]
    environ = f"PYTHONPATH={':'.join([str(PACKAGE_ROOT), *libraries])}"
    for python in (sys.executable, "/usr/bin/python3"):
        argv = ["/usr/bin/env", environ, python]
        probe = [*argv, "-c", "import mailer.cli, treq, ruamel.yaml, OpenSSL"]
        if subprocess.run(probe, capture_output=True, user=user, cwd="/").returncode == 0:
            return [*argv, "-m", "mailer.cli", "-c", str(config), *args]
    return None


def run(
    argv: Sequence[str], stdin: bytes = b"", environ: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """
    Run a command that ends by itself.

    Args:
        environ: Further variables.
    """
    env = {**ENVIRON, **environ}
    result = subprocess.run(argv, input=stdin, capture_output=True, env=env, timeout=START)
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


class Program:
    """
    A command that runs beside the tests.

    Args:
        argv: The command line; the descriptor of readiness is added by ``start``.
        log: What it writes is appended to this file.
        environ: All of its variables.
    """

    def __init__(
        self, argv: Sequence[str], log: Path, environ: Mapping[str, str] = ENVIRON
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self.environ = environ
        self.descriptors: Sequence[int] = ()  # passed on besides the one of readiness
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, notify: bool = False) -> None:
        """
        Start the process.

        Args:
            notify: Add ``-r FD`` and wait for the newline that tells readiness.
        """
        assert not self.running
        if not notify:
            self._spawn(self.argv, self.descriptors)
            return
        reader, writer = os.pipe()
        try:
            try:
                self._spawn([*self.argv, "-r", str(writer)], (writer, *self.descriptors))
            finally:
                os.close(writer)
            readable, _, _ = select.select([reader], [], [], START)
            told = os.read(reader, 1) if readable else b"(nothing in time)"
        finally:
            os.close(reader)
        if told != b"\n":
            self.stop()
            raise AssertionError(f"{self.argv} did not get ready:\n{self.output()}")

    def _spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environ,
                pass_fds=descriptors,
            )

    def signal(self, number: signal.Signals) -> None:
        """
        Send a signal to this process.
        """
        os.kill(self.pid, number)

    def wait(self) -> int:
        """
        Return the exit status of a process that ends by itself, or was told to end.
        """
        assert self._process is not None
        return self._process.wait(STOP)

    def kill(self) -> None:
        """
        End the process as a crash would.
        """
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """
        End the process, if it runs, and return its exit status.
        """
        if self._process is None:
            return 0
        if self.running:
            self._process.terminate()
        try:
            return self._process.wait(STOP)
        except subprocess.TimeoutExpired as error:
            self._process.send_signal(signal.SIGABRT)  # faulthandler tells where it is
            self._process.wait()
            raise AssertionError(f"{self.argv} did not end:\n{self.output()}") from error

    def output(self) -> str:
        """
        Return all that it wrote.
        """
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def ask(path: Path, map_name: str, key: str) -> str:
    """
    Return the answer of a socketmap server to one lookup.
    """
    request = f"{map_name} {key}".encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START)
        connection.connect(str(path))
        connection.sendall(b"%d:%s," % (len(request), request))
        with connection.makefile("rb") as stream:
            digits = b""
            while (octet := stream.read(1)) not in (b":", b""):
                digits += octet
            return stream.read(int(digits)).decode()


def metric(port: int, name: str, **labels: str) -> float:
    """
    Return a metric of the daemon, summed over all labels but those given.
    """
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=START) as answer:
        lines = answer.read().decode().splitlines()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted)
    )
