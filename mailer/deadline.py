"""
A moment by which something has to happen, and which moves with almost every octet.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """
    Calls back when it has passed.

    It is moved far more often than it passes, so that no timer is moved with it: the timer
    runs to where the deadline once was, looks, and goes on to where it is.

    Args:
        passed: Called once for each time that it passes.

    Attributes:
        at: Seconds of the clock; None while it is not set. While it is, it may be rebound to any
            later moment, which takes less than ``set``.
    """

    def __init__(self, clock: IReactorTime, passed: Callable[[], None]) -> None:
        self._clock = clock
        self._passed = passed
        self.at: float | None = None
        self._timer: IDelayedCall | None = None
        self._timer_at = 0.0

    def set(self, at: float) -> None:
        """
        Move it.

        Args:
            at: Seconds of the clock; what is over passes at once, but not from here.
        """
        self.at = at
        if self._timer is not None and at < self._timer_at:
            self._stop_timer()
        if self._timer is None:
            self._start_timer(at)

    def clear(self) -> None:
        """
        Let it not pass, until it is set again.
        """
        self.at = None

    def end(self) -> None:
        """
        Clear it, and leave nothing to the clock.
        """
        self.at = None
        self._stop_timer()

    def _start_timer(self, at: float) -> None:
        self._timer_at = at
        self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._look)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self.at is None:
            return
        if self._clock.seconds() < self.at:
            self._start_timer(self.at)
        else:
            self.at = None
            self._passed()
