"""
Tests for mailer.commands: what each command is given, and what becomes of its errors.
"""

import argparse

import pytest

from mailer import cli, commands
from mailer.errors import ListenError, TemporaryError
from mailer.listen import Listen


@pytest.fixture
def config_file(tmp_path):
    """
    A configuration of which nothing answers.
    """
    path = tmp_path / "c.yaml"
    path.write_text(
        f"host: http://127.0.0.1:1\ntoken: secret-token\nsocketmap: {tmp_path}/none\n"
        f"http: 127.0.0.1:8001\ncache: {tmp_path}/cache\n"
        f"aliases: {tmp_path}/virtual\ntransport: {tmp_path}/transport\n"
    )
    return path


@pytest.fixture
def arguments(config_file):
    """
    Reads the words of a command line.
    """
    return lambda *words: cli._parser().parse_args(["-c", str(config_file), *words])


@pytest.mark.parametrize(
    ("error", "status"),
    [(TemporaryError("no list"), 75), (ListenError("taken"), 69)],
)
def test_errors_become_exit_statuses(arguments, monkeypatch, capsys, error, status):
    """
    With one line on standard error, and no traceback.
    """

    def fail(arguments, config):
        raise error

    monkeypatch.setitem(commands._COMMANDS, "aliases", fail)
    assert status == commands.run(arguments("aliases"))
    assert f"odoo-mailer: {error}\n" == capsys.readouterr().err


def test_every_command_of_the_parser_is_there(arguments):
    """
    No word is accepted and then not known.
    """
    (action,) = [
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    assert set(action.choices) == set(commands._COMMANDS)


@pytest.fixture
def seen(monkeypatch):
    """
    The configurations that the services are given.
    """
    configs = []
    for name in ("daemon", "webhook", "lmtp"):
        monkeypatch.setitem(
            commands._COMMANDS, name, lambda arguments, config: configs.append(config) or 0
        )
    return configs


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["daemon"], Listen(host="127.0.0.1", port=8001)),
        (["daemon", "-n", "9000"], Listen(host="127.0.0.1", port=9000)),
        (["webhook", "--port", "9000"], Listen(host="127.0.0.1", port=9000)),
        (["lmtp"], Listen(host="127.0.0.1", port=8001)),
    ],
)
def test_the_port_of_the_command_line_wins(arguments, seen, words, place):
    """
    -n takes the place of the port of http, on the same host.
    """
    commands.run(arguments(*words))
    assert place == seen[0].http


def test_a_port_takes_the_place_of_a_socket_on_loopback(arguments, config_file, seen):
    """
    Never on all addresses.
    """
    text = config_file.read_text().replace("127.0.0.1:8001", "/run/http.sock")
    config_file.write_text(text)
    commands.run(arguments("daemon", "-n", "9000"))
    assert Listen(host="127.0.0.1", port=9000) == seen[0].http


def test_the_prefix_is_aliases_by_default(arguments):
    """
    And -p names another.
    """
    assert arguments("daemon").prefix == "/aliases"
    assert arguments("webhook", "-p", "/x").prefix == "/x"


@pytest.mark.parametrize(
    ("words", "recipients"),
    [
        ([], []),
        (["--recipient", "a@x", "b@x"], ["a@x", "b@x"]),
        (["--recipient=a@x", "--recipient=b@x"], ["a@x", "b@x"]),
        (["--recipient", "a@x", "--recipient", "b@x", "c@x"], ["a@x", "b@x", "c@x"]),
        (["--recipient", "a@x", "b@x", "--sender", "s@x"], ["a@x", "b@x"]),
    ],
)
def test_recipients_come_as_pipe_passes_them(arguments, words, recipients):
    """
    Postfix expands ``--recipient ${recipient}`` to several words, or repeats the whole word.
    """
    assert recipients == arguments("pipe", *words).recipient


def test_the_null_sender_is_an_empty_word(arguments):
    """
    Not the same as no sender at all.
    """
    assert arguments("pipe", "--sender", "").sender == ""
    assert arguments("pipe", "--sender=").sender == ""
    assert arguments("pipe").sender is None


def test_each_parse_begins_without_recipients(arguments):
    """
    The default list is not shared.
    """
    arguments("pipe", "--recipient", "a@x")
    assert [] == arguments("pipe").recipient


@pytest.mark.parametrize("words", [["refresh"], ["refresh", "--force"], ["lookup", "aliases", "x"]])
def test_without_a_daemon_there_is_nobody_to_ask(arguments, config_file, capsys, words):
    """
    75, and the question whether it runs.
    """
    text = config_file.read_text().replace("127.0.0.1:8001", "/nonexistent/http.sock")
    config_file.write_text(text)
    assert commands.run(arguments(*words)) == 75
    assert "is the daemon running?" in capsys.readouterr().err


def test_postfix_config_prints_lines_for_main_cf(arguments, capsys):
    """
    Both maps, and 0.
    """
    assert commands.run(arguments("postfix-config")) == 0
    printed = capsys.readouterr().out
    assert "virtual_alias_maps = socketmap:unix:" in printed
    assert "transport_maps = socketmap:unix:" in printed
