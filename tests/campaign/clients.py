"""
SMTP clients that behave like mail hosts: what is put off they try again, until it is decided.
"""

import random
import re
import smtplib
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from journal import Fate, Journal
from messages import Message, content_of, mailboxes_of

TIMEOUT = 120.0  # seconds for one reply: Postfix waits for a daemon that hangs for 100
_LINE_WITH_DOT = re.compile(rb"^\.", re.MULTILINE)


class Client:
    """
    Sends one message after the other; a session may serve several.

    Args:
        rng: For pauses, and for how long a session lasts.
        stop: No further message, and no further try, once it is set.
    """

    def __init__(
        self, seed: str, port: int, journal: Journal, rng: random.Random, stop: threading.Event
    ) -> None:
        self._seed = seed
        self._port = port
        self._journal = journal
        self._rng = rng
        self._stop = stop
        self._session: smtplib.SMTP | None = None

    def run(self, messages: Iterable[Message]) -> None:
        """
        Send messages, each after its pause.
        """
        due = time.monotonic()
        for message in messages:
            due += message.pause
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
            self.send(message)
        self.end_session()

    def send(self, message: Message) -> None:
        """
        Try until the fate of every recipient is known, or ``stop`` is set.
        """
        self._journal.begin(message)
        content = content_of(self._seed, message)
        waiting, hang_up = message.recipients, message.hang_up
        while waiting and not self._stop.is_set():
            try:
                waiting = self._attempt(message, waiting, content, hang_up)
            except (OSError, smtplib.SMTPException) as error:
                self._drop_session()
                self._journal.note_put_off(message, repr(error))
            hang_up = ""
            if waiting:
                self._stop.wait(self._rng.uniform(0.2, 1.5))
            if self._rng.random() < 0.5:
                self.end_session()

    def end_session(self) -> None:
        """
        Say good-bye to Postfix, if there is a session.
        """
        if self._session is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._session.quit()
        self._drop_session()

    def _attempt(
        self, message: Message, recipients: Sequence[str], content: bytes, hang_up: str
    ) -> tuple[str, ...]:
        """
        Make one transaction; return the recipients that were put off.
        """
        session = self._greeted()
        options = ["BODY=8BITMIME"] if message.is_8bit else []
        replies = {"": session.mail(message.sender, options)}
        if replies[""][0] == 250:
            replies |= {recipient: session.rcpt(recipient) for recipient in recipients}
        taken = tuple(name for name in recipients if replies.get(name, (0, b""))[0] == 250)
        refused = [name for name in recipients if 500 <= replies.get(name, (0, b""))[0]]
        self._note(message, refused, "refused", replies)
        if not taken:
            session.rset()
        elif not self._hand_over(message, taken, content, hang_up):
            taken = ()
        put_off = tuple(name for name in recipients if name not in taken and name not in refused)
        if put_off and not hang_up:
            self._journal.note_put_off(message, _text(list(replies.values())[-1]))
        return put_off

    def _hand_over(
        self, message: Message, recipients: Sequence[str], content: bytes, hang_up: str
    ) -> bool:
        """
        Send the content; say whether the fate of these recipients is decided.
        """
        session = self._greeted()
        code, _ = session.docmd("DATA")
        if code != 354:
            return False
        stuffed = _LINE_WITH_DOT.sub(b"..", content)
        if hang_up == "data":
            session.send(stuffed[: len(stuffed) // 2])
            self._drop_session()
            return False
        session.send(stuffed + b".\r\n")
        if hang_up == "after":
            self._drop_session()
            self._note(message, recipients, "in doubt", {})
            return True
        try:
            reply = session.getreply()
        except (OSError, smtplib.SMTPException):
            self._drop_session()
            self._note(message, recipients, "in doubt", {})
            return True
        if reply[0] // 100 == 4:
            return False
        state = "accepted" if reply[0] == 250 else "refused"
        self._note(message, recipients, state, dict.fromkeys(recipients, reply))
        return True

    def _note(
        self,
        message: Message,
        recipients: Sequence[str],
        state: str,
        replies: dict[str, tuple[int, bytes]],
    ) -> None:
        now, fates = time.time(), dict[str, Fate]()
        for recipient in recipients:
            text = _text(replies[recipient]) if replies else ""
            queue_id = text.split()[-1] if state == "accepted" else ""
            fate = Fate(state, text, queue_id, now)
            fates |= dict.fromkeys(mailboxes_of(recipient), fate)
        if fates:
            self._journal.note(message, fates)

    def _greeted(self) -> smtplib.SMTP:
        if self._session is None:
            self._session = smtplib.SMTP("127.0.0.1", self._port, "client.test", TIMEOUT)
            self._session.ehlo()
        return self._session

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _text(reply: tuple[int, bytes]) -> str:
    return f"{reply[0]} {reply[1].decode('ascii', 'replace')}"
