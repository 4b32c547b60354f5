"""
A client of Odoo over a wire whose other end the test holds; the fixture ``connect`` makes one.
"""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from mailer.config import Server, Token
from mailer.errors import MailerError
from mailer.http_client import make_agent
from mailer.odoo import Delivery, OdooClient
from mailer.spool import MessageReader, Spool
from mailer.store import Etags
from mailer.twisted_http import TwistedHttp

TOKEN = "very-secret"
DIGEST = "ab" * 32
SERVER = Server("odoo", "http://127.0.0.1:8069", Token(TOKEN))


class Call:
    """
    A call under way, or its outcome.
    """

    def __init__(self, coroutine):
        self._results = []
        self._deferred = Deferred.fromCoroutine(coroutine)
        self._deferred.addBoth(self._results.append)

    @property
    def done(self):
        """The call has ended."""
        return bool(self._results)

    @property
    def value(self):
        """What it returned; raises what it raised."""
        (result,) = self._results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    @property
    def error(self):
        """What it raised, in which the token must not show."""
        with pytest.raises(MailerError) as caught:
            _ = self.value
        said = f"{caught.value} {caught.value!r} {self._results!r}"
        assert TOKEN not in said, said
        return caught.value

    def end(self):
        """
        End it, if it has not ended.
        """
        self._deferred.cancel()


class Transport(StringTransport):
    """
    Takes so much at once and no more, as a connection does.
    """

    _room = 65_536
    _full = False

    def write(self, data):
        super().write(data)
        self._room -= len(data)
        if self._room < 0 and self.producer is not None:
            self._full = True
            self.producer.pauseProducing()

    def make_room(self):
        """
        Send what was written.
        """
        self._room, full, self._full = 65_536, self._full, False
        if full and self.producer is not None:
            self.producer.resumeProducing()


class Wire:
    """
    Args:
        server: Changes of the server's configuration.
    """

    def __init__(self, marked=False, **server):
        self.server = replace(SERVER, **server)
        self.reactor = MemoryReactorClock()
        self.marks = []
        self.client = OdooClient(
            self.server,
            TwistedHttp(make_agent(self.reactor, self.server), self.reactor),
            lambda: self.marks.append(self.server.name),
            marked,
        )
        self.transport = self.protocol = None
        self._accepted = 0
        self.spools = []
        self._calls = []

    @property
    def connections(self):
        """How often the client has begun to connect."""
        return len(self.reactor.tcpClients)

    def fetch(self, *etags, **more):
        """
        Begin to fetch the list.
        """
        return self._begin(self.client.fetch(Etags(*etags), **more))

    def deliver(self, body=b"message", beginning=b"", offset=0, **fields):
        """
        Begin a delivery.
        """
        self.spools.append(spool := Spool())
        spool.write(body)
        values = {"sender": "s@y", "recipients": ("a@x",), "digest": DIGEST, "queue_id": "4F2k"}
        reader = MessageReader(beginning, spool, offset)
        return self._begin(self.client.deliver(Delivery(**{**values, **fields}, body=reader)))

    def probe(self):
        """
        Begin to ask for a sign of life.
        """
        return self._begin(self.client.probe())

    def accept(self):
        """
        Accept the connection that the client makes, if it makes one.
        """
        if self._accepted < self.connections:
            factory = self.reactor.tcpClients[self._accepted][2]
            self._accepted += 1
            self.transport = Transport(lenient=True)
            self.protocol = factory.buildProtocol(None)
            self.protocol.makeConnection(self.transport)

    def refuse(self, reason):
        """
        Have the connection attempt fail.
        """
        factory = self.reactor.tcpClients[self._accepted][2]
        self._accepted += 1
        factory.clientConnectionFailed(None, Failure(reason))
        self.reactor.advance(1)

    def request(self):
        """
        Return the request line, the header fields and the body that came.
        """
        self.accept()
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}
        for _ in range(10_000):
            if len(body) >= int(headers.get("content-length", 0)):
                break
            self.run_bodies()
            body = self.transport.value().partition(b"\r\n\r\n")[2]
        self.transport.clear()
        return line, headers, body

    def answer(self, code=200, body=b"", headers="", length=True):
        """
        Take the request and answer it, with a Content-Length or without.
        """
        self.request()
        fields = f"{headers}Content-Length: {len(body)}\r\n" if length else headers
        self.send(f"HTTP/1.1 {code} Said\r\n{fields}\r\n".encode() + body)

    def send(self, data):
        """
        Send octets to the client.
        """
        self.protocol.dataReceived(data)

    def close(self, reason=None):
        """
        Close the connection.
        """
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def run_bodies(self):
        """
        Let the body of the request go on.
        """
        self.transport.make_room()

    def end(self):
        """
        End what is still under way.
        """
        for call in self._calls:
            call.end()
        for spool in self.spools:
            spool.close()

    def _begin(self, coroutine):
        self._calls.append(call := Call(coroutine))
        return call
