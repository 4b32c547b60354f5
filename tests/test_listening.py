"""
Tests for mailer.listening: real sockets in a folder of the test, no reactor that runs.
"""

import grp
import os
import socket
import stat

import pytest
from twisted.internet.endpoints import _SystemdParser
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.systemd import ListenFDs

from mailer.errors import ListenError
from mailer.listen import BACKLOG, Listen
from mailer.listening import ListeningService, remove_stale_socket

SYSTEMD = ("systemd:x=1", "systemd:domain=UNIX:index=9", "systemd:domain=UNIX:name=none")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """
    A short path for a socket: unix(7) allows 107 octets.
    """
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "s")


@pytest.fixture
def make_service(fakes, tmp_path):
    """
    Makes a listening service and its reactor; what still listens at the end is closed.
    """
    reactors = []

    def make(listen):
        reactor = fakes.Reactor()
        reactors.append(reactor)
        return ListeningService(listen, Factory(), reactor, str(tmp_path)), reactor

    yield make
    for reactor in reactors:
        reactor.close()


def stop(fakes, service, reactor):
    """
    Stop a service and let it finish.
    """
    stopped = service.stopService()
    reactor.advance(0)
    return fakes.result_of(stopped)


def leave_stale(path):
    """
    Leave a socket that nobody listens on.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


def test_a_socket_that_is_gone_is_no_matter(path):
    """
    Where nothing is, there is nothing to do.
    """
    remove_stale_socket(path)


def test_a_stale_socket_is_removed(path, logged):
    """
    What a process that is gone had left goes away, and that is logged.
    """
    leave_stale(path)
    remove_stale_socket(path)
    assert not os.path.lexists(path)
    assert path == logged[-1]["path"]


def test_a_live_socket_is_refused(path):
    """
    Another instance is not pushed aside.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(ListenError, match="another instance listens there"):
            remove_stale_socket(path)
    assert os.path.exists(path)


def test_a_live_socket_with_a_full_backlog_is_refused(path):
    """
    An instance too busy to accept is there all the same.
    """
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen(0)
        client.connect(path)
        with pytest.raises(ListenError, match="cannot listen on"):
            remove_stale_socket(path)
    assert os.path.exists(path)


@pytest.mark.parametrize("kind", ["file", "folder", "fifo", "link"])
def test_what_is_no_socket_is_left_alone(path, kind):
    """
    A regular file, a folder or a link is refused, never removed.
    """
    if kind == "file":
        with open(path, "w") as file:
            file.write("precious")
    elif kind == "folder":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.symlink("/etc/hostname", path)
    with pytest.raises(ListenError, match="it exists and is no socket"):
        remove_stale_socket(path)
    assert os.path.lexists(path)


def test_binding_takes_the_place_of_a_stale_socket(make_service, path):
    """
    After a crash the next start listens.
    """
    leave_stale(path)
    service, _ = make_service(Listen(path=path, group=""))
    service.privilegedStartService()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_two_instances_do_not_share_a_place(make_service, path):
    """
    The second is refused, the first stays reachable.
    """
    first, _ = make_service(Listen(path=path, group=""))
    first.privilegedStartService()
    second, _ = make_service(Listen(path=path, group=""))
    with pytest.raises(ListenError, match=f"cannot listen on {path}: another instance"):
        second.privilegedStartService()
    second.remove_socket()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_is_as_configured(make_service, path, mode):
    """
    Whatever the umask of the process is.
    """
    before = os.umask(0o027)
    try:
        service, _ = make_service(Listen(path=path, mode=mode, group=""))
        service.privilegedStartService()
    finally:
        os.umask(before)
    assert mode == stat.S_IMODE(os.stat(path).st_mode)


def test_the_group_is_as_configured(make_service, path, logged):
    """
    The socket belongs to the group named.
    """
    groups = [group for group in grp.getgrall() if group.gr_gid in {*os.getgroups(), os.getgid()}]
    service, _ = make_service(Listen(path=path, group=groups[-1].gr_name))
    service.privilegedStartService()
    assert groups[-1].gr_gid == os.stat(path).st_gid
    assert "warn" not in {event["log_level"].name for event in logged}


def test_a_group_that_is_missing_only_warns(make_service, path, logged):
    """
    The socket is there, with the group of the process.
    """
    service, _ = make_service(Listen(path=path, group="no-such-group"))
    service.privilegedStartService()
    assert os.getgid() == os.stat(path).st_gid
    (warning,) = [event for event in logged if event["log_level"].name == "warn"]
    assert warning["group"] == "no-such-group"


def test_the_backlog_is_large(fakes):
    """
    A burst of Postfix's processes finds room.
    """
    reactor = MemoryReactorClock()
    service = ListeningService(Listen(host="127.0.0.1", port=8000), Factory(), reactor, "/")
    service.privilegedStartService()
    service.startService()
    assert [(8000, BACKLOG, "127.0.0.1")] == [
        (port, backlog, interface) for port, _, backlog, interface in reactor.tcpServers
    ]


def test_starting_binds_where_that_was_not_done_before(make_service, path):
    """
    twistd starts a child service in one step.
    """
    service, _ = make_service(Listen(path=path, group=""))
    service.startService()
    assert os.path.exists(path)
    assert service.running


def test_the_socket_is_removed_at_the_end(make_service, path, fakes):
    """
    Nothing is left behind, and the place can be had again.
    """
    service, reactor = make_service(Listen(path=path, group=""))
    service.startService()
    stop(fakes, service, reactor)
    assert not os.path.exists(path)
    service.startService()
    assert os.path.exists(path)


def test_the_socket_of_another_instance_stays(make_service, path, fakes):
    """
    Where somebody has put his own socket there, it is not removed.
    """
    service, reactor = make_service(Listen(path=path, group=""))
    service.startService()
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        stop(fakes, service, reactor)
        assert os.path.exists(path)


def test_a_socket_removed_by_hand_is_no_fault_at_the_end(make_service, path, fakes):
    """
    Stopping succeeds without it.
    """
    service, reactor = make_service(Listen(path=path, group=""))
    service.startService()
    os.unlink(path)
    assert stop(fakes, service, reactor) is None


def test_stopping_what_never_listened_is_over_at_once(make_service, path, fakes):
    """
    A service that could not bind can be stopped.
    """
    service, _ = make_service(Listen(path=path, group=""))
    assert fakes.result_of(service.stopService()) is None


@pytest.fixture
def inherited(path, monkeypatch):
    """
    A socket that systemd has made and holds, of mode 0640 and with room for one client.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o640)
        listener.listen(0)
        listener.settimeout(5)
        # Twisted reads what is inherited when it is imported.
        descriptors = ListenFDs([listener.fileno()])
        monkeypatch.setattr(_SystemdParser, "_sddaemon", descriptors)
        yield listener


def is_full(path):
    """
    Say whether a socket has no room for a second client beside the one that waits.
    """
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        for client in (first, second):
            client.setblocking(False)
        first.connect(path)
        try:
            second.connect(path)
        except BlockingIOError:
            return True
    return False


INHERITED = pytest.mark.parametrize(
    "listen", [Listen(endpoint="systemd:domain=UNIX:index=0"), None], ids=["by number", "by path"]
)


@INHERITED
def test_an_inherited_socket_is_left_as_it_is(make_service, path, inherited, listen):
    """
    Mode and backlog are those that its maker wanted.
    """
    service, reactor = make_service(listen or Listen(path=path))
    service.startService()
    assert [path.encode()] == [place for place, _ in reactor.unixServers]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert is_full(path)


@INHERITED
@pytest.mark.parametrize("end", ["stop", "remove"])
def test_an_inherited_socket_outlives_us(make_service, path, inherited, fakes, listen, end):
    """
    Its file stays, and who holds it can go on accepting: the next start of ours, say.
    """
    service, reactor = make_service(listen or Listen(path=path))
    service.startService()
    service.remove_socket() if end == "remove" else stop(fakes, service, reactor)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)
        accepted, _ = inherited.accept()
        accepted.sendall(b"here")
        assert client.recv(4) == b"here"
        accepted.close()


def test_an_inherited_socket_of_another_path_is_none_of_ours(make_service, path, inherited):
    """
    Where what is inherited has another path, the one that is wanted is made.
    """
    other = f"{path}2"
    service, _ = make_service(Listen(path=other))
    service.startService()
    assert stat.S_ISSOCK(os.stat(other).st_mode)
    assert inherited.getsockname() == path


@pytest.mark.parametrize("endpoint", ["tcp:port", "unix:/x:mode=9", *SYSTEMD, "fd:1:2:3:4:5"])
def test_an_endpoint_that_makes_no_sense_is_named(make_service, endpoint):
    """
    Twisted's own complaint becomes ours.
    """
    service, _ = make_service(Listen(endpoint=endpoint))
    with pytest.raises(ListenError, match="cannot listen on"):
        service.privilegedStartService()


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        (Listen(host="127.0.0.1", port=8000), "Not today"),
        (Listen(path="/gone/folder/socket"), "No such file or directory"),
    ],
)
def test_a_place_that_cannot_be_had_is_named(tmp_path, listen, reason):
    """
    The system's reason, without the object it came in.
    """

    class Reactor(MemoryReactorClock):
        def listenTCP(self, port, *args, **kwargs):
            raise CannotListenError("", port, OSError(98, "Not today"))

    service = ListeningService(listen, Factory(), Reactor(), str(tmp_path))
    with pytest.raises(ListenError) as caught:
        service.privilegedStartService()
    assert f"cannot listen on {listen}: {reason}" == str(caught.value)
