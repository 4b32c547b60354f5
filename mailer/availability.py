"""
Whether a server is worth asking now.
"""

from mailer.reply import BUSY_451, UNREACHABLE_451, Reply

MAX_PAUSE = 5.0  # seconds: a server that is back is noticed within this


class Availability:
    """
    Remembers that a server was unreachable or asked for a pause.

    While it lasts, mail is answered at once; when it is over, one delivery
    goes through as a probe, and the others wait for its outcome.
    """

    def __init__(self) -> None:
        self._refusal: Reply | None = None
        self._until = 0.0
        self._failures = 0

    @property
    def is_up(self) -> bool:
        """The last word from the server was an answer."""
        return self._failures == 0

    def refusal(self, now: float) -> Reply | None:
        """
        Return the reply to give at once; None to go and ask the server.

        Args:
            now: Seconds, of any steady clock.
        """
        if self._refusal is not None and now >= self._until:
            self._until = now + MAX_PAUSE
            return None
        return self._refusal

    def failed(self, now: float) -> None:
        """
        The server could not be reached: pause for 1, 2, 4, then 5 seconds.
        """
        self._failures = min(self._failures + 1, 10)
        self._until = now + min(2.0 ** (self._failures - 1), MAX_PAUSE)
        self._refusal = UNREACHABLE_451

    def answered(self, now: float, retry_after: float = 0.0) -> None:
        """
        The server answered, and perhaps asked for a pause.

        Args:
            retry_after: Seconds.
        """
        self._failures = 0
        self._until = now + retry_after
        self._refusal = BUSY_451 if retry_after else None
