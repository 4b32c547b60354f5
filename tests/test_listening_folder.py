"""
Tests for mailer.listening: folders of sockets that others may write to, and locks they may hold.
"""

import fcntl
import grp
import os
import socket
import stat
import tempfile

import pytest
from twisted.internet.protocol import Factory

from mailer import exposure, listening
from mailer.errors import ListenError
from mailer.listen import Listen
from mailer.listening import ListeningService, listen_unix

OTHER = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts in folders of others")
GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def place():
    """
    A folder of its own that everyone may enter, short enough for a socket.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield folder


@pytest.fixture
def bind(fakes, place):
    """
    Makes a service and binds it; what listens is closed in the end.
    """
    reactor = fakes.Reactor()

    def make(listen, lock_folder=place):
        service = ListeningService(listen, Factory(), reactor, lock_folder)
        service.privilegedStartService()
        return service

    yield make
    reactor.close()


def warnings(logged):
    """
    Return the warnings of the module, as a reader of the log sees them.
    """
    return [
        event["log_format"].format(**event)
        for event in logged
        if event["log_namespace"] == listening.__name__ and event["log_level"].name == "warn"
    ]


@pytest.fixture
def swapped_after_binding(place, monkeypatch):
    """
    Where the socket was, there is a link to a file before its mode or group could be changed.
    """
    victim = os.path.join(place, "victim")
    with open(victim, "w") as file:
        file.write("precious")
    os.chmod(victim, 0o600)
    if os.geteuid() == 0:
        os.chown(victim, 0, OTHER)

    def swap(path):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
            os.symlink(victim, path)

    path, chmod, getgrnam = os.path.join(place, "s"), os.chmod, grp.getgrnam

    def swap_and_chmod(*args, **kwargs):
        swap(path)
        chmod(*args, **kwargs)

    def swap_and_getgrnam(name):
        if os.path.lexists(path):
            swap(path)
        return getgrnam(name)

    monkeypatch.setattr(os, "chmod", swap_and_chmod)
    monkeypatch.setattr(grp, "getgrnam", swap_and_getgrnam)
    return victim


def test_a_link_in_the_place_of_the_socket_is_not_followed(place, swapped_after_binding):
    """
    The owner of the folder cannot have root change mode or group of any file.
    """
    before = os.stat(swapped_after_binding)
    listen_unix(Listen(path=f"{place}/s", mode=0o666, group=GROUP)).close()
    after = os.stat(swapped_after_binding)
    assert os.path.islink(f"{place}/s")
    assert (before.st_mode, before.st_gid) == (after.st_mode, after.st_gid)


@pytest.mark.parametrize("target", ["nothing", "file", "socket"])
def test_a_link_is_no_place_to_listen(place, target):
    """
    Nothing is made, removed or connected to where it leads.
    """
    with socket.socket(socket.AF_UNIX) as stale:
        if target == "socket":
            stale.bind(f"{place}/target")
        elif target == "file":
            with open(f"{place}/target", "w") as file:
                file.write("precious")
        os.symlink(f"{place}/target", f"{place}/s")
        with pytest.raises(ListenError, match="it exists and is no socket"):
            listen_unix(Listen(path=f"{place}/s", group=""))
    assert (target != "nothing") == os.path.exists(f"{place}/target")


def test_a_link_to_our_own_socket_is_not_ours(bind, place, fakes):
    """
    At the end only what is really our socket file is removed.
    """
    service = bind(Listen(path=f"{place}/s", group=""))
    os.rename(f"{place}/s", f"{place}/moved")
    os.symlink(f"{place}/moved", f"{place}/s")
    service.remove_socket()
    assert os.path.lexists(f"{place}/s")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777, 0o000])
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_umask_of_the_process_stays(place, mode, umask):
    """
    The socket has its mode, and the process keeps its umask, also where binding fails.
    """
    before = os.umask(umask)
    try:
        listen_unix(Listen(path=f"{place}/s", mode=mode, group="")).close()
        with pytest.raises(OSError, match="No such file"):
            listen_unix(Listen(path=f"{place}/none/s", mode=mode, group=""))
    finally:
        during = os.umask(before)
    assert (mode, umask) == (stat.S_IMODE(os.stat(f"{place}/s").st_mode), during)


def test_a_folder_of_our_own_is_good(bind, place, logged):
    """
    Nothing to say.
    """
    bind(Listen(path=f"{place}/s", group=""))
    assert [] == warnings(logged)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_a_folder_that_everyone_may_write_to(bind, place, logged, mode):
    """
    Whoever puts his socket there first, while the daemon is down, gets the mail.
    """
    folder = f"{place}/a b"
    os.mkdir(folder)
    os.chmod(folder, mode)
    bind(Listen(path=f"{folder}/s", group=""))
    expected = (
        f"others may take the place of {folder}/s: "
        f"{folder} may be changed by every user; run: chmod o-w '{folder}'"
    )
    assert [expected] == warnings(logged)


@ROOT_ONLY
def test_a_folder_of_another_user_or_group(bind, place, logged, monkeypatch):
    """
    It is named, with what mends it; Postfix's own user gets the mail anyway.
    """
    os.mkdir(f"{place}/f")
    os.chown(f"{place}/f", OTHER, OTHER)
    os.chmod(f"{place}/f", 0o770)
    bind(Listen(path=f"{place}/f/s", group=""))
    (said,) = warnings(logged)
    assert f"; run: chown root {place}/f && chmod g-w {place}/f" in said
    logged.clear()
    monkeypatch.setattr(listening, "postfix_user", lambda: (OTHER,))
    os.chmod(f"{place}/f", 0o700)
    bind(Listen(path=f"{place}/f/t", group=""))
    assert [] == warnings(logged)


def test_a_lock_that_somebody_holds_does_not_stop_us(bind, place, logged, monkeypatch):
    """
    A user who may read the folder may lock it; the daemon starts all the same, and says so.
    """
    monkeypatch.setattr(listening, "LOCK_PATIENCE", 0.0)
    os.mkdir(f"{place}/cache")
    descriptor = os.open(f"{place}/cache", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        bind(Listen(path=f"{place}/s", group=""), f"{place}/cache")
    finally:
        os.close(descriptor)
    assert [f"{place}/cache is locked by another process; not waited for"] == warnings(logged)
    assert os.path.exists(f"{place}/s")


def test_the_lock_is_given_back(bind, place):
    """
    The next instance has not to wait.
    """
    bind(Listen(path=f"{place}/s", group=""))
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_postfix_user_where_there_is_none(monkeypatch):
    """
    A host without Postfix has no such user.
    """

    def getpwnam(name):
        raise KeyError(name)

    monkeypatch.setattr(exposure.pwd, "getpwnam", getpwnam)
    assert () == exposure.postfix_user()
