"""
Whether a server is worth asking now.
"""

from mailer.reply import BUSY_451, UNREACHABLE_451, Reply

MAX_PAUSE = 4.0  # seconds: a server that is back is to be noticed within 5
TRIAL = 30.0  # seconds that one delivery may try a server that is down before another one does


class Availability:
    """
    Remembers that a server was unreachable or asked for a pause.

    While it lasts, mail is answered at once; when it is over, one delivery
    goes through as a trial, and the others wait for its outcome.
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
        return self._refusal if now < self._until else None

    def called(self, now: float) -> None:
        """
        A delivery is asking the server: where that is a trial, it is the only one.
        """
        if self._refusal is not None:
            self._until = max(self._until, now + TRIAL)

    def failed(self, now: float, reply: Reply = UNREACHABLE_451) -> float:
        """
        The server could not be reached: pause for 1, 2, then 4 seconds.

        Args:
            reply: What mail for it is answered.

        Returns:
            Seconds of the pause.
        """
        self._failures = min(self._failures + 1, 10)
        pause = min(2.0 ** (self._failures - 1), MAX_PAUSE)
        self._until, self._refusal = now + pause, reply
        return pause

    def answered(self, now: float, retry_after: float = 0.0) -> None:
        """
        The server answered, and perhaps asked for a pause.

        Args:
            retry_after: Seconds.
        """
        self._failures = 0
        self._until = now + retry_after
        self._refusal = BUSY_451 if retry_after else None
