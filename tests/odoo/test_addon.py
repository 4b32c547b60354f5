"""
The addon's own tests.
"""

import re

import pytest
from given import Given
from odoo_server import faults, fresh_odoo

SUMMARY = re.compile(r"(\d+) failed, (\d+) error\(s\) of (\d+) tests")


def test_own_tests(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The addon installs into an empty database, and all of its own tests pass there.
    """
    with fresh_odoo(given.beside("addon")) as odoo:
        status = odoo.install("--test-enable", "--test-tags=/mail_delivery")
        log = odoo.log_text()
        summaries = [tuple(map(int, found)) for found in SUMMARY.findall(log)]
        assert summaries, faults(log)
        failed, errors, count = summaries[-1]
        assert (0, 0, 0) == (status, failed, errors), faults(log)
        assert count > 0, "the addon has no tests"
    with capsys.disabled():
        print(f"\n{count} tests of the addon passed in Odoo {given.series}")
