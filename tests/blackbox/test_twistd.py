"""
The daemon as a plugin of twistd; needs neither Postfix nor root.
"""

import grp
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from programs import Program, ask, odoo_mailer, run
from waiting import eventually, free_port

ADDRESS = "info@example.test"


@pytest.fixture
def twistd() -> str:
    """
    The command of the Twisted that the tests run with.
    """
    command = Path(sys.executable).with_name("twistd")
    if not command.exists():
        pytest.skip(f"no {command}")
    return str(command)


def test_listed(twistd: str) -> None:
    """
    ``twistd --help`` names the plugin.
    """
    result = run([twistd, "--help"])
    assert result.returncode == 0, result.stderr
    assert "odoo-mailer" in [line.split()[0] for line in result.stdout.splitlines() if line.strip()]


def test_answers(twistd: str, tmp_path: Path) -> None:
    """
    ``twistd -n odoo-mailer`` is the daemon: it fetches, and answers lookups, until SIGTERM.
    """
    config, socketmap = configure(tmp_path)
    aliases = tmp_path / "aliases.yaml"
    aliases.write_text(json.dumps({"aliases": {ADDRESS: []}}))
    sandbox_argv = odoo_mailer(
        config, "sandbox", "--aliases", str(aliases), "--mail", str(tmp_path / "mail")
    )
    sandbox = Program(sandbox_argv, tmp_path / "sandbox.log")
    argv = [twistd, "-n", "--pidfile=", "odoo-mailer", "-c", str(config)]
    daemon = Program(argv, tmp_path / "twistd.log")
    sandbox.start()
    try:
        daemon.start()
        eventually(lambda: answer(socketmap) == f"OK {ADDRESS}", f"an answer\n{daemon.output()}")
        # Since Twisted 21, twistd ends by the signal that stopped it.
        assert daemon.stop() in (0, -signal.SIGTERM), daemon.output()
    finally:
        daemon.stop()
        sandbox.stop()


def test_faulty_configuration(twistd: str, tmp_path: Path) -> None:
    """
    A faulty file is refused with its faults, and without a traceback.
    """
    config = tmp_path / "odoo-mailer.yaml"
    config.write_text("hsot: odoo.example.test\n")
    result = run([twistd, "-n", "--pidfile=", "odoo-mailer", "-c", str(config)])
    assert result.returncode != 0
    assert "hsot" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def configure(folder: Path) -> tuple[Path, Path]:
    """
    Write a configuration; return its path and that of the socketmap.
    """
    group = grp.getgrgid(os.getgid()).gr_name
    socketmap = folder / "map"
    config = folder / "odoo-mailer.yaml"
    settings = {
        "host": f"http://127.0.0.1:{free_port()}",
        "token": "a-token-of-the-tests",
        "socket": {"listen": str(folder / "lmtp"), "group": group},
        "socketmap": {"listen": str(socketmap), "group": group},
        "http": f"127.0.0.1:{free_port()}",
        "cache": str(folder / "cache"),
        "refresh": 1,
    }
    config.write_text(json.dumps(settings))
    return config, socketmap


def answer(socketmap: Path) -> str:
    """
    Return what is answered for the address; nothing while nobody listens.
    """
    try:
        return ask(socketmap, "aliases", ADDRESS)
    except OSError:
        return ""
