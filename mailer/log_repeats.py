"""
Keeps the log small when the same thing goes wrong again and again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

PASSED = 10  # events of one kind that are written in a period
PERIOD = 60.0  # seconds

_Kind = tuple[Any, ...]


@dataclass(slots=True)
class _Count:
    """
    What came of one kind since its period began.
    """

    until: float
    count: int = 0
    last: LogEvent | None = None  # of those that were not written


@implementer(ILogObserver)
class Repeats:
    """
    Passes the first events of a kind on, and of the others a sum.

    A kind is a place in the code that warns or fails. Lines about a mail,
    which have a ``queue_id``, are never held back: their number is that of
    the mails.

    Args:
        emit: Writes an event.
    """

    def __init__(self, emit: Callable[[LogEvent], None]) -> None:
        self._emit = emit
        self._counts: dict[_Kind, _Count] = {}
        self._due = math.inf

    def __call__(self, event: LogEvent) -> None:
        now = event.get("log_time", 0.0)
        if now >= self._due:
            self.sum_up(now)
        kind = _kind(event)
        if kind is None:
            self._emit(event)
            return
        count = self._counts.get(kind)
        if count is None:
            count = self._counts[kind] = _Count(now + PERIOD)
            self._due = min(self._due, count.until)
        count.count += 1
        if count.count <= PASSED:
            self._emit(event)
        else:
            count.last = event

    def sum_up(self, now: float = math.inf) -> None:
        """
        Write the sums of the periods that are over; of all, if no time is given.

        Args:
            now: Seconds, Unix time.
        """
        over = {kind: count for kind, count in self._counts.items() if now >= count.until}
        for kind, count in over.items():
            del self._counts[kind]
            if count.last is not None:
                self._emit(_sum(count))
        self._due = min((count.until for count in self._counts.values()), default=math.inf)


def _kind(event: LogEvent) -> _Kind | None:
    """
    Return what events of the same kind have in common; None for what is always written.
    """
    level = event.get("log_level", LogLevel.info)
    has_failure = "log_failure" in event
    if level < LogLevel.warn or ("queue_id" in event and not has_failure):
        return None
    return event.get("log_namespace"), event.get("log_format"), level, has_failure


def _sum(count: _Count) -> LogEvent:
    last = count.last or {}
    return {
        "log_time": last.get("log_time", 0.0),
        "log_level": last.get("log_level"),
        "log_namespace": last.get("log_namespace", ""),
        "log_format": "{count} more like this in {period:.0f} s: {last}",
        "count": count.count - PASSED,
        "period": PERIOD,
        "last": formatEvent(last),
    }
