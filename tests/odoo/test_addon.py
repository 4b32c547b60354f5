"""
The addon's own tests, and its end.
"""

import re
import subprocess
from collections.abc import Iterator

import pytest
from given import Given
from odoo_server import ENVIRON, INSTALL, OdooServer, faults, fresh_odoo

SUMMARY = re.compile(r"(\d+) failed, (\d+) error\(s\) of (\d+) tests")
UNINSTALL = """
env["ir.module.module"].search([("name", "=", "mail_delivery")]).button_immediate_uninstall()
model = env["ir.model"]._get_id("res.partner")
alias = env["mail.alias"].create({"alias_name": "later", "alias_model_id": model})
alias.alias_name = "later.still"
env.cr.execute("SELECT relname FROM pg_class WHERE relname LIKE 'mail_delivery%'")
left = env.cr.fetchall()
env.cr.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'mail_delivery%'")
left += env.cr.fetchall()
print("LEFT", left)
"""


@pytest.fixture(scope="module")
def tested(given: Given) -> Iterator[tuple[OdooServer, int]]:
    """
    An Odoo that installed the addon with its tests into an empty database, and how that ended.
    """
    with fresh_odoo(given.beside("addon")) as odoo:
        yield odoo, odoo.install("--test-enable", "--test-tags=/mail_delivery")


def test_own_tests(
    tested: tuple[OdooServer, int], given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The addon installs into an empty database, and all of its own tests pass there.
    """
    odoo, status = tested
    log = odoo.log_text()
    summaries = [tuple(map(int, found)) for found in SUMMARY.findall(log)]
    assert summaries, faults(log)
    failed, errors, count = summaries[-1]
    assert (0, 0, 0) == (status, failed, errors), faults(log)
    assert count > 0, "the addon has no tests"
    with capsys.disabled():
        print(f"\n{count} tests of the addon passed in Odoo {given.series}")


def test_uninstall(tested: tuple[OdooServer, int]) -> None:
    """
    Uninstalled, the addon leaves nothing in the database, and aliases can be written.
    """
    odoo, _status = tested
    run = subprocess.run(
        odoo.shell_command(),
        input=UNINSTALL,
        capture_output=True,
        text=True,
        env=ENVIRON,
        timeout=INSTALL,
    )
    assert "LEFT []" in run.stdout, run.stdout + run.stderr
