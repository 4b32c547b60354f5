"""
Tests for mailer.store: the file, where it is damaged, newer, or not to be had.
"""

import os
import sqlite3
import tempfile
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from twisted.logger import globalLogPublisher

from mailer.alias_list import AliasList
from mailer.alias_table import Removed, ServerList
from mailer.errors import TemporaryError
from mailer.store import FILE_NAME, Store, Stored

MANY = {f"{number}@example.com": (f"{number}@example.org",) for number in range(2000)}
KEPT = Stored(ServerList("odoo", AliasList(MANY), {}, 1e9, len(MANY)), "https://odoo.example.com")


@pytest.fixture
def file(tmp_path):
    """
    The file of a store that holds a list.
    """
    Store(str(tmp_path)).save(KEPT)
    return tmp_path / FILE_NAME


@pytest.fixture
def events():
    """
    What was logged.
    """
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def aside(file):
    """
    Return the files that were set aside.
    """
    return [path for path in file.parent.iterdir() if ".damaged-" in path.name]


@contextmanager
def nobody():
    """
    Be somebody whom permissions concern.
    """
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    "content",
    [
        b"no database at all, but a text of some length\n" * 100,
        b"SQLite format 3\x00" + b"\xff" * 5000,
        b"\x00" * 4096,
    ],
)
def test_damaged_file(file, events, content):
    """
    A file that is no database is set aside as it is, and a new one made.
    """
    file.write_bytes(content)
    store = Store(str(file.parent))
    (kept,) = aside(file)
    assert content == kept.read_bytes()
    assert Stored(ServerList("odoo")) == store.load("odoo")
    store.save(KEPT)
    assert KEPT == store.load("odoo")
    assert ["error"] == [event["log_level"].name for event in events]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_file(file, part):
    """
    A file of which the end is missing does not keep the daemon from starting.
    """
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    store = Store(str(file.parent))
    assert Stored(ServerList("odoo")) == store.load("odoo")
    assert [whole[: int(len(whole) * part)]] == [path.read_bytes() for path in aside(file)]


def test_damage_inside(file):
    """
    A file with damage behind its beginning does not keep the daemon from starting.
    """
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    file.write_bytes(content)
    store = Store(str(file.parent))
    assert Stored(ServerList("odoo")) == store.load("odoo")
    store.save(KEPT)
    assert KEPT == store.load("odoo")


def test_empty_file(file):
    """
    An empty file is taken as a new one.
    """
    file.write_bytes(b"")
    store = Store(str(file.parent))
    assert Stored(ServerList("odoo")) == store.load("odoo")
    assert [] == aside(file)


def test_made_by_two_at_once(tmp_path):
    """
    Two processes that find no file make one, and both can use it.
    """
    failures = []

    def make(folder, start):
        start.wait()
        try:
            Store(str(folder)).load("odoo")
        except TemporaryError as error:
            failures.append(str(error))

    for number in range(30):
        start = threading.Barrier(2)
        place = tmp_path / str(number)
        threads = [threading.Thread(target=make, args=(place, start)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [] == failures


def test_newer_version(file):
    """
    A file of a newer version is refused with a clear word, and left as it is.
    """
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 3")
    content = file.read_bytes()
    with pytest.raises(TemporaryError) as caught:
        Store(str(file.parent))
    assert f"{file} is of a newer odoo-mailer, version 3" == str(caught.value)
    assert content == file.read_bytes()
    assert [] == aside(file)


@pytest.mark.parametrize("below", ["", "/below"])
def test_folder_is_a_file(tmp_path, below):
    """
    A cache folder that cannot be made is a TemporaryError that names it.
    """
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(TemporaryError, match=str(place)):
        Store(f"{place}{below}")


def test_file_is_a_folder(tmp_path):
    """
    A file that cannot be opened is a TemporaryError that names it, and is not set aside.
    """
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(TemporaryError, match=FILE_NAME):
        Store(str(tmp_path))
    assert [FILE_NAME] == [path.name for path in tmp_path.iterdir()]


def test_unwritable_folder(tmp_path):
    """
    A folder that may not be written is a TemporaryError.
    """
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    try:
        (folder / "probe").write_text("")
    except PermissionError:
        with pytest.raises(TemporaryError, match=FILE_NAME):
            Store(str(folder))
    else:
        pytest.skip("this user may write anywhere")


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.load("odoo"),
        lambda store: store.save(KEPT),
        lambda store: store.save_mark("odoo"),
        lambda store: store.is_marked("odoo"),
        lambda store: store.knows("odoo", "a@x"),
    ],
)
def test_file_lost_meanwhile(file, use):
    """
    Whatever is asked of a file that went away is a TemporaryError, and no new file is made.
    """
    store = Store(str(file.parent))
    file.unlink()
    file.mkdir()
    with pytest.raises(TemporaryError, match=FILE_NAME):
        use(store)


def test_a_list_that_cannot_be_written_is_no_damage(tmp_path):
    """
    The file is good, and stays with what is in it.
    """
    store = Store(str(tmp_path))
    store.save(KEPT)
    with pytest.raises(UnicodeEncodeError):
        store.save(Stored(ServerList("odoo", AliasList(transport={"\ud800@x": ""}))))
    assert [] == aside(tmp_path / FILE_NAME)
    assert KEPT == store.load("odoo")


@pytest.mark.parametrize(
    "value",
    ["", "no time", "1e", b"\xff"],
)
def test_removed_address_that_cannot_be_read(tmp_path, events, value):
    """
    A row that no version has written is damage like any other.
    """
    removed = {"gone@example.com": Removed(1e9, "")}
    store = Store(str(tmp_path))
    store.save(Stored(ServerList("odoo", AliasList(), removed, 1e9)))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE removed SET at = ?", (value,))
    content = (tmp_path / FILE_NAME).read_bytes()
    assert Stored(ServerList("odoo")) == store.load("odoo")
    assert [content] == [path.read_bytes() for path in aside(tmp_path / FILE_NAME)]
    assert ["error"] == [event["log_level"].name for event in events]
    store.save(KEPT)
    assert KEPT == store.load("odoo")


def test_damaged_file_in_an_unwritable_folder():
    """
    Where it cannot be set aside, it is a TemporaryError and stays as it is.
    """
    with tempfile.TemporaryDirectory() as name:  # that of pytest is root's alone
        folder = Path(name)
        (folder / FILE_NAME).write_text("no database at all\n" * 100)
        folder.chmod(0o555)
        with nobody(), pytest.raises(TemporaryError, match=f"{FILE_NAME}.*ermission"):
            Store(str(folder))
        assert [FILE_NAME] == [path.name for path in folder.iterdir()]
        folder.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
@pytest.mark.parametrize("damaged", [False, True])
def test_file_made_by_root(tmp_path, damaged):
    """
    What a command of root makes belongs to the owner of the folder, who runs the daemon.
    """
    os.chown(tmp_path, 65534, 65533)
    if damaged:
        (tmp_path / FILE_NAME).write_text("no database at all\n" * 100)
    Store(str(tmp_path)).save(KEPT)
    status = (tmp_path / FILE_NAME).stat()
    assert (65534, 65533) == (status.st_uid, status.st_gid)
