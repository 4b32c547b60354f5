"""
Tests for mailer.store: what others may have put into its folder, or may do to it.
"""

import os
import sqlite3
import tempfile
from contextlib import contextmanager, suppress

import pytest

from mailer import store
from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.store import FILE_NAME, Store, Stored

KEPT = Stored(ServerList("odoo", AliasList(transport={"a@x": ""}), {}, 1e9, 1), "https://odoo")
OTHER = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts in folders of others")


@pytest.fixture
def victim(tmp_path):
    """
    Where a link leads: a folder that is root's alone, in practice.
    """
    folder = tmp_path / "victim"
    folder.mkdir()
    return folder / "file"


@pytest.fixture
def folder(tmp_path):
    """
    The cache folder; where we are root it belongs to somebody else.
    """
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o750)
    if os.geteuid() == 0:
        os.chown(folder, OTHER, OTHER)
    return folder


@contextmanager
def just_before_it_is_opened(monkeypatch, act):
    """
    Have something done after every check that comes before SQLite opens the file.
    """
    connect = sqlite3.connect

    def act_and_connect(*args, **kwargs):
        monkeypatch.setattr(store.sqlite3, "connect", connect)
        act()
        return connect(*args, **kwargs)

    monkeypatch.setattr(store.sqlite3, "connect", act_and_connect)
    yield
    monkeypatch.setattr(store.sqlite3, "connect", connect)


def is_used(folder):
    """
    Say whether a store can be used, and its file is a file of its own.
    """
    used = Store(str(folder))
    used.save(KEPT)
    return Store(str(folder)).load("odoo") == KEPT and not (folder / FILE_NAME).is_symlink()


def test_a_link_to_nothing_makes_nothing(folder, victim, logged):
    """
    Root's command does not make a file where the owner of the folder wants one.
    """
    (folder / FILE_NAME).symlink_to(victim)
    assert is_used(folder)
    assert not victim.exists()
    assert "it is a symbolic link" in [event.get("error") for event in logged]


@pytest.mark.parametrize("content", ["", "precious", "database"])
def test_what_a_link_leads_to_is_left_alone(folder, victim, content):
    """
    Neither written nor given away, and the link is set aside.
    """
    if content == "database":
        with sqlite3.connect(victim) as connection:
            connection.execute("CREATE TABLE entry (a)")
        connection.close()
    else:
        victim.write_text(content)
    before, owner = victim.read_bytes(), victim.stat().st_uid
    (folder / FILE_NAME).symlink_to(victim)
    assert is_used(folder)
    assert (before, owner) == (victim.read_bytes(), victim.stat().st_uid)
    assert (folder / f"{FILE_NAME}.damaged-1").is_symlink()


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("made_before", [False, True])
def test_a_link_put_there_in_between(folder, victim, monkeypatch, exists, made_before):
    """
    However fast it is, the file it leads to is neither made, written nor given away.
    """
    if made_before:
        Store(str(folder))
    if exists:
        victim.write_bytes(b"")

    def swap():
        (folder / FILE_NAME).unlink()
        (folder / FILE_NAME).symlink_to(victim)

    owner = os.geteuid()
    with just_before_it_is_opened(monkeypatch, swap), suppress(store.TemporaryError):
        is_used(folder)
    assert is_used(folder)
    assert exists == victim.exists()
    assert not exists or (b"", owner) == (victim.read_bytes(), victim.stat().st_uid)


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_a_journal_that_is_a_link_is_not_followed(folder, victim, suffix):
    """
    What SQLite writes beside the file goes nowhere else.
    """
    (folder / f"{FILE_NAME}{suffix}").symlink_to(victim)
    with suppress(store.TemporaryError):
        Store(str(folder)).save(KEPT)
    assert not victim.exists()


@ROOT_ONLY
@pytest.mark.parametrize("name", ["fifo", "socket"])
def test_no_file_at_all(folder, name):
    """
    What is no file is refused, and nobody waits for it.
    """
    if name == "fifo":
        os.mkfifo(folder / FILE_NAME)
    else:
        os.mknod(folder / FILE_NAME, 0o140644)
    with pytest.raises(store.TemporaryError, match=FILE_NAME):
        Store(str(folder))


@ROOT_ONLY
def test_a_file_is_set_aside_whatever_lies_in_its_way(folder, victim):
    """
    A link of the name that a damaged file would get is replaced, not followed.
    """
    (folder / FILE_NAME).write_text("no database at all\n" * 100)
    (folder / f"{FILE_NAME}.damaged-1").symlink_to(victim)
    assert is_used(folder)
    assert not victim.exists()


def test_a_folder_that_is_a_link_is_as_good(folder, tmp_path):
    """
    Such a one is made by systemd, or by an administrator who wants it elsewhere.
    """
    (tmp_path / "link").symlink_to(folder)
    assert is_used(tmp_path / "link")
    assert (folder / FILE_NAME).exists()


@pytest.mark.parametrize("name", ["a b", "a?mode=memory", "a%20b", "a#b", "ä;b", "a&b"])
def test_a_folder_of_any_name(tmp_path, name):
    """
    What means something in a URI does not there.
    """
    assert is_used(tmp_path / name)
    assert (tmp_path / name / FILE_NAME).stat().st_size > 0


@ROOT_ONLY
def test_who_may_only_read_reads():
    """
    A command of a user who may not write finds what is stored.
    """
    with tempfile.TemporaryDirectory() as folder:  # that of pytest is root's alone
        os.chmod(folder, 0o755)
        Store(folder).save(KEPT)
        os.seteuid(OTHER)
        try:
            assert KEPT == Store(folder).load("odoo")
        finally:
            os.seteuid(0)


@pytest.mark.parametrize(("mode", "warned"), [(0o750, False), (0o770, False), (0o777, True)])
def test_a_folder_that_everyone_may_change(logged, mode, warned):
    """
    The way to mend it is in the log; a group may be meant to write.
    """
    with tempfile.TemporaryDirectory() as path:  # that of pytest is closed to others
        os.chmod(path, mode)
        Store(path)
    said = [str(e.get("exposure")) for e in logged if e["log_namespace"] == store.__name__]
    assert [f"{path} may be changed by every user; run: chmod o-w {path}"] * warned == said


@ROOT_ONLY
@pytest.mark.parametrize("user", [0, OTHER - 1])
def test_a_folder_of_somebody_else(logged, user):
    """
    Its owner could change the list of a daemon that is another user's; root's command asks nothing.
    """
    with tempfile.TemporaryDirectory() as folder:  # that of pytest is root's alone
        Store(folder)
        os.chmod(folder, 0o755)
        os.chown(folder, OTHER, OTHER)
        os.seteuid(user)
        try:
            Store(folder)
        finally:
            os.seteuid(0)
    said = [event["exposure"] for event in logged if "exposure" in event]
    assert [f"; run: chown {OTHER - 1} {folder}"] * (user != 0) == [
        text[text.index("; run:") :] for text in said
    ]
