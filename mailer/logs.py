"""
Log lines on standard error: text for people, JSON for machines.
"""

import json
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
from zope.interface import provider

from mailer.errors import EarlyAnswerError

_PLAIN = (str, int, float, bool, type(None))


def make_observer(file: TextIO, style: str, level: str = "info") -> ILogObserver:
    """
    Return an observer that writes one line an event.

    Args:
        style: ``text`` or ``json``.
        level: The least that is written: debug, info, warn, error or critical.
    """
    formatter = {"text": text_line, "json": json_line}[style]

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None and failure.check(EarlyAnswerError):
            return  # of which Twisted says that it could not end the request
        file.write(formatter(event) + "\n")
        file.flush()

    least = LogLevel.lookupByName(level)
    predicate = LogLevelFilterPredicate(defaultLogLevel=least)
    # Twisted's own start and stop of factories and ports is of no interest.
    for namespace in ("twisted", "log_legacy"):
        predicate.setLogLevelForNamespace(namespace, max(least, LogLevel.warn))
    return FilteringLogObserver(observe, [predicate])


def text_line(event: LogEvent) -> str:
    """
    Return an event as ``time level message``; a traceback follows on lines of its own.
    """
    failure = event.get("log_failure")
    lines = failure.getTraceback().splitlines() if failure is not None else []
    # Indented, so that no text of an exception looks like a line of the log.
    trace = "".join(f"\n\t{line}" for line in lines)
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
    return json.dumps(line, ensure_ascii=False)


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return str(level.name) if level is not None else "info"


def _message(event: LogEvent) -> str:
    # A peer's line end must not begin a line of the log.
    return formatEvent(event).replace("\r", "\\r").replace("\n", "\\n")
