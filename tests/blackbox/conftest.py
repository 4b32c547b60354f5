"""
The installation that the tests share.
"""

import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one

from installation import Installation
from postfix import missing

LINES = 40  # of each log that are shown with a failure


@pytest.fixture(scope="session")
def _installation() -> Iterator[Installation]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    # Not pytest's own folder: user postfix has to get in, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="odoo-mailer-", dir="/tmp"))
    folder.chmod(0o755)
    installation = Installation(folder)
    try:
        installation.install()
        yield installation
    finally:
        installation.stop()
        shutil.rmtree(folder)


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
        for name, text in (
            ("mail.log", installation.postfix.log_text()),
            ("daemon", installation.daemon.output()),
            ("sandbox", installation.sandbox.output()),
        ):
            report.sections.append((name, "\n".join(text.splitlines()[-LINES:])))
    return report
