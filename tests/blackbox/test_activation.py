"""
The daemon under systemd's tools, with the units of ``docs/postfix.md``.
"""

import re
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from installation import Installation
from programs import Program, odoo_mailer, run
from socketmap_client import SocketmapClient
from waiting import eventually
from wiring import PAGE

pytestmark = pytest.mark.postfix

INFO = "info@example.test"

_UNIT = re.compile(r"^```ini\n# /etc/systemd/system/(?P<name>\S+)\n(?P<text>[^`]*)^```$", re.M)
_LISTEN = re.compile(r"^ListenStream=/var/spool/postfix/(.*)$", re.MULTILINE)


@pytest.fixture
def units() -> dict[str, str]:
    """
    The units on the page, by name.
    """
    found = {match["name"]: match["text"] for match in _UNIT.finditer(PAGE.read_text())}
    assert set(found) == {"odoo-mailer.socket", "odoo-mailer.service"}
    return found


def test_units(units: dict[str, str], tmp_path: Path) -> None:
    """
    systemd has nothing to say against them.
    """
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    for name, text in units.items():
        (tmp_path / name).write_text(text.replace("/usr/local/bin/odoo-mailer", "/bin/true"))
    argv = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in units)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.fixture
def activated(site: Installation, units: dict[str, str]) -> Iterator[Program]:
    """
    What starts the daemon at the first connection to one of the sockets of the unit.
    """
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("no systemd-socket-activate")
    site.daemon.stop()
    places = [site.postfix.queue / name for name in _LISTEN.findall(units["odoo-mailer.socket"])]
    argv = ["systemd-socket-activate", f"--fdname={':'.join('x' for _ in places)}"]
    argv += [f"--listen={place}" for place in reversed(places)] + ["-E", "PYTHONPATH"]
    program = Program([*argv, *odoo_mailer(site.config, "daemon")], site.folder / "activated.log")
    program.start()
    try:
        eventually(lambda: all(place.exists() for place in places), "the sockets")
        yield program
    finally:
        program.stop()
        for place in places:
            place.unlink(missing_ok=True)


def test_activated(site: Installation, activated: Program) -> None:
    """
    The daemon takes them for its own places, whatever their order; what asks it goes on to work.
    """
    with closing(SocketmapClient(site.socketmap, INFO)) as client:
        assert client.lookup() == ("ok", 0), activated.output()
    with smtplib.LMTP(str(site.socketmap.with_name("odoo-lmtp"))) as session:
        assert session.ehlo("client.test")[0] == 250
    result = run(odoo_mailer(site.config, "lookup", "aliases", INFO))
    assert (result.returncode, result.stdout) == (0, f"OK {INFO}\n")
