"""
The token shows itself nowhere: no command prints it, no log, page, reply or error holds it.
"""

import dataclasses
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer import cli
from mailer.config import Token, parse
from mailer.config_file import load
from mailer.errors import ConfigError
from mailer.logs import LogLines, json_line, text_line

SECRET = "Zq7-distinctive-Xw"
OTHER = "Yp3-the-other-one-Vu"
COMMANDS = [
    ["--help"],
    ["--version"],
    ["daemon", "--help"],
    ["nonsense"],
    ["lookup", "aliases", "info@example.com"],
    ["refresh"],
    ["refresh", "--force"],
    ["postfix-config"],
    ["daemon", "-n", SECRET[:3]],
]


class Echo(http.server.BaseHTTPRequestHandler):
    """
    An Odoo, broken in such a way that it sends back whatever it was sent.
    """

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = f"your token was {self.headers['X-Mail-Token']}"
        reply = {"code": 550, "status": "5.1.1", "text": said}
        if self.path.endswith("pipe"):
            body = json.dumps({"recipients": {"a@example.com": reply}}).encode()
        else:
            body = said.encode()
        self.send_response(302 if self.path.endswith("transport") else 200, said)
        self.send_header("X-Mail-Delivery", "1")
        self.send_header("Location", f"https://example.com/{said}")
        self.send_header("ETag", f'"{self.headers["X-Mail-Token"]}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def echo():
    """
    The port of that Odoo.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def config_file(tmp_path, echo):
    """
    A configuration that names it, with a token that is being changed.
    """
    path, token = tmp_path / "c.yaml", tmp_path / "token"
    token.write_text(f"{SECRET}\n{OTHER}\n")
    path.write_text(
        f"host: http://127.0.0.1:{echo}\ntoken_file: {token}\nnexthop: lmtp:unix:l\n"
        f"socket: {tmp_path}/l\nsocketmap: {tmp_path}/m\nhttp: {tmp_path}/h\n"
        f"cache: {tmp_path}/cache\naliases: {tmp_path}/virtual\ntransport: {tmp_path}/transport\n"
    )
    return path


def assert_secret(text):
    """
    Fail if a token stands in a text, or a large part of one.
    """
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    for token in (SECRET, OTHER):
        assert token[:12] not in text
        assert token[-12:] not in text


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_without_a_daemon(config_file, capsys, words, verbose):
    """
    Whatever they say of it, and however they end.
    """
    with pytest.raises(SystemExit):
        cli.main([*["-v"] * verbose, "-c", str(config_file), *words])
    printed = capsys.readouterr()
    assert printed.out + printed.err
    assert_secret(printed.out + printed.err)


@pytest.mark.parametrize(
    ("words", "status"), [(["aliases"], 75), (["transport"], 75), (["pipe", "--recipient"], 67)]
)
def test_commands_that_ask_odoo(config_file, words, status):
    """
    Not even where Odoo sends the token back: neither in an error nor in a reply.
    """
    words += ["a@example.com"] * (words[0] == "pipe")
    argv = [sys.executable, "-m", "mailer.cli", "-v", "-c", str(config_file), *words]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        argv, input=b"Subject: x\r\n\r\n", capture_output=True, timeout=60, env=environ, check=False
    )
    assert status == done.returncode
    assert done.stdout + done.stderr
    assert_secret(done.stdout + done.stderr)


@pytest.fixture
def written(logged):
    """
    Returns all that was logged, in every style and at every level, with all its fields.
    """

    def write():
        files = [io.StringIO() for _ in range(2)]
        for file, style in zip(files, ("text", "json"), strict=True):
            observer = LogLines(file, style, "debug")
            for event in logged:
                observer(event)
        lines = [line(event) for event in logged for line in (text_line, json_line)]
        return "".join([*(file.getvalue() for file in files), *lines, repr(logged)])

    return write


def test_a_daemon_from_start_to_stop(fakes, sites, tmp_path, written):
    """
    Neither its log, at the finest level, nor its pages, answers and health show the token.
    """
    server = fakes.make_server(token=Token(SECRET), other_token=Token(OTHER))
    site = sites.DaemonSite(fakes, tmp_path / "cache")
    site.config = dataclasses.replace(site.config, servers=(server,))
    site.start()
    site.odoo.run()
    said = [site.get(path).body for path in (b"/metrics", b"/healthz", b"/readyz", b"/x")]
    said += [site.look_up(key) for key in (b"aliases info@example.com", b"transport x", b"x y")]
    http_port = site.reactor.factory_at(sites.HTTP)
    for token in (SECRET, OTHER, "wrong"):
        for path in ("/aliases", "/refresh"):
            request = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Mail-Token: {token}\r\n\r\n"
            connection = fakes.Connection(http_port)
            connection.send(request.encode())
            site.odoo.run()
            said.append(connection.received())
    site.odoo.answer = lambda request: (500, request.headers["x-mail-token"].encode())
    site.daemon.reload()
    site.odoo.run()
    site.config = ConfigError("c.yaml", [])
    site.daemon.reload()
    fakes.has_fired(site.daemon.stopService())
    site.reactor.advance(1)
    said += [repr(site.config), repr(server), repr(vars(site.daemon)), str(site.daemon.health())]
    for text in [*said, written()]:
        assert_secret(text)


def test_a_traceback_with_its_variables(tmp_path):
    """
    Some tools write the variables of each frame, too.
    """

    def fail(config):
        server, token, tokens = config.servers[0], config.servers[0].token, config.servers[0].tokens
        raise ZeroDivisionError(server, token, tokens)

    path = tmp_path / "c.yaml"
    path.write_text(f"host: odoo\ntoken: {SECRET}\n")
    config = load(str(path), {})
    with pytest.raises(ZeroDivisionError) as caught:
        fail(config)
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(caught.tb.tb_next), capture_locals=True
    )
    text = "".join(frames.format())
    assert "Token(***)" in text
    assert_secret(text + repr(caught.value))


GOOD = f"""\
host: odoo.example.com
log: text
# a comment
token: {SECRET}
servers_of_another: 5
cache: /var/lib/x
domains: [example.com, example.org]
"""


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)), st.sampled_from([*" :\n\t'\"[]{}#&*!-,|>?@`%~x=", ""])
        ),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_a_slip_of_the_pen_shows_no_token(slips, delete):
    """
    A character too many, too few or wrong, anywhere but in the token itself.
    """
    text = GOOD
    start = GOOD.index(SECRET)
    for place, character in sorted(slips, reverse=True):
        if start <= place < start + len(SECRET):
            continue
        text = text[:place] + character + text[place + delete :]
    try:
        parse(text, "c.yaml", lambda name: "")
    except ConfigError as error:
        assert_secret(f"{error} {error!r} {error.faults!r}")


class Watched(bytes):
    """
    Octets that are not to be compared one after the other, up to the first difference.
    """

    def __eq__(self, other):
        raise AssertionError("this takes the longer, the more of it is right")

    __hash__ = bytes.__hash__


@pytest.mark.parametrize("given_", [SECRET, SECRET[:-1], OTHER, ""])
def test_a_comparison_takes_as_long_for_any_token(given_):
    """
    It is hmac's, which does not tell where the two differ.
    """
    assert (given_ == SECRET) == Token(SECRET).is_value(Watched(given_.encode()))
