"""
Tests for mailer.postfix, with programs of our own on PATH.
"""

import pytest

from mailer import postfix
from mailer.errors import TemporaryError
from mailer.postfix import DEFAULT_QUEUE_DIRECTORY, postconf, postmap, queue_directory


@pytest.fixture
def program(tmp_path, monkeypatch):
    """
    Puts a shell script on PATH, in front of what is there.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def no_postfix(tmp_path, monkeypatch):
    """
    No Postfix anywhere: neither on PATH nor in the folders where it is looked for besides.
    """
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postfix, "_PATH", str(tmp_path))


def test_postconf(program):
    """
    The parameters asked for, as Postfix prints them, white space at the ends gone.
    """
    program("postconf", 'for name; do echo "$name = hash:/etc/$name, b=c "; done; echo "empty ="')
    expected = {"one": "hash:/etc/one, b=c", "two": "hash:/etc/two, b=c", "empty": ""}
    assert expected == postconf(["one", "two"])


def test_postconf_complains(program):
    """
    What postconf says on standard error is no parameter.
    """
    program("postconf", 'echo "postconf: warning: x = y" >&2; echo "a = b"; exit 1')
    assert {"a": "b"} == postconf(["a"])


def test_no_postconf(no_postfix):
    """
    Where there is no Postfix there are no parameters, and the queue is where it usually is.
    """
    assert {} == postconf(["queue_directory"])
    assert DEFAULT_QUEUE_DIRECTORY == queue_directory()


def test_queue_directory(program):
    """
    The queue directory is Postfix's own.
    """
    program("postconf", 'echo "queue_directory = /srv/spool/postfix"')
    assert "/srv/spool/postfix" == queue_directory()


@pytest.mark.parametrize("script", ["exit 1", 'echo "queue_directory ="', "echo nonsense"])
def test_queue_directory_of_a_broken_postfix(program, script):
    """
    A postconf that does not tell the queue directory leaves the usual one.
    """
    program("postconf", script)
    assert DEFAULT_QUEUE_DIRECTORY == queue_directory()


@pytest.mark.parametrize(("map_type", "argument"), [("", "/etc/x y"), ("lmdb", "lmdb:/etc/x y")])
def test_postmap(program, tmp_path, map_type, argument):
    """
    Exactly one argument, with the map type where there is one.
    """
    program("postmap", f'echo "$#:$1" > "{tmp_path}/called"')
    postmap("/etc/x y", map_type)
    assert f"1:{argument}\n" == (tmp_path / "called").read_text()


def test_postmap_fails(program):
    """
    What postmap says is told.
    """
    program("postmap", 'echo "postmap: fatal: no such map" >&2; exit 1')
    with pytest.raises(TemporaryError) as caught:
        postmap("/etc/x", "hash")
    assert "postmap hash:/etc/x: postmap: fatal: no such map" == str(caught.value)


def test_postmap_fails_silently(program):
    """
    A postmap that says nothing is told by its exit status.
    """
    program("postmap", "exit 69")
    with pytest.raises(TemporaryError) as caught:
        postmap("/etc/x", "hash")
    assert "postmap hash:/etc/x: 69" == str(caught.value)


def test_postmap_warns(program):
    """
    A warning alone is no failure.
    """
    program("postmap", 'echo "postmap: warning: duplicate entry" >&2')
    assert postmap("/etc/x", "") is None


def test_no_postmap(no_postfix):
    """
    Where there is no postmap it is said what is missing.
    """
    with pytest.raises(TemporaryError) as caught:
        postmap("/etc/x", "")
    assert "postmap was not found, is Postfix installed?" == str(caught.value)
