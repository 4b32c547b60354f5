"""
Tests for mailer.map_files: links, and folders that others may write to.
"""

import os
import tempfile
from pathlib import Path

import pytest

from mailer.errors import TemporaryError
from mailer.map_files import write_map_file

OTHER = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root is careful for everybody")


@pytest.fixture(autouse=True)
def postmap(tmp_path_factory, monkeypatch):
    """
    A postmap of our own, which copies the map file to ``.db``.
    """
    program = tmp_path_factory.mktemp("bin") / "postmap"
    program.write_text('#!/bin/sh\ncp "$1" "$1.db"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.fixture
def public():
    """
    A folder that everyone may enter; that of pytest is our own.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.parametrize("name", ["map", "map.db"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_replaced_not_followed(tmp_path, name, exists):
    """
    What it led to is as it was, and both files lie where Postfix looks for them.
    """
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    folder = tmp_path / "postfix"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    write_map_file(f"{folder}/map", "a@x b@x\n")
    assert exists == victim.exists()
    assert not exists or victim.read_text() == "precious"
    assert ["a@x b@x\n"] * 2 == [(folder / each).read_text() for each in ("map", "map.db")]
    assert not (folder / name).is_symlink()


@ROOT_ONLY
@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize(
    ("owner", "mode", "mend"),
    [(0, 0o757, "chmod o-w"), (0, 0o775, "chmod g-w"), (OTHER, 0o755, "chown root")],
)
def test_root_does_not_write_where_others_do(public, above, owner, mode, mend):
    """
    They could put a link in the place of what is being made; it is said how to mend that.
    """
    exposed = public / "exposed"
    folder = exposed / "below" if above else exposed
    folder.mkdir(parents=True)
    exposed.chmod(mode)
    os.chown(exposed, owner, OTHER)
    with pytest.raises(TemporaryError) as caught:
        write_map_file(f"hash:{folder}/map", "a@x b@x\n")
    assert f"{folder}/map is not written by root: {exposed} " in str(caught.value)
    assert f"run: {mend} {exposed}" in str(caught.value)
    assert [] == list(folder.iterdir())


@ROOT_ONLY
def test_a_user_may_write_where_others_do(public, monkeypatch):
    """
    Whom he shares a folder with is his own affair.
    """
    public.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    write_map_file(f"{public}/map", "a@x b@x\n")
    assert {"map", "map.db"} == {path.name for path in public.iterdir()}
