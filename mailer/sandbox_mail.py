"""
Where the sandbox keeps mail: a Maildir, and a ledger of what is in it.

One file for each (digest, recipient). Its name follows from these two, and it
is on the disk before the ledger says so: after a crash between both, a
repeated POST finds the file and only adds the missing line.

Source: maildir(5); INTERFACE of ``X-Mail-Digest``, the same on every try.
"""

import hashlib
import mailbox
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mailer.address import encode

LEDGER = "ledger.sqlite3"

_SCHEMA = """\
CREATE TABLE IF NOT EXISTS mail (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    recipient BLOB NOT NULL,
    file TEXT NOT NULL,
    UNIQUE (digest, recipient)
)"""


class MailStore:
    """
    Keeps one copy for each message and recipient.

    Args:
        folder: The Maildir; made if it is not there. It serves one process at a time.

    Raises:
        OSError: The folder cannot be had.
        sqlite3.Error: The ledger in it cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        maildir = mailbox.Maildir(folder, create=True)
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(exist_ok=True)
        self._folder = folder
        self._ledger = sqlite3.connect(folder / LEDGER)
        with self._ledger:
            self._ledger.execute(_SCHEMA)
        known = {name for (name,) in self._ledger.execute("SELECT file FROM mail")}
        self._unledgered = set(maildir.keys()) - known

    def find(self, digest: str, recipient: str) -> int | None:
        """
        Return the ledger's number of a copy; None if there is none.

        A copy that is there without a number, because the process ended between the
        two, gets it now: what is in the Maildir is stored.

        Raises:
            sqlite3.Error: The ledger cannot be read or written.
        """
        row = self._ledger.execute(
            "SELECT id FROM mail WHERE digest = ? AND recipient = ?",
            (encode(digest), encode(recipient)),
        ).fetchone()
        if row is not None:
            return int(row[0])
        name = _name(digest, recipient)
        return self._record(digest, recipient, name) if name in self._unledgered else None

    def store(self, digest: str, recipient: str, message: BinaryIO) -> int:
        """
        Keep a copy for a recipient who has none yet; it is on the disk on return.

        Args:
            digest: Of the message, in whatever form: it only tells messages apart.
            message: Read from its beginning.

        Returns:
            The ledger's number of the copy.

        Raises:
            OSError, sqlite3.Error: Nothing is promised, the same may be tried again.
        """
        name = _name(digest, recipient)
        if name not in self._unledgered:
            self._write(name, recipient, message)
            self._unledgered.add(name)
        return self._record(digest, recipient, name)

    def close(self) -> None:
        """
        Close the ledger; nothing can be stored afterwards.
        """
        self._ledger.close()

    def _record(self, digest: str, recipient: str, name: str) -> int:
        with self._ledger:
            cursor = self._ledger.execute(
                "INSERT INTO mail (digest, recipient, file) VALUES (?, ?, ?)",
                (encode(digest), encode(recipient), name),
            )
        self._unledgered.discard(name)
        return cursor.lastrowid or 0

    def _write(self, name: str, recipient: str, message: BinaryIO) -> None:
        """
        Write one file; ``Maildir.add`` would change the line ends of the message.
        """
        temporary = self._folder / "tmp" / name
        message.seek(0)
        newline = b"\n" if not message.readline(65_536).endswith(b"\r\n") else b"\r\n"
        message.seek(0)
        try:
            with temporary.open("wb") as file:
                file.write(b"X-Original-To: " + encode(recipient) + newline)
                shutil.copyfileobj(message, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._folder / "new" / name)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(self._folder / "new")


def _name(digest: str, recipient: str) -> str:
    """
    Return the name of the file of a copy.
    """
    return hashlib.sha256(encode(f"{digest}\n{recipient}")).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
