"""
Tests for mailer.quick_transport, on real sockets and a reactor that is turned by hand.
"""

import contextlib
import select
import socket
import threading
from types import SimpleNamespace

import pytest
from twisted.internet import unix
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import globalLogPublisher

from mailer.quick_transport import ENOUGH, FEW, LONGEST_TURN, MAX_READ, QuickReader

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll")


class Doubling(Protocol):
    """
    Says everything twice; notes what came through the transport itself.
    """

    def connectionMade(self):
        self.slowly = b""
        self.lost = False
        self.factory.protocols.append(self)
        self.transport.registerProducer(self, streaming=True)
        self.transport = self.factory.reader.transport_for(self.transport, self.respond)

    def dataReceived(self, data):
        self.slowly += data
        self.transport.write(self.respond(data) or b"")

    def respond(self, data):
        if data == b"break":
            raise ValueError("broken")
        if data == b"bye":
            self.transport.write(b"bye")
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        elif data != b"hush":
            if self.factory.returns:
                return data * 2
            self.transport.write(data * 2)
        return None

    def pauseProducing(self):
        self.transport.pauseProducing()

    def resumeProducing(self):
        self.transport.resumeProducing()

    def stopProducing(self):
        pass

    def connectionLost(self, reason):
        self.lost = True


class Listener:
    """
    A listening socket, the reactor that serves it, and connections to it.
    """

    def __init__(self, path, leads, returns=False):
        self.reactor = EPollReactor()
        self.reader = QuickReader(self.reactor, "doubling")
        if leads:
            self.reader.lead()
        factory = Factory.forProtocol(Doubling)
        factory.reader, factory.protocols, factory.returns = self.reader, [], returns
        self.protocols = factory.protocols
        self.port = unix.Port(str(path), factory, reactor=self.reactor)
        self.port.startListening()
        self.path = str(path)
        self.clients = []

    def connect(self):
        """
        Return a client's socket, and the protocol at the other end.
        """
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        client.connect(self.path)
        self.clients.append(client)
        known = len(self.protocols)
        self.turn(lambda: len(self.protocols) > known)
        return client, self.protocols[-1]

    def turn(self, until=None):
        """
        Turn the reactor until something is so, or while it has something to do.
        """
        for _ in range(2000):
            if until is not None and until():
                return
            if until is None and not self.is_waited_for():
                return
            self.reactor.iterate(0.05)
        raise AssertionError("it does not come to that")

    def is_waited_for(self):
        """
        Say whether there is something to do for the reactor or the reader.
        """
        waiting = [self.reactor._poller, *filter(None, [self.reader._epoll])]
        return bool(select.select(waiting, [], [], 0)[0])

    def close(self):
        for client in self.clients:
            client.close()
        self.turn(lambda: all(protocol.lost for protocol in self.protocols))
        stopped = self.port.stopListening()
        self.turn(lambda: stopped.called)
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)
        self.reader.connectionLost(None)
        self.reactor._poller.close()
        for descriptor in (self.reactor.waker.i, self.reactor.waker.o):
            with contextlib.suppress(OSError):
                socket.socket(fileno=descriptor).close()


@pytest.fixture(
    params=[(False, False), (True, False), (True, True)], ids=["reads", "leads", "returns"]
)
def listener(request, tmp_path):
    """
    A listener of the doubling protocol, which writes its answers or returns them.
    """
    made = Listener(tmp_path / "socket", *request.param)
    yield made
    made.close()


def test_an_answer_goes_out_in_the_same_turn(listener):
    """
    It is there before the reactor turns again; the transport has seen nothing of it.
    """
    client, protocol = listener.connect()
    client.sendall(b"abc")
    listener.reader.doRead()
    assert b"abcabc" == client.recv(100)
    assert protocol.slowly == b""


def test_more_than_a_little(listener):
    """
    From who sends more than a lookup more is read at once, and nothing is lost in between.
    """
    client, protocol = listener.connect()
    pieces = []
    protocol.transport._receive = pieces.append
    for number in (1, FEW, FEW - 1, 1, 3 * FEW):
        client.sendall(b"x" * number)
        listener.turn()
    assert [1, FEW, FEW - 1, 1, 3 * FEW] == list(map(len, pieces))
    client.sendall(b"x" * FEW + b"y" * FEW)
    listener.turn()
    assert b"x" * FEW + b"y" * FEW == pieces[-1]
    other, protocol = listener.connect()
    protocol.transport._receive = pieces.append
    other.sendall(b"a" * FEW + b"b")
    listener.turn()
    assert [b"a" * FEW, b"b"] == pieces[-2:]


def test_many_connections_are_read_in_one_turn(listener):
    """
    Each gets its own answer.
    """
    clients = [listener.connect()[0] for _ in range(20)]
    for number, client in enumerate(clients):
        client.sendall(b"%d." % number)
    listener.reader.doRead()
    assert [b"%d.%d." % (n, n) for n in range(20)] == [client.recv(100) for client in clients]


@pytest.fixture
def behind(listener, tmp_path):
    """
    Makes a second listener, behind that one, and so many connections that have something to say.
    """
    late = QuickReader(listener.reactor, "late", first=listener.reader)
    others, protocols = [], []

    class Late(Protocol):
        def connectionMade(self):
            self.transport = late.transport_for(self.transport, self.respond)
            protocols.append(self)

    port = unix.Port(str(tmp_path / "late"), Factory.forProtocol(Late), reactor=listener.reactor)
    port.startListening()

    def make(count, respond):
        Late.respond = respond
        for _ in range(count):
            others.append(socket.socket(socket.AF_UNIX))
            others[-1].connect(str(tmp_path / "late"))
        listener.turn(lambda: len(protocols) == count)
        for other in others:
            other.sendall(b"a")
        return late

    yield make
    for other in others:
        other.close()
    listener.turn()
    port.stopListening()
    listener.turn()


def test_what_comes_first_is_read_before_each_connection(listener, behind):
    """
    However many are ready: a lookup waits for one of them, not for all.
    """
    client, _ = listener.connect()
    read = []

    def respond(_, data):
        if read:  # what was asked while the first one was read is answered by now
            read.append(client.recv(100))
        client.sendall(data)
        read.append(data)

    behind(2, respond).doRead()
    assert [b"a", b"aa", b"a"] == read


def test_who_asks_on_alone_does_not_hold_up_the_others(listener, behind):
    """
    What comes first and comes alone is read once; the reactor's descriptor is not of its company.
    """
    client, protocol = listener.connect()
    late = behind(1, lambda *_: None)
    asked = []
    protocol.transport._receive = lambda data: (asked.append(data), client.sendall(b"a"))
    client.sendall(b"a")
    late.doRead()
    protocol.transport._receive = protocol.respond
    assert [b"a"] == asked


def test_a_fault_in_what_comes_first_does_not_hold_up_the_others(listener, behind):
    """
    It is there again at once, and is not tried again at once.
    """

    def fail():
        raise MemoryError

    read = []
    pairs = [listener.connect() for _ in range(2)]
    late = behind(1, lambda _, data: read.append(data))
    for client, protocol in pairs:
        listener.reader._reads[protocol.transport._descriptor] = fail
        client.sendall(b"a")
    late.doRead()
    assert [b"a"] == read
    for _, protocol in pairs:
        protocol.transport.abortConnection()


def test_what_comes_first_does_not_keep_out_the_others(listener, behind, monkeypatch):
    """
    However much there is of it, in one turn only so much is read.
    """
    listener.connect()
    read = []
    monkeypatch.setattr(listener.reader, "_read_ready", lambda: read.append("first") or ENOUGH // 2)
    behind(4, lambda _, data: read.append("late")).doRead()
    assert ["first", "late", "first", "late", "late", "late"] == read


def test_the_reactor_reads_it(listener):
    """
    It is a descriptor of the reactor like any other.
    """
    client, _ = listener.connect()
    client.sendall(b"abc")
    listener.turn()
    assert b"abcabc" == client.recv(100)


def test_nothing_to_say_is_nothing_sent(listener):
    """
    The connection goes on.
    """
    client, protocol = listener.connect()
    client.sendall(b"hush")
    listener.turn()
    client.sendall(b"abc")
    listener.turn()
    assert b"abcabc" == client.recv(100)
    assert protocol.slowly == b""


def test_the_end_is_the_transports(listener):
    """
    The protocol is told as ever, and nothing of the connection is left.
    """
    client, protocol = listener.connect()
    client.close()
    listener.turn(lambda: protocol.lost)
    assert {} == listener.reader._reads


def test_who_does_not_read_is_the_transports(listener):
    """
    What cannot be sent is kept by the transport, in order, and so is all that comes later.
    """
    client, protocol = listener.connect()
    client.setblocking(False)
    sent = 0
    while sent < 100 * MAX_READ and not protocol.slowly:
        with contextlib.suppress(BlockingIOError):
            sent += client.send(b"x" * MAX_READ)
        listener.reactor.iterate()
    assert protocol.slowly
    received = 0
    while received < 2 * sent:
        listener.reactor.iterate()
        with contextlib.suppress(BlockingIOError):
            data = client.recv(MAX_READ)
            assert set(data) == {ord("x")}
            received += len(data)
    client.send(b"y")
    listener.turn(lambda: protocol.slowly.endswith(b"y"))
    listener.turn(lambda: select.select([client], [], [], 0)[0])
    assert b"yy" == client.recv(100)


def test_a_fault_of_ours_ends_one_connection(listener):
    """
    It is logged; the others are read as before.
    """
    logged = []
    globalLogPublisher.addObserver(logged.append)
    try:
        broken, protocol = listener.connect()
        client, _ = listener.connect()
        broken.sendall(b"break")
        client.sendall(b"abc")
        listener.turn(lambda: protocol.lost)
        listener.turn()
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert b"abcabc" == client.recv(100)
    assert ["broken"] == [
        str(event["log_failure"].value) for event in logged if "log_failure" in event
    ]


def test_a_fault_here_ends_nothing_else(listener):
    """
    The reactor keeps the reader, whatever one descriptor makes of it.
    """

    def fail():
        raise OSError(28, "No space left on device")

    broken, protocol = listener.connect()
    client, _ = listener.connect()
    listener.reader._reads[protocol.transport._descriptor] = fail
    broken.sendall(b"x")
    listener.reactor.iterate(0.05)
    client.sendall(b"abc")
    listener.turn(lambda: select.select([client], [], [], 0)[0])
    assert b"abcabc" == client.recv(100)
    protocol.transport.abortConnection()


def test_without_descriptors_the_transport_reads(listener, monkeypatch):
    """
    As ever, then; the client notices nothing.
    """

    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(select, "epoll", none_left)
    if listener.reader._epoll is not None:  # there is one already, which is full
        monkeypatch.setattr(listener.reader, "add", lambda *_: none_left())
    client, protocol = listener.connect()
    client.sendall(b"abc")
    listener.turn(lambda: protocol.slowly)
    listener.turn(lambda: select.select([client], [], [], 0)[0])
    assert b"abcabc" == client.recv(100)


def test_it_can_be_paused(listener):
    """
    Nothing is read meanwhile, though it can be written; then all that has come is.
    """
    client, protocol = listener.connect()
    protocol.transport.pauseProducing()
    protocol.transport.pauseProducing()
    client.sendall(b"abc")
    listener.turn()
    protocol.transport.write(b"said ")
    assert b"said " == client.recv(100)
    protocol.transport.resumeProducing()
    protocol.transport.resumeProducing()
    listener.turn()
    assert b"abcabc" == client.recv(100)
    assert protocol.slowly == b""


def test_what_is_written_before_the_end_arrives(listener):
    """
    The connection is closed after it, for both sides.
    """
    client, protocol = listener.connect()
    client.sendall(b"bye")
    listener.turn(lambda: protocol.lost)
    assert b"bye" == client.recv(100)
    assert client.recv(100) == b""
    assert {} == listener.reader._reads


def test_an_abort_while_paused(listener):
    """
    Nothing is left of it.
    """
    client, protocol = listener.connect()
    protocol.transport.pauseProducing()
    protocol.transport.abortConnection()
    listener.turn(lambda: protocol.lost)
    assert client.recv(100) == b""


def test_a_peer_that_is_gone_when_it_is_answered(listener):
    """
    The transport finds the error, and the protocol is told once.
    """
    client, protocol = listener.connect()
    protocol.transport.pauseProducing()
    client.close()
    protocol.transport.write(b"too late")
    protocol.transport.resumeProducing()
    listener.turn(lambda: protocol.lost)
    assert {} == listener.reader._reads


def test_one_that_is_paused_while_another_is_read(listener):
    """
    It was ready, and is passed over.
    """
    connected = [listener.connect() for _ in range(3)]
    protocols = [protocol for _, protocol in connected]

    def pause_all(data):
        for protocol in protocols:
            protocol.transport.pauseProducing()

    for client, protocol in connected:
        client.sendall(b"abc")
        protocol.transport._receive = pause_all
    listener.reader.doRead()
    for _, protocol in connected:
        protocol.transport._receive = protocol.respond
        protocol.transport.resumeProducing()
    listener.turn()
    said = [select.select([client], [], [], 0)[0] for client, _ in connected]
    assert sorted(map(len, said)) == [0, 1, 1]


def test_after_the_last_one_comes_a_next(listener):
    """
    There may be none for a while.
    """
    first, protocol = listener.connect()
    first.close()
    listener.turn(lambda: protocol.lost)
    client, _ = listener.connect()
    client.sendall(b"abc")
    listener.turn()
    assert b"abcabc" == client.recv(100)


def test_other_transports_are_left_alone(listener):
    """
    What is no plain socket is read as ever.
    """
    transport = StringTransport()
    assert transport is listener.reader.transport_for(transport, bytes)
    assert {} == listener.reader._reads


@pytest.fixture
def leading(tmp_path):
    """
    A listener whose reader leads.
    """
    made = Listener(tmp_path / "socket", leads=True)
    yield made
    made.close()


def asking(leading, until):
    """
    Have a client ask on in a thread, at once after each answer; return how often it did.
    """
    client, _ = leading.connect()
    done, asked = threading.Event(), []

    def ask():
        while not done.is_set():
            client.sendall(b"a")
            asked.append(client.recv(100))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        leading.turn(until)
    finally:
        done.set()
        while thread.is_alive():
            leading.reactor.iterate(0.01)
    assert {b"aa"} == set(asked)
    return len(asked)


def test_a_turn_has_as_many_lookups_as_come(leading, monkeypatch):
    """
    The reactor makes one for all of them, until its next timer.
    """
    turns = []
    whole = leading.reactor.runUntilCurrent
    monkeypatch.setattr(leading.reactor, "runUntilCurrent", lambda: (turns.append(1), whole()))
    timed = []
    leading.reactor.callLater(0.05, timed.append, True)
    asked = asking(leading, lambda: timed)
    assert asked > 5 * len(turns), (asked, len(turns))


def test_the_reactor_has_its_turn_while_lookups_go_on(leading):
    """
    Its own descriptors, and what other threads have to say.
    """
    near, far = socket.socketpair()
    heard = []
    server = unix.Server(near, Protocol(), None, None, 0, leading.reactor)
    server.protocol.dataReceived = heard.append
    server.startReading()
    threading.Timer(0.02, far.sendall, [b"mail"]).start()
    threading.Timer(0.04, leading.reactor.callFromThread, [heard.append, b"thread"]).start()
    asking(leading, lambda: len(heard) == 2)
    assert [b"mail", b"thread"] == heard
    server.stopReading()
    near.close()
    far.close()


def watched_waits(leading, monkeypatch):
    """
    Return the seconds that the reader waits each time; from now on it waits but a moment.
    """
    epoll, waits = leading.reader._epoll, []

    def poll(wait, count):
        waits.append(wait)
        return epoll.poll(min(wait, 0.01), count)

    watched = SimpleNamespace(poll=poll, unregister=epoll.unregister)
    monkeypatch.setattr(leading.reader, "_epoll", watched)
    return waits


def test_a_turn_ends_when_a_connection_has_left(leading, monkeypatch):
    """
    For what that leaves to the reactor's timers is due at once.
    """
    client, protocol = leading.connect()
    other, _ = leading.connect()
    waits = watched_waits(leading, monkeypatch)
    other.sendall(b"abc")
    leading.reactor.doIteration(60)
    assert len(waits) == 2  # nothing came after the answer
    client.sendall(b"break")
    leading.reactor.doIteration(60)
    assert len(waits) == 3
    monkeypatch.undo()
    leading.turn(lambda: protocol.lost)


def test_a_reactor_that_ends_does_not_wait(leading):
    """
    In its last turn it asks for none; one lookup more makes no difference.
    """
    client, _ = leading.connect()
    client.sendall(b"abc")
    leading.reactor.doIteration(False)
    assert b"abcabc" == client.recv(100)
    leading.reactor.doIteration(False)


def test_a_clock_that_is_put_back_by_years(leading, monkeypatch):
    """
    It is waited for, but never for longer than the system knows.
    """
    client, _ = leading.connect()
    waits, now = watched_waits(leading, monkeypatch), iter([1e9, 0.0])
    monkeypatch.setattr(leading.reactor, "seconds", lambda: next(now))
    client.sendall(b"abc")
    leading.reactor.doIteration(60)
    monkeypatch.undo()
    assert [60, LONGEST_TURN] == waits


def test_another_reactor_leads_itself(listener, monkeypatch):
    """
    One without epoll, and that of a system without.
    """
    reactor = MemoryReactorClock()
    QuickReader(reactor, "x").lead()
    assert not hasattr(reactor, "doIteration")
    before = listener.reactor.doIteration
    monkeypatch.delattr(select, "epoll")
    QuickReader(listener.reactor, "x").lead()
    assert before == listener.reactor.doIteration
