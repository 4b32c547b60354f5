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


def _module(name):
    path = Path(__file__).with_name(f"{name}.py")
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
