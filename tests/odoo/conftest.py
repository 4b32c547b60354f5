"""
The real Odoo that the tests share. ``docs/testing-with-odoo.md`` says how to name one.
"""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))  # the mail host
sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one

from database import GivenError
from given import Given
from mail_sink import MailSink
from odoo_server import OdooServer, served_odoo
from postfix import missing
from whole_site import WholeSite, whole_site


def pytest_pycollect_makemodule() -> None:
    """
    Leave this folder out, in one line, where no Odoo is named.
    """
    if not os.environ.get("ODOO_BIN"):
        pytest.skip("no Odoo in ODOO_BIN, see docs/testing-with-odoo.md")


@pytest.fixture(scope="session")
def given() -> Given:
    """
    The Odoo that the environment names.
    """
    try:
        return Given.read(os.environ)
    except GivenError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def sink() -> Iterator[MailSink]:
    """
    Where Odoo sends its mail to.
    """
    with MailSink() as sink:
        yield sink


@pytest.fixture(scope="session")
def odoo(given: Given, sink: MailSink) -> Iterator[OdooServer]:
    """
    An Odoo with the addon, running.
    """
    with served_odoo(given, sink.port) as server:
        yield server


@pytest.fixture(scope="session")
def _site(odoo: OdooServer, sink: MailSink) -> Iterator[WholeSite]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with whole_site(odoo, sink) as site:
        yield site


@pytest.fixture
def site(_site: WholeSite) -> WholeSite:
    """
    Postfix, the daemon and Odoo, all running and the queue empty.
    """
    _site.restore()
    return _site


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Show the end of every log with a failure.
    """
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(site, WholeSite):
        report.sections.extend(site.logs().items())
    return report
