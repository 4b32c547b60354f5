"""
Log lines on standard error: text for people, JSON for machines.
"""

import json
import math
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from zope.interface import implementer

from mailer.errors import EarlyAnswerError
from mailer.log_repeats import Repeats
from mailer.visible import visible

_PLAIN = (str, int, float, bool, type(None))


@implementer(ILogObserver)
class LogLines:
    """
    An observer that writes one line an event, and a sum of many that are alike.

    Args:
        style: ``text`` or ``json``.
        level: The least that is written: debug, info, warn, error or critical.
    """

    def __init__(self, file: TextIO, style: str, level: str = "info") -> None:
        self._file = file
        self._format = {"text": text_line, "json": json_line}[style]
        self._repeats = Repeats(self._write)
        least = LogLevel.lookupByName(level)
        predicate = LogLevelFilterPredicate(defaultLogLevel=least)
        # Twisted's own start and stop of factories and ports is of no interest.
        for namespace in ("twisted", "log_legacy"):
            predicate.setLogLevelForNamespace(namespace, max(least, LogLevel.warn))
        self._filtered = FilteringLogObserver(self._repeats, [predicate])

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None and failure.check(EarlyAnswerError):
            return  # of which Twisted says that it could not end the request
        self._filtered(event)

    def sum_up(self, now: float = math.inf) -> None:
        """
        Write what was only counted so far, see ``Repeats.sum_up``.
        """
        self._repeats.sum_up(now)

    def _write(self, event: LogEvent) -> None:
        self._file.write(self._format(event) + "\n")
        self._file.flush()


def text_line(event: LogEvent) -> str:
    """
    Return an event as ``time level message``; a traceback follows on lines of its own.
    """
    failure = event.get("log_failure")
    lines = failure.getTraceback().splitlines() if failure is not None else []
    # Indented, so that no text of an exception looks like a line of the log.
    trace = "".join(f"\n\t{visible(line)}" for line in lines)
    return f"{_time(event)} {_level(event)} {_message(event)}{trace}"


def json_line(event: LogEvent) -> str:
    """
    Return an event as one JSON object: time, level, logger, message, and its own fields.
    """
    line: dict[str, Any] = {
        "time": _time(event),
        "level": _level(event),
        "logger": event.get("log_namespace", ""),
        "message": _message(event),
    }
    for key, value in event.items():
        if not key.startswith("log_") and key not in line and isinstance(value, _PLAIN):
            line[key] = value
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    return json.dumps(line)


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return str(level.name) if level is not None else "info"


def _message(event: LogEvent) -> str:
    # A peer's line end must not begin a line of the log, nor move a terminal's cursor.
    return visible(formatEvent(event))
