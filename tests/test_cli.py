"""
Tests for mailer.cli: words in, exit status out.
"""

import gc
import os
import subprocess
import sys

import pytest

from mailer import __version__, cli


@pytest.fixture
def run(capsys):
    """
    Runs a command; returns its status, and what it printed.
    """

    def run_command(*words):
        with pytest.raises(SystemExit) as caught:
            cli.main(list(words))
        printed = capsys.readouterr()
        return caught.value.code, printed.out, printed.err

    return run_command


@pytest.fixture
def run_process(tmp_path):
    """
    Runs a program of Python in a process of its own.
    """

    def run_program(*arguments, **options):
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environ.pop("PYTHONUNBUFFERED", None)
        values = {"input": b"", "capture_output": True, "timeout": 60, "cwd": tmp_path}
        return subprocess.run(
            [sys.executable, *arguments], env=environ, check=False, **{**values, **options}
        )

    return run_program


COMMANDS = [
    "daemon",
    "lmtp",
    "webhook",
    "aliases",
    "transport",
    "pipe",
    "refresh",
    "lookup",
    "postfix-config",
    "sandbox",
]


def test_version(run):
    """
    Name and version, status 0.
    """
    assert (0, f"odoo-mailer {__version__}\n", "") == run("--version")


def test_help_names_every_command(run):
    """
    With what it does.
    """
    status, text, _ = run("--help")
    assert status == 0
    assert [] == [name for name in COMMANDS if f"\n    {name} " not in text]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(run, command):
    """
    COMMAND --help, status 0.
    """
    status, text, _ = run(command, "--help")
    assert status == 0
    assert text.startswith(f"usage: odoo-mailer {command}")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["--nonsense"],
        ["lookup"],
        ["lookup", "aliases"],
        ["daemon", "-n", "0"],
        ["daemon", "-n", "65536"],
        ["daemon", "-n", "http"],
        ["daemon", "-r"],
        ["daemon", "-r", "x"],
        ["refresh", "--farce"],
        ["aliases", "extra"],
        ["-c"],
    ],
)
def test_usage_errors(run, words):
    """
    64 with the usage, on standard error.
    """
    status, out, err = run(*words)
    assert (64, "") == (status, out)
    assert err.startswith("usage: odoo-mailer")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "pipe"])
def test_a_missing_configuration(run, tmp_path, command):
    """
    78, with the name of the file.
    """
    path = str(tmp_path / "none.yaml")
    more = ["aliases", "x"] if command == "lookup" else []
    status, out, err = run("-c", path, command, *more)
    assert (78, "") == (status, out)
    assert f"{path}: there is no such file; -c names another\n" == err


def test_every_fault_of_the_configuration_is_printed(run, tmp_path):
    """
    One line each, with file, line and key, and without the token.
    """
    path = tmp_path / "c.yaml"
    path.write_text("host: odoo.example.com\ntoken: secret-token\nrefresh: -1\ntimeout: soon\n")
    status, _, err = run("-c", str(path), "aliases")
    assert status == 78
    assert [f"{path}:3: refresh", f"{path}:4: timeout"] == [
        ": ".join(line.split(": ")[:2]) for line in err.splitlines()
    ]
    assert "secret-token" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["pipe", "--nonsense"],
        ["pipe", "extra"],
        ["pipe", "--sender"],
        ["pipe", "--recipient"],
        ["--nonsense", "pipe"],
        ["pipe", "--sender", "a@example.com", "--recipient", "-x@example.com"],
    ],
)
def test_pipe_answers_usage_errors_with_75(run, words):
    """
    Postfix would bounce on 64.
    """
    assert run(*words)[0] == 75


@pytest.mark.parametrize("content", [None, "", "host: [", "\xff", "refresh: never"])
def test_pipe_answers_a_faulty_configuration_with_75(run, tmp_path, content):
    """
    Postfix would bounce on 78; the fault is on standard error.
    """
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    status, _, err = run("-c", str(path), "pipe", "--recipient", "a@example.com")
    assert status == 75
    assert str(path) in err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ZeroDivisionError("oops"), 75),
        (MemoryError(), 75),
        (KeyboardInterrupt(), 75),
        (SystemExit("text"), 75),
        (SystemExit(1), 75),
        (SystemExit(None), 75),
        (SystemExit(64), 75),
        (SystemExit(78), 75),
        (SystemExit(0), 0),
        (SystemExit(65), 65),
        (SystemExit(67), 67),
        (SystemExit(69), 69),
        (SystemExit(77), 77),
    ],
)
def test_pipe_answers_whatever_is_not_understood_with_75(run, monkeypatch, error, status):
    """
    Any exception too; only the verdicts of Odoo pass.
    """

    def fail(words):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert status == run("pipe")[0]


def test_an_exception_of_another_command_is_70(run, monkeypatch):
    """
    With its traceback.
    """

    def fail(words):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(cli, "_run", fail)
    status, _, err = run("aliases")
    assert status == 70
    assert err.startswith("Traceback")


def test_help_is_quick(run_process):
    """
    It imports neither Twisted nor treq nor anything else that is not needed.
    """
    program = (
        "import sys\nfrom mailer import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'twisted', 'treq', 'ruamel', 'prometheus_client', 'OpenSSL', 'zope'}))\n"
    )
    done = run_process("-c", program)
    assert done.stdout.endswith(b"\n[]\n")


def test_no_time_goes_into_a_search_for_garbage(run):
    """
    Neither while the command is imported and run, nor at the end of the interpreter.
    """
    run("--version")
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_pipe_answers_a_broken_installation_with_75(run_process):
    """
    Where Twisted cannot be imported, the mail waits.
    """
    program = (
        "import sys\nsys.modules['twisted'] = None\nsys.modules['voluptuous'] = None\n"
        "from mailer import cli\ncli.main(['pipe'])\n"
    )
    assert run_process("-c", program).returncode == 75


CONFIG = "host: http://127.0.0.1:1\ntoken: secret-token\ncache: /nonexistent\n"


def test_pipe_answers_a_server_that_is_down_with_75(run_process, tmp_path):
    """
    One line on standard output, for Postfix's log.
    """
    (tmp_path / "c.yaml").write_text(CONFIG)
    done = run_process(
        *("-m", "mailer.cli", "-c", "c.yaml", "pipe", "--recipient", "a@example.com"),
        input=b"Subject: x\n\n",
    )
    assert (75, b"4.4.1 Odoo cannot be reached\n") == (done.returncode, done.stdout)
    assert b"secret-token" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_pipe_answers_with_75_where_it_cannot_print(run_process, tmp_path):
    """
    A full standard output is no reason to bounce.
    """
    (tmp_path / "c.yaml").write_text(CONFIG)
    with open("/dev/full", "wb") as full:
        done = run_process(
            *("-m", "mailer.cli", "-c", "c.yaml", "pipe", "--recipient", "a@example.com"),
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 75
