"""
Tests for mailer.map_commands; postmap is a program of the test's own.
"""

import pytest

from mailer.alias_list import AliasList
from mailer.alias_table import ServerList
from mailer.config import Config
from mailer.errors import TemporaryError
from mailer.map_commands import write_aliases, write_both, write_transport

ALIASES = b"info@example.com odoo@example.com\nodd@example.com x@example.org\n"
TRANSPORT = b"odoo@example.com\n"


class Desk:
    """
    A configuration whose map files are in the test's folder, and Odoo in memory.
    """

    def __init__(self, fakes, folder):
        self.fakes = fakes
        self.folder = folder
        self.reactor = fakes.Reactor()
        self.pages = {"aliases": (200, ALIASES), "transport": (200, TRANSPORT)}
        self.odoo = fakes.Odoo(
            self.reactor, lambda request: self.pages[request.path.rpartition("/")[2]]
        )
        self.names = ("odoo",)

    @property
    def config(self):
        """
        The configuration.
        """
        return Config(
            tuple(map(self.fakes.make_server, self.names)),
            aliases=f"{self.folder}/virtual",
            transport=f"{self.folder}/transport",
            nexthop="lmtp:unix:l",
        )

    def write(self, command):
        """
        Run one of the commands; return what it returns.
        """
        running = self.fakes.Deferred.fromCoroutine(command(self.config, self.reactor))
        for _ in range(100):
            self.odoo.run()
            if self.fakes.has_fired(running):
                break
            self.reactor.advance(0.1)
        return self.fakes.result_of(running)

    def files(self):
        """
        Return the files of the folder and what is in them, without the head line.
        """
        return {path.name: path.read_text().partition("\n")[2] for path in self.folder.iterdir()}


@pytest.fixture
def postmap(tmp_path, monkeypatch):
    """
    A postmap that copies the file to NAME.db.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "postmap"
    program.write_text('#!/bin/sh\nexec cp "${1##*:}" "${1##*:}.db"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return program


@pytest.fixture
def desk(fakes, tmp_path, postmap):
    """
    One server, an empty folder.
    """
    folder = tmp_path / "maps"
    folder.mkdir()
    return Desk(fakes, folder)


VIRTUAL = "info@example.com odoo@example.com\nodd@example.com x@example.org\n"
VIRTUAL += "odoo@example.com odoo@example.com\n"
NEXTHOPS = "info@example.com lmtp:unix:l\nodoo@example.com lmtp:unix:l\n"


def test_aliases_are_written_and_returned(desk):
    """
    A virtual(5) table, and its indexed file.
    """
    text = desk.write(write_aliases)
    assert sorted(VIRTUAL.splitlines()) == sorted(text.splitlines()[1:])
    assert {"virtual", "virtual.db"} == set(desk.files())
    assert text == (desk.folder / "virtual").read_text()


def test_transport_is_a_transport_table(desk):
    """
    One address and its next hop a line, for what is Odoo's alone.
    """
    assert desk.write(write_transport).endswith(NEXTHOPS)
    assert {"transport": NEXTHOPS, "transport.db": NEXTHOPS} == desk.files()


@pytest.mark.parametrize(
    "change",
    [
        {"aliases": (500, b"")},
        {"aliases": (401, b"")},
        {"aliases": (404, b"<html>")},
        {"aliases": (200, b"<html>")},
        {"aliases": (200, b""), "transport": (200, b"")},
        {"transport": (503, b"")},
        {"transport": (200, b"no list")},
    ],
)
@pytest.mark.parametrize("command", [write_aliases, write_transport])
def test_what_is_no_list_leaves_the_file(desk, change, command):
    """
    The error names the server and its URL; the old file stays.
    """
    desk.write(command)
    before = desk.files()
    desk.pages |= change
    with pytest.raises(TemporaryError, match=r"odoo \(http://127\.0\.0\.1/odoo\): "):
        desk.write(command)
    assert before == desk.files()


def test_a_server_that_is_down_leaves_the_file(desk):
    """
    Nothing is written where nothing could be fetched.
    """
    desk.odoo.answer = None
    with pytest.raises(TemporaryError):
        desk.write(write_aliases)
    assert {} == desk.files()


def test_every_server_is_needed(desk):
    """
    One table of all of them, or none.
    """
    desk.names = ("one", "two")
    desk.odoo.answer = lambda request: (
        desk.pages[request.path.rpartition("/")[2]] if "/one/" in request.path else (500, b"")
    )
    with pytest.raises(TemporaryError, match="two"):
        desk.write(write_aliases)
    assert {} == desk.files()


def test_an_empty_list_with_the_mark_is_written(desk):
    """
    An addon that declares nothing is believed.
    """
    empty = (200, b"", {"X-Mail-Delivery": "1"})
    desk.pages = {"aliases": empty, "transport": empty}
    desk.write(write_transport)
    assert {"transport": "", "transport.db": ""} == desk.files()


def test_a_postmap_that_fails_leaves_everything(desk, postmap):
    """
    What it said is in the error, and no file is left behind.
    """
    desk.write(write_aliases)
    before = desk.files()
    postmap.write_text("#!/bin/sh\necho no space >&2\nexit 1\n")
    desk.pages["aliases"] = (200, b"new@example.com\n")
    with pytest.raises(TemporaryError, match="no space"):
        desk.write(write_aliases)
    assert before == desk.files()


def test_both_files_are_written_from_the_table_in_force(desk, fakes):
    """
    The webhook alone keeps both up to date.
    """
    declared = AliasList(transport={"odoo@example.com": ""})
    write_both(desk.config, fakes.make_directory(ServerList("odoo", declared)).table, 0.0)
    files = desk.files()
    assert files["virtual"] == "odoo@example.com odoo@example.com\n"
    assert files["transport"] == f"odoo@example.com {fakes.NEXTHOP}\n"


def test_nothing_is_written_before_every_list_is_loaded(desk, fakes):
    """
    An empty map would bounce.
    """
    with pytest.raises(TemporaryError, match="no list of odoo yet"):
        write_both(desk.config, fakes.make_directory(ServerList("odoo", None)).table, 0.0)
    assert {} == desk.files()


def test_transport_is_written_before_aliases(desk, fakes, postmap):
    """
    An address that is valid already has a way to go, even if the second file fails.
    """
    text = '#!/bin/sh\ncase "$1" in *virtual) exit 1;; esac\nexec cp "${1##*:}" "${1##*:}.db"\n'
    postmap.write_text(text)
    declared = AliasList(transport={"odoo@example.com": ""})
    with pytest.raises(TemporaryError):
        write_both(desk.config, fakes.make_directory(ServerList("odoo", declared)).table, 0.0)
    assert {"transport", "transport.db"} == set(desk.files())
