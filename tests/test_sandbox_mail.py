"""
The Maildir of the sandbox and its ledger.
"""

import mailbox
import os
import sqlite3
from contextlib import closing
from io import BytesIO

import pytest

from mailer.sandbox_mail import LEDGER, MailStore

MESSAGE = b"Subject: a\r\n\r\nb\x00\xe4\nc\r\n"


@pytest.fixture
def folder(tmp_path):
    """
    A folder that is not there yet.
    """
    return tmp_path / "some" / "mail"


@pytest.fixture
def store(folder):
    """
    A new store in that folder.
    """
    with closing(MailStore(folder)) as store:
        yield store


def contents(folder):
    """
    Return what lies in the Maildir.
    """
    return sorted(path.read_bytes() for path in folder.glob("[cn]*/*") if path.is_file())


def test_octets_are_kept_exactly(store, folder):
    """
    Behind one field in front, a copy has the octets of the message.
    """
    store.store("d", "a@b.c", BytesIO(MESSAGE))

    assert contents(folder) == [b"X-Original-To: a@b.c\r\n" + MESSAGE]


@pytest.mark.parametrize("message", [b"Subject: a\n\nb\n", b"no line end", b""])
def test_field_ends_as_the_message_does(store, folder, message):
    """
    The line end of the field is LF unless the message has CRLF.
    """
    store.store("d", "a@b.c", BytesIO(message))

    assert [b"X-Original-To: a@b.c\n" + message] == contents(folder)


def test_message_is_read_from_its_beginning(store, folder):
    """
    Where the file stood before does not matter.
    """
    message = BytesIO(MESSAGE)
    message.read()
    store.store("d", "a@b.c", message)

    assert contents(folder)[0].endswith(MESSAGE)


def test_is_a_maildir(store, folder):
    """
    Any reader of a Maildir finds the mail as new.
    """
    store.store("d", "a@b.c", BytesIO(MESSAGE))
    (message,) = mailbox.Maildir(folder, create=False)

    assert message.get_subdir() == "new"
    assert message["X-Original-To"] == "a@b.c"
    assert list((folder / "tmp").iterdir()) == []


def test_existing_folder_becomes_a_maildir(tmp_path):
    """
    An empty folder is as good as none.
    """
    with closing(MailStore(tmp_path)) as store:
        store.store("d", "a@b.c", BytesIO(MESSAGE))

    assert len(contents(tmp_path)) == 1


def test_one_copy_for_each_recipient_and_digest(store, folder):
    """
    Another recipient or another digest is another copy with another number.
    """
    numbers = [store.store(*key, BytesIO(MESSAGE)) for key in (("d", "a"), ("d", "b"), ("e", "a"))]

    assert 3 == len(set(numbers)) == len(contents(folder))


def test_find(store):
    """
    What was stored is found by its number, and nothing else is.
    """
    number = store.store("d", "a@b.c", BytesIO(MESSAGE))

    assert number == store.find("d", "a@b.c")
    assert store.find("d", "b@b.c") is None
    assert store.find("e", "a@b.c") is None


def test_ledger_survives(store, folder):
    """
    Another process finds what was stored.
    """
    number = store.store("d", "a@b.c", BytesIO(MESSAGE))
    store.close()

    with closing(MailStore(folder)) as again:
        assert number == again.find("d", "a@b.c")


def test_storing_twice_is_refused_by_the_ledger(store, folder):
    """
    The ledger has each digest and recipient once, whoever asks.
    """
    store.store("d", "a@b.c", BytesIO(MESSAGE))
    with pytest.raises(sqlite3.IntegrityError):
        store.store("d", "a@b.c", BytesIO(MESSAGE))

    assert len(contents(folder)) == 1


@pytest.mark.parametrize("read", [False, True])
def test_crash_between_file_and_ledger(store, folder, read):
    """
    A file without a line in the ledger is stored, even if it was read meanwhile: the next try of
    its mail has to hear so, whatever became of the address.
    """
    store.store("d", "a@b.c", BytesIO(MESSAGE))
    store.close()
    with closing(sqlite3.connect(folder / LEDGER)) as ledger, ledger:
        ledger.execute("DELETE FROM mail")
    if read:
        (path,) = (folder / "new").iterdir()
        path.rename(folder / "cur" / f"{path.name}:2,S")

    with closing(MailStore(folder)) as again:
        number = again.find("d", "a@b.c")
        assert number is not None
        assert number == again.find("d", "a@b.c")
        assert again.find("d", "x@b.c") is None
    assert len(contents(folder)) == 1


def test_crash_while_writing(store, folder):
    """
    A half written file counts for nothing and is overwritten.
    """
    store.store("d", "a@b.c", BytesIO(MESSAGE))
    (path,) = (folder / "new").iterdir()
    path.rename(folder / "tmp" / path.name)
    os.truncate(folder / "tmp" / path.name, 3)
    store.close()
    (folder / LEDGER).unlink()

    with closing(MailStore(folder)) as again:
        again.store("d", "a@b.c", BytesIO(MESSAGE))
    assert contents(folder) == [b"X-Original-To: a@b.c\r\n" + MESSAGE]


def test_ledger_that_fails_leaves_one_copy(store, folder):
    """
    After a failure of the ledger the same is tried again without a second file.
    """
    with closing(sqlite3.connect(folder / LEDGER)) as ledger:
        ledger.execute("ALTER TABLE mail RENAME TO gone")
        with pytest.raises(sqlite3.Error):
            store.store("d", "a@b.c", BytesIO(MESSAGE))
        ledger.execute("ALTER TABLE gone RENAME TO mail")
    (path,) = (folder / "new").iterdir()
    path.rename(folder / "cur" / f"{path.name}:2,")

    assert store.find("d", "a@b.c")
    assert len(contents(folder)) == 1


class Broken(BytesIO):
    """
    A message that can be read in part only.
    """

    def read(self, size=-1):
        raise OSError(5, "Input/output error")


def test_failure_leaves_nothing(store, folder):
    """
    What could not be written in whole is neither in the Maildir nor in the ledger.
    """
    with pytest.raises(OSError, match="Input/output"):
        store.store("d", "a@b.c", Broken(MESSAGE))

    assert [] == contents(folder) == list((folder / "tmp").iterdir())
    assert store.find("d", "a@b.c") is None


def test_octets_of_any_kind_are_keys(store):
    """
    Digests and recipients that are not UTF-8 are kept apart.
    """
    store.store("\udce4", "\udcf6@b.c", BytesIO(MESSAGE))

    assert store.find("\udce4", "\udcf6@b.c") is not None
    assert store.find("\udce4", "\udce4@b.c") is None


class Slices(BytesIO):
    """
    A message that notes how much is asked of it at once.
    """

    largest = 0

    def read(self, size=-1):
        assert size is not None
        assert size > 0
        self.largest = max(self.largest, size)
        return super().read(size)


def test_large_message_is_streamed(store, folder):
    """
    A message is never read in one piece.
    """
    message = Slices(b"a" * 3_000_000)
    store.store("d", "a@b.c", message)

    assert message.largest <= 1_048_576
    assert len(contents(folder)[0]) > 3_000_000
