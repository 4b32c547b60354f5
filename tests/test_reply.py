"""
Tests for mailer.reply.
"""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer import reply
from mailer.reply import MAX_TEXT, Reply, exit_status, printable

CONSTANTS = {name: value for name, value in vars(reply).items() if isinstance(value, Reply)}


def test_a_reply_is_one_line():
    """
    Code, status and text are joined by spaces and end in CRLF.
    """
    assert b"550 5.1.1 No such user\r\n" == Reply(550, "5.1.1", "No such user").line()


def test_a_reply_may_lack_status_and_text():
    """
    No space stands for what is not there.
    """
    assert b"354 go\r\n" == Reply(354, "", "go").line()
    assert "250 2.0.0" == str(Reply(250, "2.0.0", ""))


@pytest.mark.parametrize("code", [-1, 0, 199, 600, 2500])
def test_codes_out_of_range(code):
    """
    A reply code is 200 to 599.
    """
    with pytest.raises(ValueError, match="200 to 599"):
        Reply(code, "", "")


@pytest.mark.parametrize(
    "status",
    [
        "2.1.1",
        "4.1.1",
        "5",
        "5.1",
        "5.1.",
        "5.1.1.1",
        "5.1.1 ",
        " 5.1.1",
        "5.01.1",
        "5.1.1000",
        "5.1.-1",
        "5.1.1\n",
        "5.1.1\u0661",
        "x",
    ],
)
def test_status_that_does_not_go_with_the_code(status):
    """
    The status has three numbers, the first of them the code's own.
    """
    with pytest.raises(ValueError, match="does not go with code 550"):
        Reply(550, status, "")


def test_class_three_has_no_status():
    """
    RFC 3463 knows no class but 2, 4 and 5.
    """
    with pytest.raises(ValueError, match="does not go with code 354"):
        Reply(354, "3.0.0", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\r\nlines", "two lines"),
        ("  much \t space\u00a0here ", "much space here"),
        ("nul \x00 bell \x07 del \x7f", "nul ? bell ? del ?"),
        ("\u00e9t\u00e9 \U0001f600", "?t? ?"),
        ("x" * 600, "x" * 500),
        ("", ""),
    ],
)
def test_text_is_made_printable(text, shown):
    """
    A reply's text is one line of printable ASCII, at most 500 octets.
    """
    assert shown == printable(text) == Reply(250, "2.0.0", text).text


@given(st.text())
@example("x" * 499 + " y")
def test_any_text_is_printable_or_made_so(text):
    """
    Only printable ASCII is left, in one line, not too long.
    """
    shown = printable(text)
    assert len(shown) <= MAX_TEXT
    assert all(" " <= c <= "~" for c in shown)


@given(st.integers(), st.text() | st.from_regex(r"[245]\.\d+\.\d+"), st.text())
@example(550, "5.1.1\u0661", "")
@example(599, "5.999.999", "x" * 500)
def test_any_reply_is_a_line_or_a_value_error(code, status, text):
    """
    A reply that can be made fits RFC 5321's 512 octets and has one line end.
    """
    try:
        made = Reply(code, status, text)
    except ValueError:
        return
    line = made.line()
    assert line.isascii()
    assert line.find(b"\r\n") == len(line) - 2
    assert line.count(b"\r") == line.count(b"\n") == 1
    assert len(line) <= 3 + 1 + 9 + 1 + MAX_TEXT + 2


@pytest.mark.parametrize(
    ("code", "success", "permanent"),
    [
        (200, True, False),
        (250, True, False),
        (354, False, False),
        (421, False, False),
        (451, False, False),
        (500, False, True),
        (599, False, True),
    ],
)
def test_what_a_code_means(code, success, permanent):
    """
    Only 2xx is success, only 5xx bounces.
    """
    made = Reply(code, "", "")
    assert (success, permanent) == (made.is_success, made.is_permanent)


@pytest.mark.parametrize(
    ("code", "status", "value"),
    [
        (250, "2.0.0", os.EX_OK),
        (250, "", os.EX_OK),
        (421, "4.3.2", os.EX_TEMPFAIL),
        (451, "4.1.1", os.EX_TEMPFAIL),
        (354, "", os.EX_TEMPFAIL),
        (550, "5.1.1", os.EX_NOUSER),
        (550, "5.1.10", os.EX_NOUSER),
        (554, "5.6.0", os.EX_DATAERR),
        (550, "5.7.1", os.EX_NOPERM),
        (552, "5.3.4", os.EX_UNAVAILABLE),
        (554, "5.4.6", os.EX_UNAVAILABLE),
        (550, "5.10.1", os.EX_UNAVAILABLE),
        (550, "", os.EX_UNAVAILABLE),
    ],
)
def test_exit_status(code, status, value):
    """
    pipe(8) is told the same as the reply says, by the class of its status.
    """
    assert value == exit_status(Reply(code, status, ""))


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_end_in_their_code(name):
    """
    The name of each constant tells its code, its text is as written.
    """
    constant = CONSTANTS[name]
    assert name.endswith(f"_{constant.code}")
    assert constant.text
    assert bool(constant.status) == (constant.code != 354)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("TIMEOUT_421", "4.4.2"),
        ("NO_LIST_451", "4.3.0"),
        ("NOT_UNDERSTOOD_451", "4.3.0"),
        ("BUSY_451", "4.3.2"),
        ("BODY_LIMIT_451", "4.3.4"),
        ("NOT_FOUND_451", "4.3.5"),
        ("UNREACHABLE_451", "4.4.1"),
        ("TOKEN_REFUSED_451", "4.7.0"),
        ("TLS_FAILED_451", "4.7.5"),
        ("TOO_MANY_RECIPIENTS_452", "4.5.3"),
        ("UNKNOWN_RECIPIENT_550", "5.1.1"),
        ("MESSAGE_TOO_LARGE_552", "5.3.4"),
        ("MAIL_LOOP_554", "5.4.6"),
        ("RECIPIENT_OK_250", "2.1.5"),
        ("OK_250", "2.0.0"),
    ],
)
def test_promised_statuses(name, status):
    """
    These statuses are promised to administrators.
    """
    assert status == CONSTANTS[name].status
