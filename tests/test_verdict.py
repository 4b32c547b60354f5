"""
Tests for mailer.verdict.
"""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.errors import (
    MailerError,
    NoAnswerError,
    TemporaryError,
    TlsError,
    UnreachableError,
)
from mailer.reply import OK_250, Reply, exit_status
from mailer.verdict import (
    Answer,
    all_replies,
    parse_retry_after,
    replies_for,
    reply_for_error,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
VERDICTS = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from([199, 200, 250, 299, 300, 354, 450, 550, 599, 600]) | JSON_VALUES,
        "status": st.sampled_from(["", "2.0.0", "4.0.0", "5.1.1", "5.1.1\u0661"]) | JSON_VALUES,
        "text": JSON_VALUES,
    },
)


def marked(code=200, **verdicts):
    """
    Return a marked answer with a verdict for each local part at x.
    """
    recipients = {f"{local}@x": verdict for local, verdict in verdicts.items()}
    return Answer(code, marked=True, body=json.dumps({"recipients": recipients}).encode())


def verdict(code, status, text="text"):
    """
    Return one verdict as the addon writes it.
    """
    return {"code": code, "status": status, "text": text}


def reply_for(answer, marked_before=False):
    """
    Return code and status for the recipient a@x, and the exit of pipe.
    """
    reply = replies_for(answer, ["a@x"], marked_before)["a@x"]
    return reply.code, reply.status, exit_status(reply)


@pytest.mark.parametrize(
    ("code", "status", "pipe"),
    [
        (250, "2.0.0", 0),
        (250, "2.1.5", 0),
        (550, "5.1.1", 67),
        (554, "5.6.0", 65),
        (550, "5.7.1", 77),
        (554, "5.4.6", 69),
        (451, "4.3.0", 75),
    ],
)
@pytest.mark.parametrize("http", [200, 400, 404, 413, 422, 500, 503])
def test_a_marked_verdict_is_final(http, code, status, pipe):
    """
    What Odoo itself says of a recipient counts, whatever the HTTP status.
    """
    assert (code, status, pipe) == reply_for(marked(http, a=verdict(code, status)), True)


TABLE = [
    (200, False, False, (250, "2.0.0", 0)),
    (200, False, True, (451, "4.3.0", 75)),
    (401, None, None, (451, "4.7.0", 75)),
    (403, None, None, (451, "4.7.0", 75)),
    (404, None, None, (451, "4.3.5", 75)),
    (405, None, None, (451, "4.3.5", 75)),
    (300, None, None, (451, "4.3.5", 75)),
    (301, None, None, (451, "4.3.5", 75)),
    (302, None, None, (451, "4.3.5", 75)),
    (303, None, None, (451, "4.3.5", 75)),
    (307, None, None, (451, "4.3.5", 75)),
    (399, None, None, (451, "4.3.5", 75)),
    (413, False, None, (451, "4.3.4", 75)),
    (413, True, None, (451, "4.3.0", 75)),
    (409, None, None, (451, "4.3.2", 75)),
    (429, None, None, (451, "4.3.2", 75)),
    (503, None, None, (451, "4.3.2", 75)),
    (400, None, None, (451, "4.3.0", 75)),
    (410, None, None, (451, "4.3.0", 75)),
    (422, None, None, (451, "4.3.0", 75)),
    (500, None, None, (451, "4.3.0", 75)),
    (502, None, None, (451, "4.3.0", 75)),
    (504, None, None, (451, "4.3.0", 75)),
    (201, None, None, (451, "4.3.0", 75)),
    (204, None, None, (451, "4.3.0", 75)),
    (200, True, None, (451, "4.3.0", 75)),
    (100, None, None, (451, "4.3.0", 75)),
    (999, None, None, (451, "4.3.0", 75)),
]


@pytest.mark.parametrize(("http", "mark", "before", "expected"), TABLE)
def test_answers_without_a_verdict(http, mark, before, expected):
    """
    The answer table: whatever is not Odoo's own verdict leaves the mail in the queue.

    None in the table: with and without the mark, with and without one before.
    """
    for is_marked in (False, True) if mark is None else (mark,):
        for marked_before in (False, True) if before is None else (before,):
            assert expected == reply_for(Answer(http, is_marked, b"{}"), marked_before)


def test_each_recipient_gets_its_own_verdict():
    """
    Recipients of whom a marked answer says nothing stay in the queue, others are final.
    """
    answer = marked(a=verdict(250, "2.0.0", "stored"), b=verdict(550, "5.1.1", "no\nroute"))
    replies = replies_for(answer, iter(["a@x", "b@x", "c@x"]), True)
    assert ["a@x", "b@x", "c@x"] == list(replies)
    assert Reply(250, "2.0.0", "stored") == replies["a@x"]
    assert Reply(550, "5.1.1", "no route") == replies["b@x"]
    assert (451, "4.3.0") == (replies["c@x"].code, replies["c@x"].status)


def test_addresses_of_verdicts_are_folded():
    """
    Odoo may write the address in any case.
    """
    body = json.dumps({"recipients": {"A@X": verdict(550, "5.1.1")}}).encode()
    assert (550, "5.1.1", 67) == reply_for(Answer(200, True, body))


def test_a_body_without_mark_is_no_verdict():
    """
    JSON of an unmarked answer decides nothing, and nothing of it is copied.
    """
    body = json.dumps({"recipients": {"a@x": verdict(550, "5.1.1", "s3cret")}}).encode()
    assert {"a@x": OK_250} == replies_for(Answer(200, False, body), ["a@x"], False)
    assert (451, "4.3.0", 75) == reply_for(Answer(200, False, body), True)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        3,
        "550 5.1.1 no",
        [550, "5.1.1", "no"],
        {},
        {"code": 550, "status": "5.1.1"},
        verdict("550", "5.1.1"),
        verdict(550.0, "5.1.1"),
        verdict(True, "5.1.1"),
        verdict(550, None),
        verdict(550, ""),
        verdict(550, "2.0.0"),
        verdict(550, "5.1"),
        verdict(550, "5.1.1", None),
        verdict(354, ""),
        verdict(354, "3.0.0"),
        verdict(199, "2.0.0"),
        verdict(600, "5.0.0"),
        verdict(-250, "2.0.0"),
        verdict(550, "5.1.1\u0661"),
    ],
)
def test_a_broken_verdict_is_none(wrong):
    """
    A verdict that is not exactly one leaves the mail of that recipient in the queue.
    """
    replies = replies_for(marked(a=wrong, b=verdict(250, "2.0.0")), ["a@x", "b@x"], True)
    assert [451, 250] == [reply.code for reply in replies.values()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"\xff",
        b"null",
        b"[]",
        b'"recipients"',
        b"{}",
        b'{"recipients": null}',
        b'{"recipients": []}',
        b'{"recipients": {}}',
        b'{"recipients": {"a@x": {"code": 250',
        b"[" * 100_000,
    ],
)
def test_a_marked_answer_without_verdicts_is_temporary(body):
    """
    The mark alone says nothing of any recipient.
    """
    assert (451, "4.3.0", 75) == reply_for(Answer(200, True, body))


def test_all_replies_of_a_verdict():
    """
    Where Odoo chose the recipients, each verdict of its is given, and nothing besides.
    """
    answer = marked(a=verdict(250, "2.0.0"), b=verdict(550, "5.1.1"), c=verdict(550, "2.0.0"))
    assert [250, 550] == [reply.code for reply in all_replies(answer, True)]


@pytest.mark.parametrize(("http", "mark", "before", "expected"), TABLE)
def test_all_replies_without_a_verdict(http, mark, before, expected):
    """
    Without any verdict there is one reply, that of the answer table.
    """
    (reply,) = all_replies(Answer(http, bool(mark), b"{}"), bool(before))
    assert expected == (reply.code, reply.status, exit_status(reply))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnreachableError("refused"), (451, "4.4.1", 75)),
        (NoAnswerError("reset"), (451, "4.4.1", 75)),
        (TlsError("certificate"), (451, "4.7.5", 75)),
        (TemporaryError("s3cret"), (451, "4.3.0", 75)),
        (MailerError("s3cret"), (451, "4.3.0", 75)),
        (KeyError("our own fault"), (451, "4.3.0", 75)),
    ],
)
def test_without_an_answer_mail_stays_in_the_queue(error, expected):
    """
    Every error is temporary, our own faults too, and its text stays here.
    """
    reply = reply_for_error(error)
    assert expected == (reply.code, reply.status, exit_status(reply))
    assert str(error) not in reply.text


@given(st.integers(100, 599), st.booleans(), st.binary(), st.booleans())
def test_any_body_gives_a_reply(code, is_marked, body, before):
    """
    Nothing is raised, and no answer that is not a verdict bounces mail.
    """
    assert reply_for(Answer(code, is_marked, body), before)[0] in (250, 451)


@given(st.integers(100, 599), VERDICTS | JSON_VALUES)
@example(200, verdict(550, "5.1.1\u0661"))
@example(200, verdict(250, "2.0.0", "\ud800"))
def test_any_verdict_gives_a_reply(code, value):
    """
    Nothing is raised, and the reply can go over the wire.
    """
    reply = replies_for(marked(code, a=value), ["a@x"], True)["a@x"]
    assert reply.line().endswith(b"\r\n")
    assert reply.code // 100 in (2, 4, 5)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("300", 300.0),
        ("301", 300.0),
        ("9" * 400, 300.0),
        ("-1", 0.0),
        ("1.5", 0.0),
        ("\u0663", 0.0),
        ("\u00b2", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after(value, seconds):
    """
    Whole seconds count, up to five minutes; dates and the rest do not.
    """
    assert seconds == parse_retry_after(value)


@given(st.none() | st.text())
def test_any_retry_after_is_0_to_300(value):
    """
    Nothing is raised.
    """
    assert 0 <= parse_retry_after(value) <= 300
