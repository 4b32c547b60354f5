"""
The truth: what every SMTP reply said of each message and mailbox, and when.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from messages import Message, mailboxes_of


@dataclass(frozen=True, slots=True)
class Fate:
    """
    What the client was told last of a message for one mailbox.

    Args:
        state: ``accepted``, ``refused``, or ``in doubt`` where no reply came after the dot.
        reply: Code and text.
        queue_id: Postfix's; empty where it was not told.
        at: Seconds, Unix time, when the reply came.
    """

    state: str
    reply: str = ""
    queue_id: str = ""
    at: float = 0.0


@dataclass(slots=True)
class Sent:
    """
    A message and its fate for each mailbox; one that is missing was never decided.
    """

    message: Message
    fates: dict[str, Fate] = field(default_factory=dict)

    @property
    def mailboxes(self) -> tuple[str, ...]:
        """All that the message is for."""
        return tuple(box for name in self.message.recipients for box in mailboxes_of(name))


class Journal:
    """
    Args:
        path: A file that gets every reply as a line of JSON.
    """

    def __init__(self, path: Path) -> None:
        self.sent: dict[str, Sent] = {}
        self.put_off = 0  # replies of 4xx
        self._file = path.open("a")
        self._lock = threading.Lock()

    def begin(self, message: Message) -> None:
        """
        Note that a message is about to be sent.
        """
        with self._lock:
            self.sent[message.trace] = Sent(message)

    def note(self, message: Message, fates: Mapping[str, Fate]) -> None:
        """
        Write down what was said for some mailboxes.
        """
        with self._lock:
            self.sent[message.trace].fates.update(fates)
            for mailbox, fate in fates.items():
                line = [message.trace, mailbox, fate.state, fate.reply, fate.queue_id, fate.at]
                self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def note_put_off(self, message: Message, reply: str) -> None:
        """
        Write down a temporary refusal.
        """
        with self._lock:
            self.put_off += 1
            self._file.write(json.dumps([message.trace, None, "put off", reply, "", time.time()]))
            self._file.write("\n")

    def close(self) -> None:
        """
        Close the file.
        """
        self._file.close()


class ListHistory:
    """
    What Odoo declared, and when.

    Args:
        declared: Address to whether it is declared in the beginning.
    """

    def __init__(self, declared: Mapping[str, bool], at: float = 0.0) -> None:
        self._changes = {address: [(at, state)] for address, state in declared.items()}

    def note(self, address: str, declared: bool, at: float) -> None:
        """
        Note that an address is about to be declared, or removed.
        """
        self._changes[address].append((at, declared))

    def was(self, declared: bool, address: str, since: float, until: float) -> bool:
        """
        Say whether an address was declared, or was not, at any moment of a time.
        """
        changes = self._changes.get(address, [(0.0, False)])
        ends = [at for at, _ in changes[1:]] + [float("inf")]
        return any(
            state is declared and begin <= until and end >= since
            for (begin, state), end in zip(changes, ends, strict=True)
        )
