"""
The installation that the tests share.
"""

import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one

from installation import Installation
from mail_host import short_folder
from postfix import missing


@pytest.fixture(scope="session")
def _installation() -> Iterator[Installation]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with short_folder() as folder:
        installation = Installation(folder)
        try:
            installation.install()
            yield installation
        finally:
            installation.stop()


@pytest.fixture
def site(_installation: Installation) -> Installation:
    """
    A private Postfix, the daemon and the stand-in for Odoo, all running and the queue empty.
    """
    _installation.restore()
    return _installation


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Show the end of every log with a failure.
    """
    report = yield
    installation = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(installation, Installation):
        report.sections.extend(installation.logs().items())
    return report
