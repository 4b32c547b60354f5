"""
Tests for mailer.daemon: the map files of the webhook alone, from the list in force to the disk.
"""

import pytest

from mailer.alias_list import AliasList
from mailer.daemon import Roles
from mailer.errors import TemporaryError
from mailer.store import Etags

HTTP = 2403
ADDRESSES = ("info@example.com", "first@example.com", "second@example.com")
INFO, FIRST, SECOND = ADDRESSES


class Disk:
    """
    Stands for ``write_both``: notes which addresses are written, and fails when it is told to.

    Attributes:
        error: Raised by the next write.
        waiting: Writes under way, if they are slow.
    """

    def __init__(self, fakes):
        self._fakes = fakes
        self.written = []
        self.error = None
        self.slow = False
        self.waiting = []

    def write(self, config, table, now):
        """
        Write, or fail once.
        """
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.written.append([address for address in ADDRESSES if table.find(address)])

    def thread(self, function, *args):
        """
        Run a function; a slow write is done when the test says so.
        """
        if not (self.slow and function == self.write):
            return self._fakes.in_thread(function, *args)
        begun = self._fakes.Deferred()
        begun.addCallback(lambda _: function(*args))
        self.waiting.append(begun)
        return begun

    def finish(self):
        """
        Finish the oldest write.
        """
        self.waiting.pop(0).callback(None)


@pytest.fixture
def disk(fakes):
    """
    A disk that is fast and well.
    """
    return Disk(fakes)


@pytest.fixture
def make_site(fakes, tmp_path, sites, disk):
    """
    Makes a webhook in memory that writes to the disk.
    """

    def make(**changes):
        roles = Roles(socketmap=False, lmtp=False, on_list=disk.write)
        site = sites.DaemonSite(fakes, tmp_path / "cache", roles=roles, **changes)
        site.reactor.thread = disk.thread
        return site

    return make


@pytest.fixture
def running(make_site):
    """
    A webhook that has fetched its first list, which has a validator.
    """
    site = make_site()
    site.etags = {"aliases": '"a"', "transport": '"t"'}
    site.start()
    site.odoo.run()
    return site


def post(site, body=b"", server="odoo"):
    """
    Call the webhook; return the connection.
    """
    connection = site.fakes.Connection(site.reactor.factory_at(HTTP))
    connection.protocol.dataReceived(
        b"POST /aliases HTTP/1.1\r\nHost: x\r\nContent-Type: application/yaml\r\n"
        b"X-Mail-Token: %b-token\r\nContent-Length: %d\r\n\r\n%b"
        % (server.encode(), len(body), body)
    )
    return connection


def code_of(connection):
    """
    Return the status of a response, None as long as there is none.
    """
    data = connection.received()
    return int(data.split()[1]) if data else None


def mapping(address):
    """
    Return a mapping of one account.
    """
    return b"%b: []\n" % address.encode()


def test_the_last_of_two_lists_in_quick_succession_is_on_disk(running, disk):
    """
    The second is not written while the first still is, and answered when it is on disk.
    """
    disk.slow = True
    first, second = post(running, mapping(FIRST)), post(running, mapping(SECOND))
    assert len(disk.waiting) == 1
    assert [None, None] == [code_of(first), code_of(second)]
    disk.finish()
    assert [200, None] == [code_of(first), code_of(second)]
    assert len(disk.waiting) == 1
    disk.finish()
    assert code_of(second) == 200
    assert [[INFO], [FIRST], [SECOND]] == disk.written


def test_a_table_that_was_written_meanwhile_is_not_written_again(make_site, disk):
    """
    Two lists that wait for the disk are one write, of the table in force by then.
    """
    site = make_site(names=("one", "two"))
    site.pages["aliases"] = site.pages["transport"] = INFO.encode()
    answer = site.odoo.answer
    site.odoo.answer = lambda request: (500, b"") if "/two/" in request.path else answer(request)
    disk.slow = True
    site.start()
    site.odoo.run()
    posted = post(site, mapping(FIRST), "one")
    site.odoo.answer = lambda request: (200, SECOND.encode())
    site.reactor.advance(2)
    site.odoo.run()
    assert len(disk.waiting) == 1
    disk.finish()
    assert len(disk.waiting) == 1
    disk.finish()
    assert code_of(posted) == 200
    assert [] == disk.waiting
    assert [FIRST, SECOND] == disk.written[-1]
    assert len(disk.written) == 2


def test_an_unchanged_list_is_not_written_again(running, disk):
    """
    A poll finds it on disk; who calls the webhook has it written anew.
    """
    running.reactor.advance(70)
    running.odoo.run()
    assert [[INFO]] == disk.written
    assert code_of(post(running)) == 202
    running.odoo.run()
    assert [[INFO], [INFO]] == disk.written


def test_a_write_that_failed_is_tried_again_at_the_next_poll(make_site, disk):
    """
    Which is soon, and though the list has not changed since.
    """
    site = make_site()
    site.etags = {"aliases": '"a"', "transport": '"t"'}
    disk.error = TemporaryError("disk full")
    site.start()
    site.odoo.run()
    assert [] == disk.written
    site.reactor.advance(2)
    site.odoo.run()
    assert '"a"' == site.odoo.requests[-2].headers.get("if-none-match")
    assert [[INFO]] == disk.written


def test_at_the_start_an_unchanged_list_is_written(make_site, disk, fakes, tmp_path):
    """
    Nobody knows what the files hold.
    """
    stored = AliasList(transport={INFO: ""})
    etags = Etags('"a"', '"t"')
    fakes.store_list(tmp_path / "cache", fakes.make_server(), stored, etags=etags)
    site = make_site()
    site.etags = {"aliases": '"a"', "transport": '"t"'}
    site.start()
    site.odoo.run()
    assert ['"a"', '"t"'] == [r.headers.get("if-none-match") for r in site.odoo.requests]
    assert [[INFO]] == disk.written


def test_a_mapping_that_is_not_written_is_answered_so(running, disk):
    """
    503, and the same mapping posted again is written.
    """
    disk.error = TemporaryError("disk full")
    assert code_of(post(running, mapping(FIRST))) == 503
    assert [[INFO]] == disk.written
    assert code_of(post(running, mapping(FIRST))) == 200
    assert [[INFO], [FIRST]] == disk.written


def test_a_write_that_broke_does_not_stop_the_next(running, disk, logged):
    """
    Our own bug is logged and answered 500.
    """
    disk.error = ZeroDivisionError()
    assert code_of(post(running, mapping(FIRST))) == 500
    assert any(event.get("log_failure") for event in logged)
    assert code_of(post(running, mapping(SECOND))) == 200
    assert [[INFO], [SECOND]] == disk.written
