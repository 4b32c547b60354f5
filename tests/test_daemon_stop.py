"""
Tests for mailer.daemon: how it ends.
"""

import os

import pytest

from mailer.alias_list import AliasList
from mailer.config import Config
from mailer.daemon import Daemon, Roles
from mailer.listen import Listen
from mailer.socketmap import netstring

LIST = AliasList(transport={"info@example.com": ""})
MESSAGE = (
    b"LHLO mx\r\nMAIL FROM:<s@example.org>\r\nRCPT TO:<info@example.com>\r\nDATA\r\n"
    b"Subject: x\r\n\r\n.\r\n"
)


class Site:
    """
    A daemon with real sockets in a folder, a stored list, and Odoo in memory.
    """

    def __init__(self, fakes, folder, roles):
        self.fakes = fakes
        self.reactor = fakes.Reactor()
        self.odoo = fakes.Odoo(self.reactor, lambda request: (503, b""))
        fakes.store_list(folder / "cache", fakes.make_server(), LIST)
        config = Config(
            (fakes.make_server(timeout=120),),
            socket=Listen(path=str(folder / "l"), group=""),
            socketmap=Listen(path=str(folder / "m"), group=""),
            http=Listen(path=str(folder / "h"), group=""),
            cache=str(folder / "cache"),
            nexthop=fakes.NEXTHOP,
        )
        self.daemon = Daemon(lambda: config, config, roles, self.reactor)
        self.daemon.privilegedStartService()
        self.daemon.startService()
        self.odoo.run()
        self.folder = folder
        factories = [server[1] for server in self.reactor.unixServers]
        self.factories = dict(zip(self.names(), factories, strict=True))

    def names(self):
        """
        Return which sockets are there, in the order in which they are bound.
        """
        return [name for name in "mlh" if (self.folder / name).exists()]

    def connect(self, name):
        """
        Connect to one of the sockets.
        """
        return self.fakes.Connection(self.factories[name])

    def look_up(self):
        """
        Return the answer of socketmap.
        """
        return self.connect("m").send(netstring(b"aliases info@example.com"))

    def send_mail(self):
        """
        Send a message whose delivery is then under way; return the connection.
        """
        self.odoo.answer = lambda request: (200, b"")
        connection = self.connect("l")
        connection.send(MESSAGE)
        return connection

    def stop(self):
        """
        Stop the daemon; return the Deferred of it.
        """
        stopped = self.daemon.stopService()
        self.reactor.advance(0)
        return stopped


@pytest.fixture
def make_site(fakes, tmp_path):
    """
    Makes a running daemon.
    """
    sites = []

    def make(roles=None):
        sites.append(Site(fakes, tmp_path, roles or Roles()))
        return sites[-1]

    yield make
    for site in sites:
        site.reactor.close()


def test_an_idle_daemon_stops_at_once(make_site, fakes):
    """
    No socket is left, and no timer.
    """
    site = make_site()
    stopped = site.stop()
    site.reactor.advance(0)
    assert fakes.result_of(stopped) is None
    assert [] == site.names()
    assert not site.daemon.running


def test_it_takes_no_more_mail_but_answers_to_the_end(make_site, fakes):
    """
    LMTP goes first; the delivery under way is answered; socketmap goes last.
    """
    site = make_site()
    connection = site.send_mail()
    stopped = site.stop()
    assert ["m", "h"] == site.names()
    assert site.look_up() == netstring(b"OK info@example.com")
    assert connection.received() == b""
    site.odoo.run()
    assert [b"250", b"421"] == [line[:3] for line in connection.received().splitlines()]
    assert not fakes.has_fired(stopped)
    connection.close()
    site.reactor.advance(0)
    site.reactor.advance(0)
    assert fakes.result_of(stopped) is None
    assert [] == site.names()


def test_idle_clients_are_sent_away(make_site, fakes):
    """
    421 4.3.2, so that Postfix tries again.
    """
    site = make_site()
    connection = site.connect("l")
    site.stop()
    assert connection.received().splitlines()[-1].startswith(b"421 4.3.2 ")


def test_a_delivery_that_never_ends_is_given_up(make_site, fakes, logged):
    """
    After the longest timeout the daemon stops all the same; Postfix keeps the mail.
    """
    site = make_site()
    connection = site.send_mail()
    stopped = site.stop()
    site.reactor.pump([1] * 125)
    connection.close()
    site.reactor.advance(0)
    assert fakes.result_of(stopped) is None
    assert [] == site.names()
    assert b"250 2" not in connection.received().splitlines()[-1]


def test_lmtp_whose_socket_was_removed_by_hand_is_drained(make_site, fakes):
    """
    The delivery under way ends and is answered, and the rest of the daemon stops.
    """
    site = make_site()
    connection = site.send_mail()
    os.unlink(site.folder / "l")
    stopped = site.stop()
    assert not fakes.has_fired(stopped)
    site.odoo.run()
    assert connection.received().startswith(b"250")
    connection.close()
    site.reactor.advance(0)
    site.reactor.advance(0)
    assert fakes.result_of(stopped) is None
    assert [] == site.names()


@pytest.mark.parametrize("roles", [Roles(socketmap=False, http=False), Roles(False, False)])
def test_parts_of_a_daemon_stop_too(make_site, fakes, roles):
    """
    lmtp alone, webhook alone.
    """
    site = make_site(roles)
    stopped = site.stop()
    site.reactor.advance(0)
    assert fakes.result_of(stopped) is None
    assert [] == site.names()


def test_nothing_is_polled_after_the_end(make_site):
    """
    The timer of the refresh is cancelled.
    """
    site = make_site()
    site.stop()
    site.reactor.advance(0)
    before = len(site.reactor.tcpClients)
    site.reactor.pump([10] * 40)
    assert before == len(site.reactor.tcpClients)
