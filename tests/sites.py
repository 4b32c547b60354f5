"""
Test sites: whole parts of the program over stand-ins; the fixture ``sites`` gives this module.
"""

import dataclasses
from itertools import pairwise

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.config import Config
from mailer.daemon import Daemon, Roles
from mailer.delivery import Deliverer, ServerDelivery
from mailer.listen import Listen
from mailer.lmtp_server import LmtpFactory
from mailer.refresh import Refresher
from mailer.replacement import RefreshPolicy
from mailer.socketmap import netstring
from mailer.store import Etags, Store
from mailer.verdict import Answer
from mailer.web import WebHandler, WebSite

GRACE = 1000.0  # seconds
TEN = [f"a{n}@example.com" for n in range(10)]
LMTP, SOCKETMAP, HTTP = 2401, 2402, 2403
ALIASES = b"info@example.com odoo@example.com\n"
TRANSPORT = b"odoo@example.com\n"
YAML = {"Content-Type": "application/yaml"}
OLD = AliasList(transport={"old@example.com": ""})


def cut(stream, places):
    """
    Return the stream in pieces, cut at the places, whatever numbers they are.
    """
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(edges)]


def stuffed(message):
    """
    Return a message, which ends a line, as an LMTP client sends it, with its end of data.

    Source: RFC 5321 4.5.2.
    """
    assert message.endswith(b"\r\n") or not message
    lines = message.split(b"\r\n")
    return b"\r\n".join(b"." + line if line[:1] == b"." else line for line in lines) + b".\r\n"


def transaction(message, recipients, sender="s@example.org", queue_id=""):
    """
    Return one whole LMTP transaction.
    """
    commands = [b"XFORWARD IDENT=%b" % queue_id.encode()] if queue_id else []
    commands.append(b"MAIL FROM:<%b>" % sender.encode())
    commands += [b"RCPT TO:<%b>" % recipient.encode() for recipient in recipients]
    return b"\r\n".join([*commands, b"DATA", b""]) + stuffed(message)


def page_of(addresses):
    """
    Return the alias page of addresses that are their own targets.
    """
    return "".join(f"{address} {address}\n" for address in addresses).encode()


@dataclasses.dataclass(frozen=True)
class Delivered:
    """
    What a server got in one call.
    """

    sender: str
    recipients: tuple
    digest: str
    queue_id: str
    message: bytes


class NotingClient:
    """
    Stands for ``OdooClient``: answers every delivery at once.

    Args:
        note: Called with each ``Delivered``; returns the answer, exceptions are raised.
    """

    marked = False

    def __init__(self, server, note, contents):
        self.server = server
        self._note = note
        self._contents = contents

    async def deliver(self, delivery):
        answer = self._note(
            Delivered(
                delivery.sender,
                delivery.recipients,
                delivery.digest,
                delivery.queue_id,
                self._contents(delivery.body),
            )
        )
        if isinstance(answer, Exception):
            raise answer
        return answer


class DeliverySite:
    """
    LMTP down to the clients of the servers, which note what they get.

    Args:
        servers: Name to the addresses that are delivered there.

    Attributes:
        delivered: Every call of every server, in order.
        answer: What each call gets; an exception is raised.
    """

    def __init__(self, fakes, **servers):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.delivered = []
        self.answer = Answer(200)
        metrics, self.value = fakes.make_metrics()
        directory = fakes.make_directory(
            *(
                ServerList(name, AliasList(transport=dict.fromkeys(addresses, "")))
                for name, addresses in servers.items()
            )
        )
        deliverer = Deliverer(
            {
                name: ServerDelivery(
                    fakes.watched(
                        NotingClient(fakes.make_server(name), self._note, fakes.contents),
                        metrics,
                        self.clock,
                    ),
                    metrics,
                    self.clock,
                )
                for name in servers
            }
        )
        self.factory = LmtpFactory(
            directory, deliverer, metrics, self.clock, "mail.example.com", 10_000_000, None
        )

    def _note(self, delivered):
        self.delivered.append(delivered)
        return self.answer

    def connect(self):
        """
        Connect and say LHLO; return the connection.
        """
        connection = self.fakes.Connection(self.factory)
        connection.send(b"LHLO mx.example.com\r\n")
        return connection

    def talk(self, connection, pieces):
        """
        Send the pieces one after the other, each once the one before it is answered.

        Returns:
            The reply lines.
        """
        received = b""
        for piece in pieces:
            received += connection.send(piece)
            self._settle()
        received += connection.received()
        return received.decode("ascii").splitlines()

    def _settle(self):
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)


class Lists:
    """
    Refreshers of one directory and one store.
    """

    def __init__(self, fakes, folder, names=("odoo",)):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.store = Store(str(folder))
        self.metrics, self.value = fakes.make_metrics()
        self.directory = fakes.make_directory(
            *(ServerList(name, None) for name in names), grace=GRACE
        )
        self.clients = {name: fakes.Client(fakes.make_server(name)) for name in names}
        self.thread = fakes.in_thread
        self.refreshers = {name: self.make_refresher(name) for name in names}

    def make_refresher(self, name, **changes):
        """
        Return a refresher; ``changes`` take the place of what it would get.
        """
        values = {
            "client": self.fakes.watched(self.clients[name], self.metrics, self.clock),
            "directory": self.directory,
            "store": self.store,
            "policy": RefreshPolicy(60.0, 0.5, GRACE),
            "metrics": self.metrics,
            "clock": self.clock,
            "in_thread": lambda function, *args: self.thread(function, *args),
            "random": lambda: 0.5,
            "etags": Etags(),
        }
        return Refresher(**{**values, **changes})

    def fetch(self, aliases=b"", transport=None, name="odoo", force=False, **more):
        """
        Have a list fetched; return the outcome. Every address of text is a transport address.
        """
        if transport is None:
            transport = b" ".join(line.split()[0] for line in aliases.splitlines() if line.strip())
        outcome = self.refreshers[name].refresh("command", force)
        self.clients[name].answer(self.fakes.make_pages(aliases, transport, **more))
        return self.fakes.result_of(outcome)

    def finds(self, address):
        """
        Say whether an address is declared now.
        """
        return self.directory.table.find(address) is not None

    def delivers(self, address):
        """
        Say whether mail for an address would be taken now.
        """
        return self.directory.table.find_deliverable(address, self.clock.seconds()) is not None


class Desk:
    """
    The site over refreshers whose clients wait for the test.
    """

    def __init__(self, fakes, folder, names=("odoo",), store=None):
        self.fakes = fakes
        self.clock = fakes.Reactor()
        self.metrics, self.value = fakes.make_metrics()
        self.directory = fakes.make_directory(*(ServerList(name, OLD) for name in names))
        self.clients = {name: fakes.Client(fakes.make_server(name)) for name in names}
        self.thread = fakes.in_thread
        refreshers = [
            Refresher(
                fakes.watched(self.clients[name], self.metrics, self.clock),
                self.directory,
                store or Store(str(folder)),
                RefreshPolicy(60.0, 0.5, 1000.0),
                self.metrics,
                self.clock,
                self._in_thread,
                lambda: 0.5,
                Etags(),
            )
            for name in names
        ]
        for refresher in refreshers:
            refresher.startService()
            client = self.clients[refresher.server.name]
            client.answer(fakes.UNCHANGED)
            client.calls.clear()
        self.web = WebHandler(
            "/aliases", refreshers, self.metrics, lambda: (True, {}), self._in_thread
        )
        self.site = WebSite(self.web, self.clock)

    def _in_thread(self, function, *args):
        return self.thread(function, *args)

    def send(self, body=b"", method="POST", path="/aliases", token="odoo-token", headers=None):
        """
        Send a request; return the connection.
        """
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        if token is not None:
            lines.append(f"X-Mail-Token: {token}")
        if body and "Transfer-Encoding" not in (headers or {}):
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        connection = self.fakes.Connection(self.site)
        connection.protocol.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return connection

    def post(self, body=b"", headers=YAML, **request):
        """
        Send a request; return the response.
        """
        return self.fakes.http_response(self.send(body, headers=headers, **request).received())

    def declared(self, name="odoo"):
        """
        Return the list in force.
        """
        return self.directory[name].declared


class DaemonSite:
    """
    A daemon in memory, and Odoo beside it.
    """

    def __init__(self, fakes, folder, names=("odoo",), roles=None, **changes):
        self.fakes = fakes
        self.reactor = fakes.Reactor()
        self.pages = {"aliases": ALIASES, "transport": TRANSPORT}
        self.etags = {}
        self.odoo = fakes.Odoo(self.reactor, self._answer)
        values = {
            "socket": Listen(host="127.0.0.1", port=LMTP),
            "socketmap": Listen(host="127.0.0.1", port=SOCKETMAP),
            "http": Listen(host="127.0.0.1", port=HTTP),
            "cache": str(folder),
            "nexthop": fakes.NEXTHOP,
            "hostname": "mail.example.com",
        }
        self.config = Config(tuple(map(fakes.make_server, names)), **{**values, **changes})
        self.roles = roles or Roles()
        self.daemon = None

    def _answer(self, request):
        name = request.path.rpartition("/")[2]
        if name == "pipe":
            return 200, b""
        etag = self.etags.get(name)
        if etag and request.headers.get("if-none-match") == etag:
            return 304, b""
        return 200, self.pages[name], {"ETag": etag} if etag else {}

    def make(self):
        """
        Make the daemon.
        """
        self.daemon = Daemon(self.load, self.config, self.roles, self.reactor)
        return self.daemon

    def load(self):
        """
        Stand for reading the configuration file.
        """
        if isinstance(self.config, Exception):
            raise self.config
        return self.config

    def start(self):
        """
        Make and start the daemon; the first fetch is still under way.
        """
        self.make().privilegedStartService()
        self.daemon.startService()
        return self.daemon

    def reload(self, **changes):
        """
        Reload with these changes of the configuration.
        """
        self.config = dataclasses.replace(self.config, **changes)
        self.daemon.reload()

    def look_up(self, request):
        """
        Return the answer of socketmap.
        """
        connection = self.fakes.Connection(self.reactor.factory_at(SOCKETMAP))
        answer = connection.send(netstring(request))
        return answer.partition(b":")[2][:-1]

    def get(self, path):
        """
        Return the response to a GET.
        """
        connection = self.fakes.Connection(self.reactor.factory_at(HTTP))
        return self.fakes.http_response(
            connection.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        )
