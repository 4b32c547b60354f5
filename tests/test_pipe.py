"""
Tests for mailer.pipe.
"""

import io
import json
import sqlite3

import pytest

from mailer.alias_list import AliasList
from mailer.alias_table import Removed, ServerList
from mailer.config import Config
from mailer.errors import TemporaryError
from mailer.http_client import make_agent
from mailer.pipe import pipe
from mailer.reply import MESSAGE_TOO_LARGE_552, UNREACHABLE_451, exit_status
from mailer.store import FILE_NAME, Store, Stored
from mailer.twisted_http import TwistedHttp

MESSAGE = b"Subject: x\nMessage-ID: <1@example.com>\n\nbody\n"


class Counter:
    """
    Pipes messages to Odoo stand-ins.
    """

    def __init__(self, fakes, folder):
        self.fakes = fakes
        self.folder = folder
        self.reactor = fakes.Reactor()
        self.odoo = fakes.Odoo(self.reactor, lambda request: (200, b""))
        self.names = ("odoo",)
        self.options = {}

    def verdicts(self, codes):
        """
        Have Odoo answer with its mark and these codes, by local part.
        """

        def answer(request):
            said = {
                recipient: {"code": code, "status": f"{code // 100}.1.1", "text": str(code)}
                for recipient in request.headers["x-mail-recipients"].split(",")
                for code in [codes[recipient.partition("@")[0]]]
            }
            body = json.dumps({"recipients": said}).encode()
            return 200, body, {"X-Mail-Delivery": "1"}

        self.odoo.answer = answer

    def store(self, **addresses):
        """
        Store the lists of servers: local parts by server.
        """
        for name, parts in addresses.items():
            declared = AliasList(transport={f"{part}@example.com": "" for part in parts})
            self.fakes.store_list(self.folder, self.fakes.make_server(name), declared)

    def pipe(self, *recipients, sender="s@example.org", message=MESSAGE):
        """
        Pipe a message; return the reply.
        """
        config = Config(
            tuple(self.fakes.make_server(name) for name in self.names),
            cache=str(self.folder),
            **self.options,
        )
        running = self.fakes.Deferred.fromCoroutine(
            pipe(config, self.connect, io.BytesIO(message), sender, recipients)
        )
        for _ in range(100):
            self.odoo.run()
            if self.fakes.has_fired(running):
                break
            self.reactor.advance(0.1)
        return self.fakes.result_of(running)

    def connect(self, server):
        """
        Return what speaks HTTP with a server, in memory.
        """
        return TwistedHttp(make_agent(self.reactor, server), self.reactor)

    @property
    def asked(self):
        """
        The recipients of each call, with the path of its server.
        """
        return [
            (request.path.split("/")[1], request.headers.get("x-mail-recipients"))
            for request in self.odoo.requests
        ]


@pytest.fixture
def counter(fakes, tmp_path):
    """
    One server that takes everything.
    """
    return Counter(fakes, tmp_path / "cache")


def test_a_message_is_one_call(counter):
    """
    Sender, recipients and the message are what Postfix gave.
    """
    assert counter.pipe("a@example.com", "b@example.com").code == 250
    (request,) = counter.odoo.requests
    assert ("POST", "/odoo/mail_delivery/pipe") == (request.method, request.path)
    assert request.headers["x-mail-sender"] == "s@example.org"
    assert request.headers["x-mail-recipients"] == "a@example.com,b@example.com"
    assert (
        b"Return-Path: <s@example.org>\nDelivered-To: a@example.com\n"
        b"Delivered-To: b@example.com\n" + MESSAGE
    ) == request.body


def test_nothing_is_made_in_the_cache(counter):
    """
    The user of pipe(8) leaves no file that the daemon could not use.
    """
    counter.pipe("a@example.com")
    assert not counter.folder.exists()


def test_recipients_are_folded_and_named_once(counter):
    """
    The same address twice is one recipient.
    """
    counter.pipe("A@example.com", "a@Example.com")
    assert [("odoo", "a@example.com")] == counter.asked


def test_an_extension_is_taken_off(counter):
    """
    Odoo sees the address without it, unless the list has it with it.
    """
    counter.pipe("a+x@example.com")
    counter.store(odoo=["a+x"])
    counter.pipe("a+x@example.com")
    assert [("odoo", "a@example.com"), ("odoo", "a+x@example.com")] == counter.asked


def test_without_a_delimiter_an_extension_is_part_of_the_address(counter):
    """
    An empty recipient_delimiter turns extensions off.
    """
    counter.options = {"recipient_delimiter": ""}
    counter.pipe("a+x@example.com")
    assert [("odoo", "a+x@example.com")] == counter.asked


def test_without_recipients_the_header_decides(counter):
    """
    No X-Mail-Recipients, no Delivered-To; without sender no Return-Path.
    """
    assert counter.pipe(sender=None).code == 250
    (request,) = counter.odoo.requests
    assert "x-mail-recipients" not in request.headers
    assert MESSAGE == request.body


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([250, 250], 250),
        ([250, 550], 550),
        ([550, 250], 550),
        ([250, 451], 451),
        ([550, 451], 451),
        ([451, 554, 250], 451),
        ([550, 554], 554),
    ],
)
def test_one_reply_stands_for_all(counter, codes, code):
    """
    A temporary one wins, so that nothing is lost; then a refusal, so that nobody misses it.
    """
    counter.verdicts(dict(zip("abc", codes, strict=False)))
    recipients = [f"{name}@example.com" for name in "abc"[: len(codes)]]
    assert code == counter.pipe(*recipients).code


def test_each_server_gets_its_recipients(counter):
    """
    The stored lists tell whose an address is; removed ones and local parts count.
    """
    counter.names = ("one", "two")
    counter.store(one=["a", "b"], two=["b", "c"])
    store = Store(str(counter.folder))
    declared = AliasList(
        local_parts={"l": ("l",)},
        domains=frozenset({"example.com"}),
        transport={"c@example.com": ""},
    )
    removed = {"r@example.com": Removed(1.0, "")}
    store.save(Stored(ServerList("two", declared, removed, 1.0)))
    counter.pipe(*(f"{name}@example.com" for name in ("a", "b", "c", "r", "l")))
    assert [
        ("one", "a@example.com,b@example.com"),
        ("two", "c@example.com,r@example.com,l@example.com"),
    ] == counter.asked


def test_an_address_of_no_server_is_temporary_where_there_are_several(counter):
    """
    Nothing is sent to anyone.
    """
    counter.names = ("one", "two")
    counter.store(one=["a"], two=["b"])
    with pytest.raises(TemporaryError, match="several servers"):
        counter.pipe("a@example.com", "nobody@example.com")
    with pytest.raises(TemporaryError, match="--recipient"):
        counter.pipe()
    assert [] == counter.odoo.requests


def test_an_unknown_address_goes_to_the_only_server(counter):
    """
    It may be newer than the stored list; Odoo judges.
    """
    counter.store(odoo=["a"])
    counter.verdicts({"new": 250})
    assert counter.pipe("new@example.com").code == 250


def test_too_large_a_message_is_refused(counter):
    """
    552, and Odoo is not asked.
    """
    counter.options = {"max_message_size": 1024}
    assert MESSAGE_TOO_LARGE_552 == counter.pipe("a@example.com", message=b"x" * 1025)
    assert [] == counter.odoo.requests
    assert counter.pipe("a@example.com", message=b"x" * 1024).code == 250


def test_a_large_message_is_sent_whole(counter):
    """
    More than is held in memory.
    """
    message = MESSAGE + b"x" * 3_000_000
    counter.pipe("a@example.com", message=message)
    assert counter.odoo.requests[0].body.endswith(message)


def test_a_delivered_to_of_postfix_is_no_loop(counter):
    """
    pipe(8) with flags=D puts it there, and looks for loops itself.
    """
    message = b"Delivered-To: a@example.com\n" + MESSAGE
    assert counter.pipe("a@example.com", message=message).code == 250
    assert counter.odoo.requests[0].body.count(b"Delivered-To") == 1


def test_a_server_that_is_down_is_temporary(counter):
    """
    451 4.4.1.
    """
    counter.odoo.answer = None
    assert UNREACHABLE_451 == counter.pipe("a@example.com")


def test_a_proxys_page_is_temporary_once_the_server_has_marked(counter, fakes):
    """
    The mark is remembered from one run to the next, and shared with the daemon.
    """
    counter.store(odoo=["a"])
    assert counter.pipe("a@example.com").code == 250
    counter.verdicts({"a": 250})
    assert counter.pipe("a@example.com").code == 250
    counter.odoo.answer = lambda request: (200, b"<html>")
    assert counter.pipe("a@example.com").code == 451


def test_a_mark_is_remembered_from_one_run_to_the_next(counter):
    """
    Where the folder can be written, no daemon has to have made the file.
    """
    counter.folder.mkdir()
    counter.verdicts({"a": 250})
    assert exit_status(counter.pipe("a@example.com")) == 0
    counter.odoo.answer = lambda request: (200, b"<html>")
    assert exit_status(counter.pipe("a@example.com")) == 75


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_without_a_cache_nothing_is_remembered_and_nothing_wrong(counter, kind):
    """
    Each run judges for itself.
    """
    if kind == "file":
        counter.folder.write_text("")
    counter.verdicts({"a": 250})
    assert exit_status(counter.pipe("a@example.com")) == 0
    counter.odoo.answer = lambda request: (200, b"<html>")
    assert exit_status(counter.pipe("a@example.com")) == 0


@pytest.mark.parametrize("kind", ["damaged", "folder"])
def test_a_cache_that_cannot_be_read_is_temporary(counter, kind):
    """
    Whether the server marks its answers is forgotten there: a proxy's page could pass for one.
    """
    counter.store(odoo=["a"])
    path = counter.folder / FILE_NAME
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"no database, but long enough to be looked at" * 100)
    counter.odoo.answer = lambda request: (200, b"<html>")
    with pytest.raises(TemporaryError, match=FILE_NAME):
        counter.pipe("a@example.com")
    assert [FILE_NAME] == [child.name for child in counter.folder.iterdir()]


def test_a_store_that_cannot_be_written_does_not_change_the_verdict(counter):
    """
    The user of pipe(8) may only read it; what Odoo has taken is not sent again.
    """
    counter.store(odoo=["a"])
    with sqlite3.connect(counter.folder / FILE_NAME) as connection:
        connection.executescript(
            "CREATE TRIGGER no_update BEFORE UPDATE ON server BEGIN SELECT RAISE(ABORT, 'no'); END;"
            "CREATE TRIGGER no_insert BEFORE INSERT ON server BEGIN SELECT RAISE(ABORT, 'no'); END;"
        )
    connection.close()
    counter.verdicts({"a": 250})
    assert counter.pipe("a@example.com").code == 250


def test_the_token_is_sent_and_nowhere_else(counter, logged):
    """
    Not in a reply, not in a log line.
    """
    counter.odoo.answer = lambda request: (401, b"odoo-token")
    reply = counter.pipe("a@example.com")
    assert counter.odoo.requests[0].headers["x-mail-token"] == "odoo-token"
    assert (451, "4.7.0") == (reply.code, reply.status)
    assert "odoo-token" not in str(reply)
    assert "odoo-token" not in repr(logged)
