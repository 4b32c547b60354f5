"""
Hypothesis profiles: the same examples every time in CI, fresh ones at a desk.
"""

import gc
import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import globalLogPublisher

from mailer.errors import EarlyAnswerError

settings.register_profile(
    "desk", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture(autouse=True)
def garbage():
    """
    Undoes what a command does to the garbage collector, which is the process's own.
    """
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture(scope="session")
def fakes():
    """
    The stand-ins of ``fakes.py``, beside this file.
    """
    return _module("fakes")


@pytest.fixture(scope="session")
def sites():
    """
    The parts of the program over stand-ins, of ``sites.py``, beside this file.
    """
    return _module("sites")


@pytest.fixture(scope="session")
def certificates():
    """
    The authorities of ``blackbox/certificates.py``.
    """
    return _module("blackbox/certificates")


def _module(name):
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def logged():
    """
    The events that are logged during the test, in order.
    """
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def connect(logged):
    """
    Makes a ``Wire`` of ``wire.py``, beside this file; in the end no failure may have been logged.
    """
    path = Path(__file__).with_name("wire.py")
    spec = importlib.util.spec_from_file_location("wire", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wires = []

    def make(*args, **kwargs):
        wires.append(module.Wire(*args, **kwargs))
        return wires[-1]

    yield make
    for wire in wires:
        wire.end()
    gc.collect(1)
    assert [] == [
        event["log_failure"]
        for event in logged
        if "log_failure" in event and not event["log_failure"].check(EarlyAnswerError)
    ]


@pytest.fixture
def make_site(fakes, tmp_path, sites):
    """
    Makes a daemon in memory with this configuration.
    """
    return lambda **changes: sites.DaemonSite(fakes, tmp_path / "cache", **changes)


@pytest.fixture
def running(make_site):
    """
    A daemon that has fetched its first list.
    """
    site = make_site()
    site.start()
    site.odoo.run()
    return site


@pytest.fixture
def lists(fakes, tmp_path, sites):
    """
    One server, no list loaded yet.
    """
    return sites.Lists(fakes, tmp_path)


@pytest.fixture
def loaded(lists, sites):
    """
    One server, ten addresses in force.
    """
    assert lists.fetch(sites.page_of(sites.TEN)).result == "changed"
    return lists
