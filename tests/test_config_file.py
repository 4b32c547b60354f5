"""
Tests for mailer.config_file.
"""

import os

import pytest

from mailer.config_file import load
from mailer.errors import ConfigError, Fault

MINIMAL = "host: odoo.example.com\ntoken: a-secret\n"


@pytest.fixture
def file(tmp_path):
    """
    A configuration file of the two keys that have to be there.
    """
    path = tmp_path / "odoo-mailer.yaml"
    path.write_text(MINIMAL)
    return path


def faults(path):
    """
    Return what is wrong with a file.
    """
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value.faults


def test_loads(file):
    """
    The file is read and understood.
    """
    config = load(str(file), {})
    assert ["https://odoo.example.com"] == [server.url for server in config.servers]
    assert ["a-secret"] == [server.token.value for server in config.servers]


def test_missing_file(tmp_path):
    """
    Where there is no file, the way to name another is told.
    """
    expected = (Fault(0, "", "there is no such file; -c names another"),)
    assert expected == faults(tmp_path / "missing.yaml")


def test_folder(tmp_path):
    """
    A folder cannot be read.
    """
    assert (Fault(0, "", f"cannot be read: {os.strerror(21)}"),) == faults(tmp_path)


def test_file_below_a_file(file):
    """
    A path through a file cannot be read.
    """
    assert (Fault(0, "", f"cannot be read: {os.strerror(20)}"),) == faults(file / "below")


@pytest.mark.parametrize("content", [b"token: s\xe9cret\n", b"\xff\xfeh\x00o\x00", b"\x80"])
def test_not_utf_8(file, content):
    """
    Octets that are not UTF-8 are told without showing them.
    """
    file.write_bytes(content)
    assert (Fault(0, "", "cannot be read: not UTF-8 text"),) == faults(file)


def test_byte_order_mark(file):
    """
    A byte order mark at the beginning does no harm.
    """
    plain = load(str(file), {})
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert plain == load(str(file), {})


def test_token_file(file, tmp_path):
    """
    The token is read from the file named, without its line end.
    """
    (tmp_path / "token").write_text("from-a-file\n")
    file.write_text(f"host: odoo.example.com\ntoken_file: {tmp_path / 'token'}\n")
    assert "from-a-file" == load(str(file), {}).servers[0].token.value


def test_missing_token_file(file, tmp_path):
    """
    A token file that is not there is named, with its line.
    """
    file.write_text(f"host: odoo.example.com\ntoken_file: {tmp_path}/missing\n")
    with pytest.raises(ConfigError) as caught:
        load(str(file), {})
    text = f"{tmp_path}/missing cannot be read: {os.strerror(2)}"
    assert (Fault(2, "token_file", text),) == caught.value.faults


def test_systemd_credential(file, tmp_path):
    """
    The environment that is given names the folder of systemd's credentials.
    """
    (tmp_path / "token").write_text("from-systemd")
    file.write_text("host: odoo.example.com\n")
    config = load(str(file), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "from-systemd" == config.servers[0].token.value


def test_process_environment(file, monkeypatch):
    """
    Without an environment given, the one of the process counts.
    """
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/elsewhere")
    assert "/var/lib/elsewhere" == load(str(file)).cache


def test_faults_name_the_file(file):
    """
    Each fault begins with the file and its line, and does not tell the token.
    """
    file.write_text("token: a-secret\nhots: odoo.example.com\n")
    with pytest.raises(ConfigError) as caught:
        load(str(file), {})
    assert f"{file}:2: hots: unknown key, did you mean host?" in str(caught.value).splitlines()
    assert "a-secret" not in str(caught.value)
