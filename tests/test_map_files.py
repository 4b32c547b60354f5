"""
Tests for mailer.map_files.
"""

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from mailer import postfix
from mailer.errors import TemporaryError
from mailer.map_files import write_map_file

OLD = "a@example.com a@example.com\n"
NEW = "a@example.com b@example.com\n" * 3
POSTMAP = r"""
case "$1" in
*:/*) type=${1%%:*} path=${1#*:} ;;
*) type=default path=$1 ;;
esac
"""


@pytest.fixture
def postmap(tmp_path_factory, monkeypatch):
    """
    Puts a postmap of our own on PATH, which copies the map file to ``.db``, or does as told.
    """
    folder = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(script='cp "$path" "$path.db"'):
        path = folder / "postmap"
        path.write_text(f"#!/bin/sh\n{POSTMAP}\n{script}\n")
        path.chmod(0o755)

    make()
    return make


def contents(folder):
    """
    Return every file below a folder.
    """
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def real_postmap(tmp_path_factory, monkeypatch):
    """
    Postfix's own postmap, with a configuration of its own: the machine may have none.
    """
    program = shutil.which("postmap") or shutil.which("postmap", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("needs Postfix's postmap")
    folder = tmp_path_factory.mktemp("postfix")
    (folder / "main.cf").write_text("compatibility_level = 3.6\n")
    monkeypatch.setenv("MAIL_CONFIG", str(folder))
    return program


@pytest.mark.parametrize("map_type", ["", "hash:", "lmdb:"])
def test_both_files(tmp_path, postmap, map_type):
    """
    The map file and its indexed file appear, and nothing else is left.
    """
    write_map_file(f"{map_type}{tmp_path}/map", NEW)
    assert {"map": NEW, "map.db": NEW} == contents(tmp_path)
    assert {"map", "map.db"} == {path.name for path in tmp_path.iterdir()}


def test_map_type_is_passed_on(tmp_path, postmap):
    """
    postmap gets the map type, or decides itself.
    """
    postmap('echo "$type" > "$path.db"')
    write_map_file(f"lmdb:{tmp_path}/map", NEW)
    write_map_file(f"{tmp_path}/other", NEW)
    assert ["lmdb\n", "default\n"] == [
        (tmp_path / name).read_text() for name in ("map.db", "other.db")
    ]


def test_replaces(tmp_path, postmap):
    """
    What was there before is replaced, other files are left alone.
    """
    (tmp_path / "other").write_text("other")
    for text in (OLD, NEW, ""):
        write_map_file(f"{tmp_path}/map", text)
        assert {"map": text, "map.db": text, "other": "other"} == contents(tmp_path)


def test_utf_8(tmp_path, postmap):
    """
    Addresses beyond ASCII are written as UTF-8.
    """
    write_map_file(f"{tmp_path}/map", "é@münchen.example é@x\n")
    assert "é@münchen.example é@x\n".encode() == (tmp_path / "map").read_bytes()


def test_colon_in_the_path(tmp_path, postmap):
    """
    A colon further back is part of the path.
    """
    folder = tmp_path / "odoo:8069"
    folder.mkdir()
    write_map_file(f"hash:{folder}/map", NEW)
    write_map_file(f"{folder}/other", NEW)
    assert {"map", "map.db", "other", "other.db"} == {path.name for path in folder.iterdir()}


def test_readable_by_postfix(tmp_path, postmap):
    """
    Both files can be read by everyone, whatever the umask was.
    """
    postmap('umask 077; cp "$path" "$path.db"')
    write_map_file(f"{tmp_path}/map", NEW)
    assert {0o644} == {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}


def test_index_is_not_older(tmp_path, postmap):
    """
    The indexed file is not older than its source, of which Postfix would warn.
    """
    write_map_file(f"{tmp_path}/map", NEW)
    source, index = (tmp_path / name for name in ("map", "map.db"))
    assert index.stat().st_mtime_ns >= source.stat().st_mtime_ns


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        'echo "postmap: fatal: broken" >&2; exit 1',
        'echo half > "$path.db"; exit 1',
        'rm "$path"; exit 1',
        "kill -9 $$",
    ],
)
def test_postmap_fails(tmp_path, postmap, script):
    """
    A postmap that fails leaves everything as it was.
    """
    write_map_file(f"{tmp_path}/map", OLD)
    before = contents(tmp_path)
    postmap(script)
    with pytest.raises(TemporaryError, match="postmap "):
        write_map_file(f"{tmp_path}/map", NEW)
    assert before == contents(tmp_path)
    assert {"map", "map.db"} == {path.name for path in tmp_path.iterdir()}


def test_postmap_cannot_be_run(tmp_path, postmap, tmp_path_factory):
    """
    A postmap that cannot be run leaves everything as it was.
    """
    write_map_file(f"{tmp_path}/map", OLD)
    before = contents(tmp_path)
    program = shutil.which("postmap")
    with open(program, "w") as file:
        file.write("#!/no/such/interpreter\n")
    with pytest.raises(TemporaryError):
        write_map_file(f"{tmp_path}/map", NEW)
    assert before == contents(tmp_path)


def test_postmap_missing(tmp_path, tmp_path_factory, monkeypatch):
    """
    Without postmap nothing is written, not even the source.
    """
    empty = str(tmp_path_factory.mktemp("empty"))
    monkeypatch.setenv("PATH", empty)
    monkeypatch.setattr(postfix, "_PATH", empty)
    with pytest.raises(TemporaryError, match="is Postfix installed"):
        write_map_file(f"{tmp_path}/map", NEW)
    assert {} == contents(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_no_folder(tmp_path, postmap):
    """
    A folder that is not there is named.
    """
    with pytest.raises(TemporaryError, match=f"{tmp_path}/missing"):
        write_map_file(f"hash:{tmp_path}/missing/map", NEW)
    assert {} == contents(tmp_path)


def test_place_is_a_folder(tmp_path, postmap):
    """
    A folder where the file should be stays, and is named.
    """
    (tmp_path / "map").mkdir()
    with pytest.raises(TemporaryError, match=f"{tmp_path}"):
        write_map_file(f"hash:{tmp_path}/map", NEW)
    assert (tmp_path / "map").is_dir()


def test_reader_sees_whole_files(tmp_path, postmap):
    """
    While the files are replaced again and again, a reader finds one text or the other, whole.
    """
    texts = ["a@x b@x\n" * 20_000, "c@x d@x\n" * 30_000]
    write_map_file(f"{tmp_path}/map", texts[0])
    seen, done = [], threading.Event()

    def read():
        try:
            while not done.is_set():
                seen.extend((tmp_path / name).read_text() in texts for name in ("map", "map.db"))
        except OSError:
            seen.append(False)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(30):
            write_map_file(f"{tmp_path}/map", texts[number % 2])
    finally:
        done.set()
        reader.join()
    assert {True} == set(seen)


@pytest.mark.parametrize("map_type", ["hash", "btree", "lmdb", "cdb"])
def test_real_postmap(tmp_path, real_postmap, map_type):
    """
    Postfix finds what was written, and after a replacement only the new.
    """
    postconf = Path(real_postmap).with_name("postconf")
    types = subprocess.run([postconf, "-m"], capture_output=True, text=True, check=False).stdout
    if map_type not in types.split():
        pytest.skip(f"this Postfix has no {map_type}: tables")
    place = f"{map_type}:{tmp_path}/map"

    def found(key):
        query = [real_postmap, "-q", key, place]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout

    write_map_file(place, "# comment\na@x b@x, c@x\né@x d@x\n")
    assert ["b@x, c@x\n", "d@x\n", ""] == [found("a@x"), found("é@x"), found("new@x")]
    write_map_file(place, "new@x a@x\n")
    assert ["", "a@x\n"] == [found("a@x"), found("new@x")]


def test_real_reader_during_replacements(tmp_path, real_postmap):
    """
    Postfix's own look-ups get an answer each time while the table is replaced.
    """
    place, done = f"hash:{tmp_path}/map", threading.Event()
    write_map_file(place, OLD)

    def replace():
        while not done.is_set():
            write_map_file(place, NEW[: len(OLD)])

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        query = [real_postmap, "-q", "a@example.com", place]
        answers = [subprocess.run(query, capture_output=True, check=False) for _ in range(20)]
    finally:
        done.set()
        writer.join()
    assert {0} == {answer.returncode for answer in answers}
    assert {b"a@example.com\n", b"b@example.com\n"} >= {answer.stdout for answer in answers}
