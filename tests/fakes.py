"""
Stand-ins that several test modules share; the fixture ``fakes`` gives this module.
"""

import json
from types import SimpleNamespace

from prometheus_client import CollectorRegistry
from twisted.internet import unix
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList, merge
from mailer.config import Server, Token
from mailer.directory import Directory
from mailer.metrics import Metrics
from mailer.pages import Page, Pages
from mailer.store import Etags, Store, Stored
from mailer.succession import Succession, succeed
from mailer.watched_client import WatchedClient

NEXTHOP = "lmtp:unix:private/odoo-lmtp"
NOW = 1_800_000_000.0  # where the clocks begin: seconds, Unix time


def result_of(deferred):
    """
    Return what a Deferred has given, or raise it; fail if it has not fired.
    """
    results = []
    deferred.addBoth(results.append)
    assert results, "no result yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def run(coroutine):
    """
    Return what a coroutine returns that waits for nothing, or raise what it raises.
    """
    return result_of(Deferred.fromCoroutine(coroutine))


def has_fired(deferred):
    """
    Say whether a Deferred has fired; its result stays.
    """
    fired = []
    deferred.addBoth(lambda result: fired.append(True) or result)
    return bool(fired)


def patched(document, patch):
    """
    Return a JSON document after a merge patch.

    Source: RFC 7396.
    """
    if not isinstance(patch, dict):
        return patch
    found = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = patched(found.get(key), value)
    return found


def make_server(name="odoo", **changes):
    """
    Return a server of this name, its token the name and ``-token``.
    """
    values = {"url": f"http://127.0.0.1/{name}", "token": Token(f"{name}-token"), **changes}
    return Server(name, **values)


def make_metrics():
    """
    Return metrics, and a function that reads one: name, labels.
    """
    registry = CollectorRegistry()

    def value(name, **labels):
        return registry.get_sample_value(f"odoo_mailer_{name}", labels) or 0

    return Metrics(registry), value


def make_directory(*lists, grace=0.0, domains=None):
    """
    Return the directory of these lists.
    """

    def table_of(several, **known):
        return merge(several, domains or {}, NEXTHOP, grace=grace, **known)

    return Directory(lists, table_of)


def successor_of(before, declared, own=frozenset(), now=NOW, grace=0.0):
    """
    Return the list of a server that takes the place of another.
    """
    old = AliasList() if before.declared is None else before.declared
    succession = Succession.of(old, old.changes_to(declared), own)
    return succeed(before, succession, succession.removed(before.removed, now, grace), now)


def make_pages(aliases=b"", transport=b"", etags=("", ""), marked=True):
    """
    Return the pages of a list as Odoo gives them; None for one that has not changed.
    """
    return Pages(Page(aliases, etags[0]), Page(transport, etags[1]))


def make_whole(page, etag="", is_patch=False):
    """
    Return the page of a whole list, or a patch of it, as Odoo gives it; the page as a mapping.
    """
    return Pages(Page(json.dumps(page).encode(), etag, is_patch), Page(None, ""))


UNCHANGED = make_pages(None, None)


def in_thread(function, *args):
    """
    Run a function at once, as if in a thread.
    """
    return maybeDeferred(function, *args)


class Client:
    """
    Stands for ``OdooClient``: every call waits until the test answers it.

    Args:
        answers: What the first calls get at once; exceptions are raised.

    Attributes:
        patch: The last fetch would have taken a patch.
    """

    patch = False

    def __init__(self, server, answers=(), marked=False):
        self.server = server
        self.marked = marked
        self.calls = []
        self.waiting = []
        self.probes = []
        self._answers = list(answers)

    async def fetch(self, etags, is_whole=None, patch=False):
        self.patch = patch
        pages = await self._call(etags)
        if is_whole is not None and not pages.aliases.is_patch:
            await is_whole(pages.aliases)
        return pages

    async def deliver(self, delivery):
        return await self._call(delivery)

    async def probe(self):
        deferred = Deferred()
        self.probes.append(deferred)
        await deferred

    def answer(self, answer):
        """
        Answer the call that waits longest.
        """
        waiting = self.waiting.pop(0)
        if isinstance(answer, Exception):
            waiting.errback(answer)
        else:
            waiting.callback(answer)

    def _call(self, argument):
        self.calls.append(argument)
        deferred = Deferred()
        self.waiting.append(deferred)
        if self._answers:
            self.answer(self._answers.pop(0))
        return deferred


def watched(client, metrics, clock):
    """
    Return a client that notes how its calls end, around a stand-in.
    """
    return WatchedClient(client, metrics, clock)


class FailingStore:
    """
    Stands for a ``Store`` that cannot be written.
    """

    def __init__(self, error):
        self.error = error

    def save(self, stored, changes=None, removed=None):
        raise self.error


class SlowThread:
    """
    Stands for a thread whose result comes when the test says so.
    """

    def __init__(self):
        self.waiting = []

    def __call__(self, function, *args):
        result = maybeDeferred(function, *args)
        deferred = Deferred()
        self.waiting.append(lambda: result.chainDeferred(deferred))
        return deferred

    def finish(self):
        """
        Hand over the oldest result.
        """
        self.waiting.pop(0)()


class Reactor(MemoryReactorClock):
    """
    A reactor in memory whose UNIX sockets are real files and whose threads are at once.

    Attributes:
        thread: Runs what is meant for a thread; may be rebound.
        ports: The UNIX sockets that were bound.
    """

    def __init__(self):
        super().__init__()
        self.rightNow = NOW
        self.thread = in_thread
        self.ports = []

    def addReader(self, reader):
        super().addReader(reader)
        if isinstance(reader, unix.Port) and reader not in self.ports:
            self.ports.append(reader)
            self.unixServers.append((reader._bindPath, reader.factory))

    def close(self):
        """
        Close what still listens.
        """
        for port in self.ports:
            if hasattr(port, "socket"):
                port.socket.close()

    def getThreadPool(self):
        return self

    def callInThreadWithCallback(self, on_result, function, *args):
        running = self.thread(function, *args)
        running.addCallbacks(
            lambda result: on_result(True, result), lambda failure: on_result(False, failure)
        )

    def callFromThread(self, function, *args):
        function(*args)

    def factory_at(self, port):
        """
        Return the factory that listens on a TCP port.
        """
        return next(server[1] for server in self.tcpServers if server[0] == port)


class Connection:
    """
    A client's end of a connection to a factory.
    """

    def __init__(self, factory, transport=None):
        self.protocol = factory.buildProtocol(None)
        self.transport = transport or StringTransport()
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data):
        """
        Send octets; return what was written since the last call.
        """
        self.protocol.dataReceived(data)
        return self.received()

    def close(self):
        """
        Close the connection.
        """
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def received(self):
        """
        Return what was written since the last call.
        """
        data = self.transport.value()
        self.transport.clear()
        return data


def store_list(folder, server, declared, marked=False, url=None, etags=None):
    """
    Store a list, as an earlier run of the daemon would have.
    """
    server_list = ServerList(server.name, declared, {}, NOW - 60)
    Store(str(folder)).save(
        Stored(server_list, server.url if url is None else url, etags or Etags(), marked)
    )


def http_response(data):
    """
    Take one HTTP response apart: code, headers (lower case), body.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return SimpleNamespace(code=int(status.split()[1]), headers=headers, body=body)


def contents(reader):
    """
    Return all that a file still gives, read in pieces as a web client reads it.
    """
    return b"".join(iter(lambda: reader.read(65_536), b""))


class Odoo:
    """
    Answers the HTTP connections that go out from a reactor in memory.

    Args:
        answer: Takes a request; returns code and body, or code, body and headers. None in its
            place: every connection is refused.
    """

    def __init__(self, reactor, answer):
        self.reactor = reactor
        self.answer = answer
        self.requests = []
        self._connections = []
        self._seen = 0

    def run(self):
        """
        Go on until there is nothing more to answer.
        """
        while self._accept() or any(self._serve(*pair) for pair in self._connections):
            pass

    def _accept(self):
        clients = self.reactor.tcpClients[self._seen :]
        self._seen += len(clients)
        for _, _, factory, *_ in clients:
            if self.answer is None:
                factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
                continue
            protocol, transport = factory.buildProtocol(None), StringTransport()
            protocol.makeConnection(transport)
            self._connections.append((protocol, transport))
        return bool(clients)

    def _serve(self, protocol, transport):
        head, end, body = transport.value().partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in headers.items()}
        transport.clear()
        method, path, _ = first.split(" ")
        request = SimpleNamespace(method=method, path=path, headers=headers, body=body)
        self.requests.append(request)
        code, content, *more = self.answer(request)
        fields = {"Content-Length": len(content), **(more[0] if more else {})}
        lines = [f"HTTP/1.1 {code} x", *(f"{name}: {value}" for name, value in fields.items())]
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + content)
        return True
