"""
Tests for mailer.config_file: files that others may read or change.
"""

import os
import tempfile
from pathlib import Path

import pytest

from mailer import config_file
from mailer.config_file import exposures, load

SECRET = "Zq7-distinctive-Xw"
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
def make(public):
    """
    Writes a file of this mode.
    """

    def write(name, text, mode):
        path = public / name
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def said(logged):
    """
    Return level and text of what was logged.
    """
    return [
        (event["log_level"].name, event["log_format"].format(**event))
        for event in logged
        if event["log_namespace"] == config_file.__name__
    ]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_file_for_its_owner_and_a_group_is_good(make, logged, mode):
    """
    As the instructions have it.
    """
    load(str(make("a.yaml", f"host: odoo\ntoken: {SECRET}\n", mode)), {})
    assert [] == said(logged)


def test_a_token_that_everyone_may_read(make, logged):
    """
    File, mode and what to run, at every reading, and never the token.
    """
    path = make("a.yaml", f"host: odoo\ntoken: {SECRET}\n", 0o644)
    for _ in range(2):
        load(str(path), {})
    text = (
        f"the token may be known to others: {path} may be read by every user; run: chmod o= {path}"
    )
    assert [("warn", text)] * 2 == said(logged)
    assert SECRET not in str(logged)


@pytest.mark.parametrize("token", [f"token: {SECRET}", "token_file: {folder}/token"])
def test_a_file_that_everyone_may_change(make, public, logged, token):
    """
    It says where mail goes: that is worse, whether the token stands in it or not.
    """
    make("token", SECRET, 0o600)
    path = make("a.yaml", f"host: odoo\n{token.format(folder=public)}\n", 0o602)
    load(str(path), {})
    ((level, text),) = said(logged)
    assert level == "error"
    assert f"others may change the configuration: {path} may be changed by every user" in text


def test_a_file_without_a_token_may_be_read(make, public, logged):
    """
    The token file may not.
    """
    token = make("token", SECRET, 0o604)
    load(str(make("a.yaml", f"host: odoo\ntoken_file: {token}\n", 0o644)), {})
    ((level, text),) = said(logged)
    assert level == "warn"
    assert text.endswith(f"{token} may be read by every user; run: chmod o= {token}")


def test_the_token_files_of_several_servers(make, public, logged):
    """
    Each is looked at, and the file of the one that has its token in there.
    """
    tokens = [make(f"token{n}", f"{SECRET}{n}", 0o644) for n in range(2)]
    text = "servers:\n- {name: c, host: h, token: xyz}\n" + "".join(
        f"- {{name: s{n}, host: h, token_file: {path}}}\n" for n, path in enumerate(tokens)
    )
    path = make("a.yaml", text, 0o644)
    config = load(str(path), {})
    assert [str(path), *map(str, tokens)] == [e.path for e in exposures(str(path), config, {})]
    assert len(said(logged)) == 3


@pytest.mark.parametrize("mode", [0o444, 0o666])
def test_a_credential_of_systemd_has_modes_of_its_own(make, public, logged, mode):
    """
    systemd keeps others away from it.
    """
    make("token", SECRET, mode)
    path = make("a.yaml", "host: odoo\n", 0o644)
    load(str(path), {"CREDENTIALS_DIRECTORY": str(public)})
    assert [] == said(logged)


@ROOT_ONLY
@pytest.mark.parametrize(
    ("owner", "mode", "command"), [(65534, 0o755, "chown root"), (0, 0o775, "chmod g-w")]
)
def test_a_folder_of_others(make, public, logged, owner, mode, command):
    """
    Who may put another file in its place may change it.
    """
    path = make("a.yaml", f"host: odoo\ntoken: {SECRET}\n", 0o600)
    os.chown(public, owner, 65534)
    public.chmod(mode)
    load(str(path), {})
    ((level, text),) = said(logged)
    assert level == "error"
    assert text.startswith(f"others may change the configuration: {public} ")
    assert text.endswith(f"; run: {command} {public}")


@ROOT_ONLY
def test_a_file_of_another_user(make, logged):
    """
    Its owner may change it.
    """
    path = make("a.yaml", f"host: odoo\ntoken: {SECRET}\n", 0o400)
    os.chown(path, 65534, 65534)
    load(str(path), {})
    assert [("error", f"; run: chown root {path}")] == [
        (level, text[text.index("; run:") :]) for level, text in said(logged)
    ]


def test_a_configuration_that_is_no_file(logged):
    """
    Such as one that a shell hands over.
    """
    reader, writer = os.pipe()
    os.write(writer, f"host: odoo\ntoken: {SECRET}\n".encode())
    os.close(writer)
    assert load(f"/dev/fd/{reader}", {}).servers[0].token.value == SECRET
    os.close(reader)
    assert [] == said(logged)
