"""
Tests for mailer.tap: what twistd uses.
"""

import signal

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError

from mailer.daemon import Daemon
from mailer.tap import Options, makeService


@pytest.fixture
def config_file(tmp_path):
    """
    A configuration that needs nothing outside the test's folder.
    """
    path = tmp_path / "odoo-mailer.yaml"
    path.write_text(
        f"host: http://127.0.0.1:1\ntoken: secret-token\ncache: {tmp_path}/cache\n"
        f"nexthop: lmtp:inet:127.0.0.1:24\nsocket: {tmp_path}/l\nsocketmap: {tmp_path}/m\n"
    )
    return path


@pytest.fixture
def hangup():
    """
    Puts the handler of SIGHUP back.
    """
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_twistd_knows_odoo_mailer():
    """
    The plug-in names this module.
    """
    modules = {plugin.tapname: plugin.module for plugin in getPlugins(IServiceMaker)}
    assert modules["odoo-mailer"] == "mailer.tap"


@pytest.mark.usefixtures("hangup")
def test_the_service_is_the_daemon(config_file):
    """
    twistd odoo-mailer -c runs the same service tree as the command.
    """
    options = Options()
    options.parseOptions(["-c", str(config_file)])
    service = makeService(options)
    assert isinstance(service, Daemon)
    assert not service.running
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL


def test_faults_of_the_configuration_are_usage_errors(config_file):
    """
    twistd prints every fault, without the token, and exits.
    """
    config_file.write_text("token: secret-token\nrefresh: never\n")
    with pytest.raises(UsageError) as caught:
        Options().parseOptions(["--config", str(config_file)])
    assert "host" in str(caught.value)
    assert f"{config_file}:2: refresh" in str(caught.value)
    assert "secret-token" not in str(caught.value)


def test_a_missing_file_is_a_usage_error(tmp_path):
    """
    Its name is in the message.
    """
    with pytest.raises(UsageError, match=r"none\.yaml: there is no such file"):
        Options().parseOptions(["-c", str(tmp_path / "none.yaml")])
