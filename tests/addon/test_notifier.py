"""
Tests for logic.notifier.
"""

import logging
import threading
from contextlib import suppress

import pytest

from logic.notifier import WAIT, Notifier
from logic.webhook import Mailer

AT_ONCE = 0.001
LONG = 5  # seconds, after which a test fails that waits for a thread
A, B = Mailer("http://a/aliases", "s3cret-a"), Mailer("http://b/aliases", "s3cret-b")


class Calls:
    """
    Stands for the webhook: keeps whom it called, and answers as it is told.
    """

    def __init__(self):
        self.made = []
        self.answers = {}  # url to what the next calls return, or raise, or wait for
        self._changed = threading.Condition()

    def __call__(self, mailer):
        with self._changed:
            self.made.append(mailer.url)
            self._changed.notify_all()
        answer = self.answers.get(mailer.url, (True, ""))
        if isinstance(answer, threading.Event):
            assert answer.wait(LONG)
            return True, ""
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for(self, *urls):
        """
        Wait until these have been called, in any order, and nothing else.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self.made) >= len(urls), LONG)
        assert sorted(urls) == sorted(self.made)


@pytest.fixture
def calls():
    """
    The calls that are made.
    """
    return Calls()


@pytest.fixture
def settle():
    """
    Waits until no thread is left that was started during the test, as it is done in the end.
    """
    before = set(threading.enumerate())

    def settle():
        while started := set(threading.enumerate()) - before:
            for thread in started:
                thread.join(LONG)
                assert not thread.is_alive()

    yield settle
    settle()


@pytest.fixture
def timers(monkeypatch):
    """
    The timers that run; each goes off when it is told.
    """
    started = []

    class HeldTimer:
        """
        Stands for threading.Timer.
        """

        def __init__(self, wait, function):
            self.wait = wait
            self.go_off = function

        def start(self):
            """Run."""
            started.append(self)

    monkeypatch.setattr(threading, "Timer", HeldTimer)
    return started


@pytest.fixture
def notifier(calls, settle):
    """
    Tells A and B, and hardly waits.
    """
    return Notifier(lambda: [A, B], calls, AT_ONCE)


def test_every_mailer_is_told(notifier, calls, settle, caplog):
    """
    One kick calls each mailer once; if all goes well there is nothing to log.
    """
    notifier.kick()
    settle()

    assert [A.url, B.url] == sorted(calls.made)
    assert [] == caplog.records


def test_without_a_kick_no_one_is_told(notifier, calls, settle):
    """
    A notifier that was made does nothing yet.
    """
    settle()

    assert [] == calls.made


def test_it_waits_a_tenth_of_a_second(calls, timers):
    """
    The wait is as long as it says, where no other is asked for.
    """
    Notifier(lambda: [A], calls).kick()
    [timer] = timers

    assert 0.1 == WAIT == timer.wait
    assert [] == calls.made


def test_many_kicks_are_one_call(calls, timers, settle):
    """
    What changes while a call waits goes with it, and the mailers are asked for afterwards.
    """
    asked = []
    notifier = Notifier(lambda: asked.append(1) or [A], calls)
    for _ in range(100):
        notifier.kick()
    [timer] = timers
    assert [] == asked
    timer.go_off()
    settle()

    assert ([A.url], [1]) == (calls.made, asked)


def test_kicks_from_many_threads_are_one_call(calls, timers, settle):
    """
    It does not matter which thread kicks.
    """
    notifier = Notifier(lambda: [A], calls)
    together = threading.Barrier(8)

    def kick():
        together.wait(LONG)
        notifier.kick()

    for _ in range(8):
        threading.Thread(target=kick).start()
    settle()
    [timer] = timers
    timer.go_off()
    settle()

    assert [A.url] == calls.made


def test_a_kick_after_a_call_is_another_call(notifier, calls, settle):
    """
    A change after the mailers were told is told as well.
    """
    notifier.kick()
    settle()
    notifier.kick()
    settle()

    assert [A.url, A.url, B.url, B.url] == sorted(calls.made)


def test_a_kick_during_a_call_is_another_call(calls, settle):
    """
    The mailer that is being called may have fetched the list already: it is called again.
    """
    calls.answers[A.url] = threading.Event()
    notifier = Notifier(lambda: [A], calls, AT_ONCE)
    notifier.kick()
    calls.wait_for(A.url)
    notifier.kick()
    calls.wait_for(A.url, A.url)
    calls.answers[A.url].set()


def test_a_kick_while_the_mailers_are_read_is_another_call(calls, settle):
    """
    What changes after the database was asked goes not with that call.
    """
    reading, go_on, asked = threading.Event(), threading.Event(), []

    def mailers():
        asked.append(1)
        reading.set()
        assert go_on.wait(LONG)
        return [A]

    notifier = Notifier(mailers, calls, AT_ONCE)
    notifier.kick()
    assert reading.wait(LONG)
    notifier.kick()
    go_on.set()
    settle()

    assert ([A.url, A.url], [1, 1]) == (calls.made, asked)


def test_a_slow_mailer_does_not_hold_up_another(notifier, calls, settle):
    """
    While one is waited for, the others are told, of later changes too.
    """
    calls.answers[A.url] = threading.Event()
    notifier.kick()
    calls.wait_for(A.url, B.url)
    notifier.kick()
    calls.wait_for(A.url, B.url, A.url, B.url)
    calls.answers[A.url].set()


def test_whoever_kicks_is_not_held_up(calls, settle):
    """
    Neither the database nor a mailer is asked in the thread of the change.
    """
    threads = []

    def mailers():
        threads.append(threading.current_thread())
        return [A]

    def call(_mailer):
        threads.append(threading.current_thread())
        return True, ""

    Notifier(mailers, call, AT_ONCE).kick()
    settle()

    assert 3 == len({threading.current_thread(), *threads})
    assert all(thread.daemon for thread in threads)


def test_mailers_that_cannot_be_read_are_logged(calls, settle, caplog):
    """
    If the database is not there, that is logged, and the next kick is as good as any.
    """
    answers = [ZeroDivisionError("database"), [A]]

    def mailers():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    notifier = Notifier(mailers, calls, AT_ONCE)
    notifier.kick()
    settle()
    [record] = caplog.records
    notifier.kick()
    settle()

    assert (logging.ERROR, ZeroDivisionError) == (record.levelno, record.exc_info[0])
    assert [A.url] == calls.made
    assert [record] == caplog.records


def test_mailers_that_end_early_are_logged(calls, settle, caplog):
    """
    A failure on the way through the mailers counts as one before.
    """

    def mailers():
        yield A
        raise ZeroDivisionError

    Notifier(mailers, calls, AT_ONCE).kick()
    settle()

    assert [logging.ERROR] == [record.levelno for record in caplog.records]


def test_a_call_that_raises_is_logged(notifier, calls, settle, caplog):
    """
    The others are told all the same, and so is this one at the next kick.
    """
    calls.answers[A.url] = ZeroDivisionError("call")
    notifier.kick()
    settle()
    [record] = caplog.records
    del calls.answers[A.url]
    notifier.kick()
    settle()

    assert (logging.ERROR, ZeroDivisionError) == (record.levelno, record.exc_info[0])
    assert A.url in record.getMessage()
    assert [A.url, A.url, B.url, B.url] == sorted(calls.made)


def test_a_call_that_did_not_go_well_is_logged(notifier, calls, settle, caplog):
    """
    The log says which mailer it was, and why.
    """
    calls.answers[A.url] = False, "It does not know this token."
    notifier.kick()
    settle()

    assert [
        (
            "logic.notifier",
            logging.WARNING,
            "mailer http://a/aliases was not told of a change: It does not know this token.",
        )
    ] == caplog.record_tuples


@pytest.mark.parametrize("answer", [(False, "no"), ZeroDivisionError("call")])
def test_no_token_is_logged(answer, notifier, calls, settle, caplog):
    """
    What is logged of a mailer is its address alone.
    """
    calls.answers = {A.url: answer, B.url: answer}
    notifier.kick()
    settle()

    assert 2 == len(caplog.records)
    assert "s3cret" not in caplog.text


def test_without_a_mailer_there_is_no_call(calls, settle, caplog):
    """
    Where no mailer has a webhook, nothing is done and nothing is said.
    """
    Notifier(list, calls, AT_ONCE).kick()
    settle()

    assert ([], []) == (calls.made, caplog.records)


def test_a_thread_that_cannot_start_is_not_waited_for(notifier, calls, settle, monkeypatch):
    """
    At the limit of threads a call is lost, but not those to come.
    """

    def start(_timer):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, suppress(RuntimeError):
        patch.setattr(threading.Timer, "start", start)
        notifier.kick()
    notifier.kick()
    settle()

    assert [A.url, B.url] == sorted(calls.made)
