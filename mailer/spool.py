"""
One message on its way: in memory while it is small, then in an unlinked temporary file.
"""

import hashlib
import io
import os
import tempfile

from mailer.message import MAX_HEADER

MAX_MEMORY = 131_072  # octets of one message held in memory


class Spool:
    """
    Takes the octets of a message, and gives them back any number of times.

    Args:
        folder: For the temporary file; None for the system's.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._memory = bytearray()
        self._file: io.FileIO | None = None
        self._hash = hashlib.sha256()
        self._closed = False
        self.size = 0

    def write(self, data: bytes) -> None:
        """
        Append octets.

        Raises:
            OSError: The temporary file cannot be made or is full.
        """
        if self._file is not None:
            _write_all(self._file, data)
        elif self.size + len(data) <= MAX_MEMORY:
            self._memory += data
        else:
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115
            _write_all(self._file, self._memory)
            self._memory = bytearray()
            _write_all(self._file, data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """SHA-256 of all octets so far, hexadecimal."""
        return self._hash.hexdigest()

    def beginning(self) -> bytes:
        """
        Return the first octets, enough for any header that is looked at.
        """
        return self.read(0, MAX_HEADER)

    def read(self, offset: int, size: int) -> bytes:
        """
        Return octets from an offset.

        Raises:
            ValueError: The spool is closed.
        """
        if self._closed:
            raise ValueError("a message that has been forgotten")
        if self._file is not None:
            return os.pread(self._file.fileno(), size, offset)
        return bytes(memoryview(self._memory)[offset : offset + size])

    def close(self) -> None:
        """
        Forget the message.
        """
        self._closed = True
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()


def _write_all(file: io.FileIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class MessageReader(io.RawIOBase):
    """
    A file of a new beginning and the rest of a spooled message.

    Several readers of one spool do not disturb each other.

    Args:
        beginning: What stands before the rest.
        offset: Where in the spool the rest begins.
    """

    def __init__(self, beginning: bytes, spool: Spool, offset: int) -> None:
        self._beginning = beginning
        self._spool = spool
        self._shift = offset - len(beginning)
        self._size = spool.size - self._shift
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """
        Return at most ``size`` octets, all that are left if it is negative; empty at the end.
        """
        left = self._size - self._position
        size = left if size < 0 else min(size, left)
        data = self._beginning[self._position : self._position + size]
        if len(data) < size:
            offset = self._position + len(data) + self._shift
            data += self._spool.read(offset, size - len(data))
        self._position += len(data)
        return data
