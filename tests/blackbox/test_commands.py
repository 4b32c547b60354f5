"""
The commands for the administrator, beside a running installation.
"""

import re
from pathlib import Path

import pytest
from installation import Installation
from mail_host import SENDER, compose
from programs import odoo_mailer, run

pytestmark = pytest.mark.postfix

INFO = "info@example.test"


@pytest.mark.parametrize(
    ("map_name", "key", "status", "answer"),
    [
        ("aliases", "Info+x@example.test", 0, "OK Info+x@example.test"),
        ("transport", INFO, 0, "OK lmtp:unix:private/odoo-lmtp"),
        ("aliases", "nobody@example.test", 1, "NOTFOUND"),
    ],
)
def test_lookup(site: Installation, map_name: str, key: str, status: int, answer: str) -> None:
    """
    ``lookup`` shows what Postfix would be answered.
    """
    result = run(odoo_mailer(site.config, "lookup", map_name, key))
    assert (result.returncode, result.stdout.strip()) == (status, answer), result.stderr


def test_refresh(site: Installation) -> None:
    """
    ``refresh`` returns when the list is in force.
    """
    before = site.metric("refresh_total")
    result = run(odoo_mailer(site.config, "refresh"))
    assert result.returncode == 0, result.stderr
    assert site.metric("refresh_total") == before + 1


def test_refresh_while_odoo_is_down(site: Installation) -> None:
    """
    ``refresh`` says why there is no new list.
    """
    site.sandbox.stop()
    result = run(odoo_mailer(site.config, "refresh"))
    assert result.returncode == 75
    assert "refused" in (result.stdout + result.stderr).lower()


@pytest.mark.parametrize("argv", [["lookup", "aliases", INFO], ["refresh"]])
def test_daemon_down(site: Installation, argv: list[str]) -> None:
    """
    Commands that ask the daemon say that it does not run.
    """
    site.daemon.stop()
    result = run(odoo_mailer(site.config, *argv))
    assert result.returncode == 75
    assert "running" in result.stderr
    assert "Traceback" not in result.stderr


def test_postfix_config(site: Installation) -> None:
    """
    ``postfix-config`` derives from the queue folder what these tests run with.
    """
    config = derived(site)
    result = run(
        odoo_mailer(config, "postfix-config"), environ={"MAIL_CONFIG": str(site.postfix.config)}
    )
    assert result.returncode == 0, result.stderr
    values = dict(re.findall(r"^(\w+) =(.*)$", result.stdout, re.MULTILINE))
    assert {name: value.strip() for name, value in values.items()} == {
        "virtual_alias_maps": "socketmap:unix:private/odoo-map:aliases",
        "transport_maps": "socketmap:unix:private/odoo-map:transport, "
        f"texthash:{site.postfix.config}/transport",
        "virtual_alias_domains": "",
    }


@pytest.mark.parametrize(
    ("command", "answer"), [("aliases", INFO), ("transport", "lmtp:unix:private/odoo-lmtp")]
)
def test_map_file(site: Installation, command: str, answer: str) -> None:
    """
    ``aliases`` and ``transport`` make files that Postfix looks up in.
    """
    config = derived(site)
    path = str(site.folder / ("virtual_alias_odoo" if command == "aliases" else "transport_odoo"))
    result = run(odoo_mailer(config, command), environ={"MAIL_CONFIG": str(site.postfix.config)})
    assert result.returncode == 0, result.stderr
    assert Path(path).read_text() == result.stdout
    found = site.postfix.command("postmap", "-q", INFO, path, check=False)
    assert (found.stdout.decode().strip(), found.stderr) == (answer, b"")


def test_map_file_while_odoo_is_down(site: Installation) -> None:
    """
    A map file outlives an Odoo that is down.
    """
    environ = {"MAIL_CONFIG": str(site.postfix.config)}
    run(odoo_mailer(site.config, "aliases"), environ=environ)
    before = (site.folder / "virtual_alias_odoo").read_bytes()
    site.sandbox.stop()
    result = run(odoo_mailer(site.config, "aliases"), environ=environ)
    assert (result.returncode, result.stdout) == (75, ""), result.stderr
    assert (site.folder / "virtual_alias_odoo").read_bytes() == before


def test_pipe_by_hand(site: Installation) -> None:
    """
    ``pipe`` prints one line with the status that pipe(8) passes on.
    """
    mail = compose()
    argv = odoo_mailer(site.config, "pipe", "--sender", SENDER, "--recipient", INFO)
    result = run(argv, stdin=mail.content)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"2\.\d\.\d .+\n", result.stdout)
    assert [kept.recipient for kept in site.kept(mail)] == [INFO]


def derived(site: Installation) -> Path:
    """
    Return a configuration that leaves the next hop to the program.
    """
    config = site.folder / "derived.yaml"
    config.write_text(site.settings(nexthop=None))
    return config
