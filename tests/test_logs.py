"""
Tests for mailer.logs.
"""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from mailer.config import Server, Token
from mailer.errors import EarlyAnswerError
from mailer.logs import LogLines
from mailer.visible import visible

SERVER = Server("odoo", "https://odoo.example.com", Token("very-secret"))
TIME = 1_700_000_000.1234
STAMP = "2023-11-14T22:13:20.123Z"
LEVELS = ["debug", "info", "warn", "error", "critical"]
NASTY = st.text(st.characters() | st.sampled_from("\r\n\x00\x1b\x85\u2028{}\\"), max_size=20)


def written(style, emit, level="info", namespace="mailer.delivery"):
    """
    Return what is written of the events that a function emits.
    """
    file = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", newline="")
    observe = LogLines(file, style, level)
    emit(Logger(namespace, observer=lambda event: observe({**event, "log_time": TIME})))
    return file.buffer.getvalue().decode()


def lines(text):
    """
    Return the lines of a text, of which each has its end.
    """
    *found, rest = text.split("\n")
    assert rest == ""
    return found


def failure(text="boom"):
    """
    Return the failure of a function that had a secret in hand.
    """

    def fail(token):
        raise ValueError(text)

    try:
        fail(SERVER.token.value)
    except ValueError:
        return Failure()


def test_text():
    """
    A line of text is time, level and message.
    """
    found = written("text", lambda log: log.warn("deferred {rcpt!r}: {code}", rcpt="a@x", code=451))
    assert f"{STAMP} warn deferred 'a@x': 451\n" == found


def test_json():
    """
    A line of JSON has time, level, logger and message, and the fields of the event.
    """
    found = written("json", lambda log: log.info("to {server}", server="odoo", size=5, ok=True))
    expected = {
        "time": STAMP,
        "level": "info",
        "logger": "mailer.delivery",
        "message": "to odoo",
        "server": "odoo",
        "size": 5,
        "ok": True,
    }
    assert [expected] == [json.loads(line) for line in lines(found)]


def test_fields_do_not_replace():
    """
    A field does not take the place of time, logger or message.
    """
    fields = {"time": 0, "logger": "other", "message": "forged"}
    found = json.loads(written("json", lambda log: log.info("real", **fields)))
    expected = {"time": STAMP, "level": "info", "logger": "mailer.delivery", "message": "real"}
    assert expected == found


def test_other_objects_are_left_out():
    """
    What is neither text nor number is not written as a field.
    """
    found = json.loads(written("json", lambda log: log.info("x", server=SERVER, octets=b"x")))
    assert {"time", "level", "logger", "message"} == found.keys()


@pytest.mark.parametrize("style", ["text", "json"])
@given(NASTY, NASTY)
def test_one_line_an_event(style, sender, text):
    """
    Whatever a peer sends, an event is one line.
    """
    found = written(
        style, lambda log: log.info("from=<{sender}>: {text!r}", sender=sender, text=text)
    )
    assert 1 == len(lines(found))
    assert "\r" not in found


@given(NASTY)
def test_json_parses(sender):
    """
    Whatever a peer sends, the line is JSON that says just that.
    """
    found = written("json", lambda log: log.info("{sender}", sender=sender))
    assert sender == json.loads(found)["sender"]


@given(NASTY)
def test_peer_data_is_no_format(text):
    """
    Braces in a field are not looked up, and what would move a cursor is shown.
    """
    found = written("text", lambda log: log.info("{text}", text=text))
    assert f"{STAMP} info {visible(text)}\n" == found
    assert not {"\x1b", "\x85", "\u2028"} & set(found)


@pytest.mark.parametrize("style", ["text", "json"])
def test_octets_that_are_no_utf_8(style):
    """
    An address of other octets does not keep the line from being written.
    """
    found = written(style, lambda log: log.info("{sender}", sender="\udce9@x"))
    assert "\\udce9@x" in found


@pytest.mark.parametrize("level", LEVELS)
def test_levels(level):
    """
    What is less than the level asked for is not written.
    """

    def emit(log):
        for name in LEVELS:
            log.emit(LogLevel.lookupByName(name), "x")

    found = [line.split(" ")[1] for line in lines(written("text", emit, level))]
    assert LEVELS[LEVELS.index(level) :] == found


@pytest.mark.parametrize("namespace", ["twisted.internet.tcp", "twisted.web.http", "log_legacy"])
@pytest.mark.parametrize(
    ("level", "expected"), [("debug", ["warn"]), ("info", ["warn"]), ("critical", [])]
)
def test_twisted_is_quiet(namespace, level, expected):
    """
    Of Twisted itself only warnings and worse are written, and less where less is asked for.
    """

    def emit(log):
        log.debug("debug")
        log.info("Starting factory")
        log.warn("warning")

    found = lines(written("text", emit, level, namespace=namespace))
    assert expected == [line.split(" ")[1] for line in found]


def test_traceback_as_text():
    """
    A failure is one line, its traceback follows.
    """
    found = lines(written("text", lambda log: log.failure("delivery to {s}", failure(), s="odoo")))
    assert f"{STAMP} critical delivery to odoo" == found[0]
    assert found[1].startswith("\tTraceback")
    assert "\tbuiltins.ValueError: boom" == found[-1]


def test_traceback_cannot_forge_a_line():
    """
    The text of an exception, which may hold peer data, does not begin a line of the log.
    """
    forged = f"{STAMP} info forged"
    found = lines(written("text", lambda log: log.failure("x", failure(f"boom\n{forged}"))))
    assert [] == [line for line in found[1:] if line.startswith(STAMP)]


def test_traceback_as_json():
    """
    In JSON the traceback is a field, on the same line.
    """
    found = lines(written("json", lambda log: log.failure("x", failure("boom\nboom"))))
    assert 1 == len(found)
    assert "boom\nboom" in json.loads(found[0])["traceback"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_token(style):
    """
    The token shows neither in a message, nor in a field, nor in a traceback.
    """

    def emit(log):
        log.info("{server} {server!r} {token} {token!r}", server=SERVER, token=SERVER.token)
        log.failure("{server}", failure(), server=SERVER)

    found = written(style, emit, "debug")
    assert "Token(***)" in found
    assert "very-secret" not in found


@pytest.mark.parametrize("style", ["text", "json"])
def test_bad_event(style):
    """
    An event that cannot be formatted is still a line.
    """
    found = lines(written(style, lambda log: log.info("{missing.field[}\n", other=1)))
    assert 1 == len(found)


@pytest.mark.parametrize("style", ["text", "json"])
def test_bare_event(style):
    """
    An event of which nothing is known is still a line.
    """
    file = io.StringIO()
    LogLines(file, style)({"log_level": LogLevel.info, "log_namespace": "x"})
    assert 1 == len(lines(file.getvalue()))
    assert "1970-01-01T00:00:00.000Z" in file.getvalue()


def test_flushed():
    """
    Each line is out at once, not when a buffer is full.
    """
    raw = io.BytesIO()
    file = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", write_through=False)
    observe = LogLines(file, "text")
    observe({"log_level": LogLevel.info, "log_format": "now", "log_namespace": "x"})
    assert raw.getvalue().endswith(b"info now\n")


@pytest.mark.parametrize("style", ["text", "json"])
def test_early_answer(style):
    """
    That a server answered before the end of a message is no failure; others are written.
    """
    early = Failure(EarlyAnswerError())
    assert "" == written(style, lambda log: log.failure("x", early), namespace="twisted.web")
    assert "boom" in written(style, lambda log: log.failure("x", failure()), namespace="twisted")
