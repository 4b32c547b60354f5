"""
Tests for mailer.asking: against a listener of the test's own, as the daemon would answer.
"""

import socket
import threading

import pytest

from mailer.asking import ask_lookup, ask_refresh
from mailer.config import Config, Token
from mailer.errors import TemporaryError
from mailer.listen import Listen
from mailer.socketmap import netstring


@pytest.fixture
def listen(tmp_path, monkeypatch):
    """
    Makes a listener that gives each connection one answer in pieces; returns where, and what came.
    """
    monkeypatch.chdir(tmp_path)
    threads = []

    def make(*answers, unix=True):
        listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        listener.bind("s" if unix else ("127.0.0.1", 0))
        listener.listen()
        received = []

        def serve():
            with listener:
                for pieces in answers:
                    connection, _ = listener.accept()
                    with connection:
                        received.append(connection.recv(65_536))
                        for piece in pieces:
                            connection.sendall(piece)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        if unix:
            return Listen(path=str(tmp_path / "s")), received
        return Listen(host="127.0.0.1", port=listener.getsockname()[1]), received

    yield make
    for thread in threads:
        thread.join(10)


@pytest.fixture
def make_config(fakes):
    """
    Makes a configuration with these places.
    """

    def make(names=("odoo",), **places):
        return Config(tuple(fakes.make_server(name) for name in names), **places)

    return make


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"OK info@example.com", 0),
        (b"NOTFOUND ", 1),
        (b"TEMP the alias list is not loaded yet", 75),
        (b"TIMEOUT x", 75),
        (b"PERM no such map", 75),
        (b"", 75),
    ],
)
@pytest.mark.parametrize("unix", [True, False])
def test_a_lookup_prints_the_answer(listen, make_config, capsys, answer, status, unix):
    """
    0 found, 1 not found, 75 for whatever else; the request is Postfix's own.
    """
    place, received = listen([netstring(answer)], unix=unix)
    assert status == ask_lookup(make_config(socketmap=place), "aliases", "info@example.com")
    assert answer.decode().strip() + "\n" == capsys.readouterr().out
    assert [netstring(b"aliases info@example.com")] == received


def test_a_key_may_be_any_octets(listen, make_config):
    """
    What the shell gave is asked for as it is; the answer says that there is no such address.
    """
    place, received = listen([netstring(b"NOTFOUND ")])
    assert ask_lookup(make_config(socketmap=place), "aliases", "\udcff@x") == 1
    assert [netstring(b"aliases \xff@x")] == received


def test_an_answer_may_come_in_pieces(listen, make_config):
    """
    It is read to its end.
    """
    place, _ = listen([b"1", b"9", b":OK info@", b"example.com", b","])
    assert ask_lookup(make_config(socketmap=place), "aliases", "x") == 0


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [([], "closed the connection"), ([b"5:OK"], "closed"), ([b"HTTP/1.1 400"], "netstring")],
)
def test_no_answer_is_temporary(listen, make_config, pieces, reason):
    """
    The error names the place and says what happened.
    """
    place, _ = listen(pieces)
    with pytest.raises(TemporaryError, match=reason) as caught:
        ask_lookup(make_config(socketmap=place), "aliases", "x")
    assert str(place) in str(caught.value)


def test_no_daemon_is_temporary(make_config, tmp_path):
    """
    The error asks whether it is running.
    """
    place = Listen(path=str(tmp_path / "none"))
    with pytest.raises(TemporaryError, match=r"No such file or directory; is the daemon running\?"):
        ask_lookup(make_config(socketmap=place), "aliases", "x")
    with pytest.raises(TemporaryError, match=r"is the daemon running\?"):
        ask_refresh(make_config(http=place), False)


def test_an_endpoint_cannot_be_asked(make_config):
    """
    Nobody can tell how to connect to systemd's socket.
    """
    with pytest.raises(TemporaryError, match="systemd:0"):
        ask_lookup(make_config(socketmap=Listen(endpoint="systemd:0")), "aliases", "x")


def response(status, text):
    """
    Return an HTTP response in two pieces.
    """
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n"
    return [head.encode(), text.encode()]


@pytest.mark.parametrize("force", [False, True])
def test_a_refresh_is_asked_for_with_the_token(listen, make_config, capsys, force):
    """
    The outcome is printed; the token goes in its header.
    """
    place, received = listen(response("200 OK", "odoo: changed, 7 addresses\n"))
    assert ask_refresh(make_config(http=place), force) == 0
    assert capsys.readouterr().out == "odoo: changed, 7 addresses\n"
    assert received[0].startswith(b"POST /refresh?force=%d HTTP/1.1\r\n" % force)
    assert b"X-Mail-Token: odoo-token\r\n" in received[0]


def test_every_server_is_refreshed(listen, make_config, capsys):
    """
    One refusal makes the status 75; its reason goes to standard error.
    """
    place, received = listen(
        response("409 Conflict", "one: refused"), response("200 OK", "two: changed")
    )
    assert ask_refresh(make_config(("one", "two"), http=place), False) == 75
    printed = capsys.readouterr()
    assert ("two: changed\n", "one: refused\n") == (printed.out, printed.err)
    assert b"X-Mail-Token: two-token\r\n" in received[1]


@pytest.mark.parametrize("pieces", [[], [b"garbage\r\n\r\n"]])
def test_a_broken_answer_to_refresh_is_temporary(listen, make_config, pieces):
    """
    Whatever comes instead of HTTP.
    """
    place, _ = listen(pieces)
    with pytest.raises(TemporaryError):
        ask_refresh(make_config(http=place), False)


@pytest.mark.parametrize(
    ("answers", "status", "tokens"),
    [
        (["200 OK"], 0, ["odoo-token"]),
        (["401 Unauthorized", "200 OK"], 0, ["odoo-token", "other"]),
        (["401 Unauthorized", "409 Conflict"], 75, ["odoo-token", "other"]),
        (["401 Unauthorized", "401 Unauthorized"], 75, ["odoo-token", "other"]),
        (["502 Bad Gateway"], 75, ["odoo-token"]),
    ],
)
def test_the_daemon_may_know_only_one_of_two_tokens(listen, fakes, capsys, answers, status, tokens):
    """
    Where it was not reloaded since the other was written down, it is asked with that one.
    """
    place, received = listen(*(response(answer, answer) for answer in answers))
    server = fakes.make_server(other_token=Token("other"))
    assert status == ask_refresh(Config((server,), http=place), False)
    assert tokens == [
        line.partition(b": ")[2].decode()
        for request in received
        for line in request.split(b"\r\n")
        if line.startswith(b"X-Mail-Token")
    ]
    printed = capsys.readouterr()
    assert f"{answers[-1]}\n" == printed.out + printed.err


@pytest.mark.parametrize(
    "pieces", [[b"garbage odoo-token\r\n\r\n"], response("200 odoo-token", "x odoo-token y")]
)
def test_the_token_is_not_printed(listen, make_config, capsys, pieces):
    """
    Not even where it comes back.
    """
    place, _ = listen(pieces)
    said = ""
    try:
        ask_refresh(make_config(http=place), False)
    except TemporaryError as error:
        said = str(error)
    printed = capsys.readouterr()
    said += printed.out + printed.err
    assert said
    assert "odoo-token" not in said
