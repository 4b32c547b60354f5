"""
Tests for mailer.commands: those that run a reactor, each in a process of its own.
"""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def config_file(tmp_path):
    """
    A configuration of which nothing answers.
    """
    path = tmp_path / "c.yaml"
    path.write_text(
        f"host: http://127.0.0.1:1\ntoken: secret-token\nnexthop: lmtp:unix:l\n"
        f"socket: {tmp_path}/l\nsocketmap: {tmp_path}/m\nhttp: {tmp_path}/h\n"
        f"cache: {tmp_path}/cache\n"
        f"aliases: {tmp_path}/virtual\ntransport: {tmp_path}/transport\n"
    )
    return path


@pytest.fixture
def run(config_file):
    """
    Runs a command; returns the finished process.
    """

    def run_command(*words, data=b""):
        command = [sys.executable, "-m", "mailer.cli", "-c", str(config_file), *words]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=60, env=environ, check=False
        )
        assert b"secret-token" not in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr
        return done

    return run_command


@pytest.mark.parametrize("name", ["daemon", "lmtp", "webhook"])
def test_a_service_that_cannot_listen(run, tmp_path, name):
    """
    69, with the place and the reason in one line, and no other socket left behind.
    """
    place = tmp_path / ("h" if name == "webhook" else "l")
    place.write_text("no socket")
    done = run(name)
    said = f"odoo-mailer: cannot listen on {place}: it exists and is no socket"
    assert (69, said) == (done.returncode, done.stderr.decode().splitlines()[-1])
    assert {"c.yaml", "cache", place.name} == {path.name for path in tmp_path.iterdir()}


def test_a_cache_that_cannot_be_used(run, tmp_path):
    """
    78: the administrator has to mend the configuration.
    """
    (tmp_path / "cache").write_text("a file")
    done = run("daemon")
    assert done.returncode == 78
    assert b"cache" in done.stderr


@pytest.mark.parametrize("name", ["aliases", "transport"])
def test_a_list_that_cannot_be_fetched(run, tmp_path, name):
    """
    75, nothing printed, no file made.
    """
    done = run(name)
    assert (75, b"") == (done.returncode, done.stdout)
    assert b"odoo-mailer: odoo (http://127.0.0.1:1): " in done.stderr
    assert {"c.yaml"} == {path.name for path in tmp_path.iterdir()}


def test_a_message_that_is_too_large(run, config_file):
    """
    69 with one line on standard output: a refusal of ours is final.
    """
    config_file.write_text(config_file.read_text() + "max_message_size: 1024\n")
    done = run("pipe", "--recipient", "a@example.com", data=b"x" * 2000)
    assert (69, b"5.3.4 Message is larger than allowed here\n") == (done.returncode, done.stdout)
