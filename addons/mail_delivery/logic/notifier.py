"""
Notifications in the background: coalesced, and never in anyone's way.
"""

import logging
import threading
from collections.abc import Callable, Iterable

from .webhook import Mailer

_logger = logging.getLogger(__name__)

WAIT = 0.1  # seconds in which further changes go with the first


class Notifier:
    """
    Calls every mailer some time after ``kick``, in threads of its own.

    Args:
        mailers: Returns the mailers to call; it is asked after the wait.
        call: Calls one; returns whether that went well, and why not.
        wait: Seconds.
    """

    def __init__(
        self,
        mailers: Callable[[], Iterable[Mailer]],
        call: Callable[[Mailer], tuple[bool, str]],
        wait: float = WAIT,
    ) -> None:
        self._mailers = mailers
        self._call = call
        self._wait = wait
        self._lock = threading.Lock()
        self._waits = False

    def kick(self) -> None:
        """
        Have the mailers called; a call that waits already will do.
        """
        with self._lock:
            if self._waits:
                return
            self._waits = _start(threading.Timer(self._wait, self._run))

    def _run(self) -> None:
        with self._lock:
            self._waits = False  # a change from here on needs a call of its own
        try:
            mailers = list(self._mailers())
        except Exception:
            _logger.exception("the mailers were not told of a change; they find it when they poll")
            return
        for mailer in mailers:
            # One that does not answer must not hold up the others.
            _start(threading.Thread(target=self._tell, args=(mailer,)))

    def _tell(self, mailer: Mailer) -> None:
        try:
            well, reason = self._call(mailer)
        except Exception:
            _logger.exception("mailer %s was not told of a change", mailer.url)
            return
        if not well:
            _logger.warning("mailer %s was not told of a change: %s", mailer.url, reason)


def _start(thread: threading.Thread) -> bool:
    """
    Start a thread; a failure, for want of memory say, is no one else's.
    """
    thread.daemon = True
    try:
        thread.start()
    except Exception:
        _logger.exception("a mailer was not told of a change; it finds it when it polls")
        return False
    return True
