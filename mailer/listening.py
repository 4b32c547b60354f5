"""
Binding a listening place, and leaving it as it was found.

The folder of a UNIX socket may belong to another user than the daemon's, as
Postfix's ``private`` does where root runs it. What is at a socket's path is
therefore never followed: it could be a link by then.
"""

import contextlib
import fcntl
import grp
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.application.service import Service
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailer.errors import ListenError
from mailer.exposure import exposure_of, postfix_user, user_name
from mailer.listen import BACKLOG, Listen

LOCK_PATIENCE = 5.0  # seconds that another instance may take to bind

log = Logger()


class UnixPort(unix.Port):
    """
    A UNIX socket that listens already.

    Twisted's own port removes the file of whatever socket it has, another
    instance's and an inherited one too, and changes the mode and the backlog
    of an inherited one.

    Args:
        listening: The socket.
        is_own: Its file was made here, and goes with it.
    """

    def __init__(
        self, listening: socket.socket, factory: IProtocolFactory, reactor: Any, is_own: bool
    ) -> None:
        path = os.fsencode(listening.getsockname())
        super().__init__(path, factory, BACKLOG, reactor=reactor)
        self._served = factory
        self._shouldShutdown = is_own  # of tcp.Port: it would end it for its holder, too
        self._listening = listening
        self._path = path
        self._identity = _identity(path) if is_own else None

    def startListening(self) -> None:
        self._listening.setblocking(False)
        self._served.doStart()
        self.connected = True
        self.socket = self._listening
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        self.remove()
        tcp.Port.connectionLost(self, reason)  # not that of unix.Port

    def remove(self) -> None:
        """
        Remove the file, if it is there and its own.
        """
        with contextlib.suppress(FileNotFoundError):
            if _identity(self._path) == self._identity:
                os.unlink(self._path)


class ListeningService(Service):
    """
    Listens on one place from its start to its stop.

    Args:
        lock_folder: A folder common to the instances that could use the same
            place; two that start at once take turns there.
    """

    def __init__(
        self, listen: Listen, factory: IProtocolFactory, reactor: Any, lock_folder: str
    ) -> None:
        self.listen = listen
        self._factory = factory
        self._reactor = reactor
        self._lock_folder = lock_folder
        self._port: Any = None  # an IListeningPort

    def privilegedStartService(self) -> None:
        """
        Bind.

        Raises:
            ListenError: Another instance is there, or the system refuses.
        """
        try:
            with _one_at_a_time(self._lock_folder):
                self._port = self._bind()
        except CannotListenError as error:
            cause = error.socketError
            reason = getattr(cause, "strerror", None) or cause
            raise ListenError(f"cannot listen on {self.listen}: {reason}") from None
        except OSError as error:
            reason = error.strerror or error
            raise ListenError(f"cannot listen on {self.listen}: {reason}") from None
        except (ValueError, TypeError, LookupError) as error:
            raise ListenError(f"cannot listen on {self.listen}: {error}") from None

    def startService(self) -> None:
        super().startService()
        if self._port is None:
            self.privilegedStartService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else succeed(None)

    def remove_socket(self) -> None:
        """
        Remove the socket file at once, where the reactor will not run.
        """
        if isinstance(self._port, UnixPort):
            self._port.remove()

    def _bind(self) -> IListeningPort:
        if self.listen.path:
            _warn_of_others(self.listen)
            held = held_socket(self.listen.path, self._reactor)
            if held is not None:
                return self._unix_port(held, is_own=False)
            return self._unix_port(listen_unix(self.listen), is_own=True)
        endpoint = serverFromString(self._reactor, self.listen.description)
        inherited = isinstance(endpoint, AdoptedStreamServerEndpoint)
        if inherited and endpoint.addressFamily == socket.AF_UNIX:
            found = socket.fromfd(endpoint.fileno, socket.AF_UNIX, socket.SOCK_STREAM)
            return self._unix_port(found, is_own=False)
        return self._endpoint_port(endpoint)

    def _unix_port(self, listening: socket.socket, is_own: bool) -> UnixPort:
        port = UnixPort(listening, self._factory, self._reactor, is_own)
        port.startListening()
        return port

    def _endpoint_port(self, endpoint: IStreamServerEndpoint) -> IListeningPort:
        """
        Bind a place given by an endpoint description; they all bind at once or fail at once.
        """
        results: list[Any] = []
        endpoint.listen(self._factory).addBoth(results.append)
        if not results:
            raise ListenError(f"cannot listen on {self.listen}: it does not bind at once")
        if isinstance(results[0], Failure):
            results[0].raiseException()
        port: IListeningPort = results[0]
        return port


def held_socket(path: str, reactor: Any) -> socket.socket | None:
    """
    Return the listening UNIX socket of this path that the supervisor passed on, if it did.

    Source: sd_listen_fds(3), which the endpoint ``systemd:`` implements.
    """
    index = 0
    while True:
        try:
            endpoint: Any = serverFromString(reactor, f"systemd:domain=UNIX:index={index}")
        except IndexError:
            return None
        found = socket.fromfd(endpoint.fileno, socket.AF_UNIX, socket.SOCK_STREAM)
        if found.getsockname() == path:
            return found
        found.close()
        index += 1


def listen_unix(listen: Listen) -> socket.socket:
    """
    Bind a UNIX socket with its mode and group, in the place of one that nobody listens on.

    Raises:
        ListenError: Another instance listens there, or it is no socket.
        OSError: The system refuses.
    """
    remove_stale_socket(listen.path)
    listening = socket.socket(socket.AF_UNIX)
    try:
        _bind_with_mode(listening, listen)
        _set_group(listen)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _bind_with_mode(listening: socket.socket, listen: Listen) -> None:
    """
    Bind; the socket has its mode from its beginning, nothing is changed by its path.
    """
    umask = os.umask(0o777 & ~listen.mode)
    try:
        listening.bind(listen.path)
    finally:
        os.umask(umask)


def remove_stale_socket(path: str) -> None:
    """
    Remove a socket that nobody listens on.

    Raises:
        ListenError: Somebody does, or it is no socket.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ListenError(f"cannot listen on {path}: it exists and is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
        log.info("removed {path}, which a process that is gone had left", path=path)
        return
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from None
    raise ListenError(f"cannot listen on {path}: another instance listens there")


@contextmanager
def _one_at_a_time(folder: str) -> Iterator[None]:
    """
    Wait while another instance binds; not for long, as whoever may read the folder may lock it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until = time.monotonic() + LOCK_PATIENCE
        while not _locked(descriptor):
            if time.monotonic() >= until:
                log.warn("{folder} is locked by another process; not waited for", folder=folder)
                break
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(path: str | bytes) -> tuple[int, int]:
    """
    Return what tells a socket file from another one of the same name.
    """
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _warn_of_others(listen: Listen) -> None:
    """
    Tell who could put a socket of his own there: he would get the mail, or say where it goes.
    """
    found = exposure_of(
        os.path.dirname(listen.path),
        owners=postfix_user(),
        groups=(os.getegid(), *_group_of("postfix")),
        owner=user_name(os.geteuid()),
    )
    if found is not None:
        log.warn("others may take the place of {path}: {exposure}",
                 path=listen.path, exposure=str(found))  # fmt: skip


def _group_of(name: str) -> tuple[int, ...]:
    try:
        return (grp.getgrnam(name).gr_gid,)
    except KeyError:
        return ()


def _set_group(listen: Listen) -> None:
    if not listen.group:
        return
    group = _group_of(listen.group)
    if not group:
        log.warn("{path}: there is no group {group}, the socket keeps the group of the process",
                 path=listen.path, group=listen.group)  # fmt: skip
        return
    try:
        os.chown(listen.path, -1, *group, follow_symlinks=False)
    except OSError as error:
        log.warn("{path}: cannot give the socket to group {group}: {reason}",
                 path=listen.path, group=listen.group, reason=error.strerror)  # fmt: skip
