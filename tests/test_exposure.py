"""
Tests for mailer.exposure.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from mailer.exposure import Exposure, changeable_folder, exposure_of

OTHER = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def public():
    """
    A folder that everyone may enter; that of pytest is our own.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def file(public):
    """
    A file of our own, of a group that is not root's where we may choose.
    """
    path = public / "a file"
    path.write_text("x")
    if os.geteuid() == 0:
        os.chown(path, 0, OTHER)
    return path


@pytest.mark.parametrize(
    ("mode", "problem", "change", "is_grave"),
    [
        (0o600, "", "", False),
        (0o640, "", "", False),
        (0o650, "", "", False),
        (0o641, "", "", False),
        (0o644, "may be read by every user", "o=", False),
        (0o642, "may be changed by every user", "o=", True),
        (0o646, "may be read and changed by every user", "o=", True),
    ],
)
def test_secret_file(file, mode, problem, change, is_grave):
    """
    A secret is for its owner and its group.
    """
    file.chmod(mode)
    found = exposure_of(str(file), is_secret=True)
    expected = Exposure(str(file), problem, f"chmod {change} '{file}'", is_grave)
    assert (expected if problem else None) == found


@pytest.mark.parametrize(
    ("mode", "problem", "change"),
    [
        (0o644, "", ""),
        (0o777, "may be changed by group {group}, and may be changed by every user", "g-w,o-w"),
        (0o664, "may be changed by group {group}", "g-w"),
        (0o646, "may be changed by every user", "o-w"),
    ],
)
@ROOT_ONLY
def test_file_that_may_be_read(file, mode, problem, change):
    """
    Of others only writing matters.
    """
    file.chmod(mode)
    found = exposure_of(str(file))
    text = f"{file} {problem.format(group=_group())}; run: chmod {change} '{file}'"
    assert (text if problem else "None") == str(found)


def _group():
    import grp

    try:
        return grp.getgrgid(OTHER).gr_name
    except KeyError:
        return str(OTHER)


@ROOT_ONLY
def test_file_of_another_user(file):
    """
    Its owner may change it whatever its mode is; an unknown one is a number.
    """
    file.chmod(0o400)
    os.chown(file, 64999, 64999)
    found = exposure_of(str(file), is_secret=True)
    assert f"{file} belongs to user 64999; run: chown root '{file}'" == str(found)
    assert found.is_grave
    assert exposure_of(str(file), owners=[64999]) is None
    assert exposure_of(str(file), owners=None) is None
    assert "chown postfix " in exposure_of(str(file), owner="postfix").commands


@ROOT_ONLY
def test_groups_that_are_let_in(file):
    """
    One, or every one.
    """
    file.chmod(0o660)
    assert exposure_of(str(file)) is not None
    assert exposure_of(str(file), groups=[OTHER]) is None
    assert exposure_of(str(file), groups=None) is None
    os.chown(file, 0, 0)
    assert exposure_of(str(file)) is None


@ROOT_ONLY
def test_what_is_said_to_run_mends_it(file):
    """
    The commands are for a shell, whatever the name of the file.
    """
    os.chown(file, 64999, 64999)
    file.chmod(0o777)
    found = exposure_of(str(file), is_secret=True)
    assert subprocess.run(found.commands, shell=True, check=False).returncode == 0
    assert exposure_of(str(file), is_secret=True) is None


@pytest.mark.parametrize(("mode", "found"), [(0o755, True), (0o751, True), (0o750, False)])
def test_a_closed_folder_protects_its_files(file, public, mode, found):
    """
    From every user, at whatever depth.
    """
    file.chmod(0o646)
    (public / "below").mkdir()
    moved = file.rename(public / "below" / "file")
    public.chmod(mode)
    assert found == (exposure_of(str(moved), is_secret=True) is not None)


def test_missing_file(public):
    """
    What is not there is nobody's.
    """
    assert exposure_of(str(public / "missing"), is_secret=True) is None


def test_a_link_stands_for_what_it_leads_to(file, public):
    """
    A link is open to everybody, its target need not be.
    """
    (public / "link").symlink_to(file)
    file.chmod(0o600)
    assert exposure_of(str(public / "link"), is_secret=True) is None
    file.chmod(0o644)
    assert exposure_of(str(public / "link"), is_secret=True) is not None


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ((0o755, 0o755, 0o755), None),
        ((0o777, 0o755, 0o755), "a"),
        ((0o755, 0o777, 0o755), "a/b"),
        ((0o755, 0o755, 0o777), "a/b/c"),
        ((0o1777, 0o755, 0o755), None),
        ((0o755, 0o755, 0o1777), "a/b/c"),
        ((0o777, 0o777, 0o777), "a/b/c"),
    ],
)
def test_folders_on_the_way(public, modes, expected):
    """
    Each of them counts; above the folder itself one like /tmp does no harm.
    """
    names = ["a", "a/b", "a/b/c"]
    for name, mode in zip(names, modes, strict=True):
        (public / name).mkdir()
        (public / name).chmod(mode)
    found = changeable_folder(str(public / "a/b/c/file"))
    assert (expected and str(public / expected)) == (found and found.path)


def test_folders_behind_a_link(public):
    """
    The way is the one that is really taken.
    """
    (public / "open").mkdir()
    (public / "open").chmod(0o777)
    (public / "link").symlink_to(public / "open")
    assert str(public / "open") == changeable_folder(str(public / "link" / "file")).path
