"""
Running the reactor, for a service or for one call.
"""

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from mailer.errors import ListenError
from mailer.logs import LogLines

SUM_UP = 15.0  # seconds between two looks for what the log has only counted

_T = TypeVar("_T")


def start_logging(style: str, level: str) -> LogLines:
    """
    Log to standard error.

    Args:
        level: Name of the least level that is written: debug, info, warn, error, critical.
    """
    lines = LogLines(sys.stderr, style, level)
    globalLogBeginner.beginLoggingTo([lines], redirectStandardIO=False)
    return lines


def serve(service: Any, reactor: Any, lines: LogLines, ready: int | None = None) -> int:
    """
    Run a service until SIGTERM.

    Args:
        service: An IService.
        lines: The log, whose sums are written now and then, and in the end.
        ready: A descriptor to which a newline is written, and which is then closed, as soon
            as the service's ``when_ready`` fires.

    Raises:
        ListenError: It cannot listen.
    """
    try:
        service.privilegedStartService()
        service.startService()
    except CannotListenError as error:
        raise ListenError(str(error)) from None
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    summing = LoopingCall(_sum_up, lines, reactor)
    summing.clock = reactor
    summing.start(SUM_UP, now=False)
    if ready is not None:
        reactor.callWhenRunning(lambda: service.when_ready().addCallback(_tell_ready, ready))
    gc.freeze()  # what is there now stays to the end
    gc.enable()
    reactor.run()
    lines.sum_up()
    return os.EX_OK


def run_coroutine(make: Callable[[Any], Coroutine[Deferred[Any], Any, _T]]) -> _T:
    """
    Run the reactor for one coroutine; return what it returns, or raise what it raises.
    """
    from twisted.internet import reactor

    results: list[_T | Failure] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(make(reactor))
        running.addBoth(results.append)
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not results:
        raise KeyboardInterrupt
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


def _sum_up(lines: LogLines, reactor: Any) -> None:
    with suppress(OSError):  # of a full disk, say; the next time may be better
        lines.sum_up(reactor.seconds())


def _tell_ready(_: None, descriptor: int) -> None:
    os.write(descriptor, b"\n")
    os.close(descriptor)
