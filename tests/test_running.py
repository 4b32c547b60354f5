"""
Tests for mailer.running.
"""

import errno
import gc
import io
import os
import subprocess
import sys

import pytest
from twisted.application.service import Service
from twisted.internet.defer import succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from mailer.errors import ListenError
from mailer.logs import LogLines
from mailer.running import SUM_UP, serve

LINES = LogLines(io.StringIO(), "text")


class Noting(Service):
    """
    Notes what happens to it.
    """

    def __init__(self):
        self.happened = []

    def privilegedStartService(self):
        self.happened.append("bound")

    def startService(self):
        super().startService()
        self.happened.append("started")

    def when_ready(self):
        return succeed(None)

    def stopService(self):
        super().stopService()
        self.happened.append("stopped")


def test_a_service_is_bound_then_started_and_stopped_at_the_end():
    """
    The stop is a trigger of the reactor's shutdown, which waits for it.
    """
    service, reactor = Noting(), MemoryReactorClock()
    assert serve(service, reactor, LINES) == 0
    assert ["bound", "started"] == service.happened
    ((stop, _, _),) = reactor.triggers["before"]["shutdown"]
    stop()
    assert service.happened[-1] == "stopped"


def test_a_service_collects_its_garbage():
    """
    Whoever started it has turned that off; what is there already is not searched again.
    """
    gc.disable()

    class Running(MemoryReactorClock):
        def run(self):
            collecting.append((gc.isenabled(), gc.get_freeze_count() > 0))

    collecting = []
    serve(Noting(), Running(), LINES)
    assert [(True, True)] == collecting


def test_readiness_is_a_newline_once_the_reactor_runs():
    """
    s6 reads it, then the end of the file.
    """
    reading, writing = os.pipe()
    serve(Noting(), MemoryReactorClock(), LINES, writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"\n"


@pytest.mark.parametrize("error", [ListenError("taken"), CannotListenError("", 1, OSError("x"))])
def test_who_cannot_listen_never_runs(error):
    """
    The reactor is not run, and nothing says ready.
    """

    class Failing(Noting):
        def privilegedStartService(self):
            raise error

    reactor = MemoryReactorClock()
    reading, writing = os.pipe()
    with pytest.raises(ListenError):
        serve(Failing(), reactor, LINES, writing)
    assert not reactor.hasRun
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b""


PROGRAM = """
import os, signal, sys
from mailer.running import run_coroutine, start_logging
from twisted.internet.task import deferLater

start_logging("text", "warn")

async def work(reactor):
    await deferLater(reactor, 0, lambda: None)
    if sys.argv[1] == "raise":
        raise LookupError("no such thing")
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGTERM)
        await deferLater(reactor, 60, lambda: None)
    return 42

try:
    print(run_coroutine(work))
except BaseException as error:
    print(repr(error))
"""


@pytest.mark.parametrize(
    ("what", "printed"),
    [
        ("return", "42"),
        ("raise", "LookupError('no such thing')"),
        ("kill", "KeyboardInterrupt()"),
    ],
)
def test_a_coroutine_is_run_to_its_end(what, printed):
    """
    Its result is returned, its error raised; a signal in between is an interrupt.
    """
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, what],
        capture_output=True,
        text=True,
        timeout=60,
        env=environ,
        check=False,
    )
    assert (printed + "\n", "") == (done.stdout, done.stderr)


def test_what_the_log_has_counted_is_written_now_and_then_and_in_the_end():
    """
    The sum of what came again and again does not wait for the next time.
    """
    sums = []

    class Lines(LogLines):
        def sum_up(self, now=None):
            sums.append(now)

    reactor = MemoryReactorClock()
    serve(Noting(), reactor, Lines(io.StringIO(), "text"))
    assert [None] == sums
    reactor.advance(SUM_UP)
    assert [None, SUM_UP] == sums


def test_a_log_that_could_not_be_written_is_tried_again():
    """
    A full disk does not end the sums for good.
    """
    sums = []

    class Lines(LogLines):
        def sum_up(self, now=None):
            sums.append(now)
            if now == SUM_UP:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    reactor = MemoryReactorClock()
    serve(Noting(), reactor, Lines(io.StringIO(), "text"))
    reactor.advance(SUM_UP)
    reactor.advance(SUM_UP)
    assert [None, SUM_UP, 2 * SUM_UP] == sums
