"""
Tests for mailer.web: refresh on demand, metrics and health.
"""

import json

import pytest

from mailer.errors import TemporaryError
from mailer.refresh import Outcome
from mailer.web import WebHandler, WebSite

HEALTH = {"ready": True, "servers": {"odoo": {"aliases": 2}}}


class FakeRefresher:
    """
    Stands for ``Refresher``: notes the calls, gives the outcome the test sets.
    """

    def __init__(self, fakes, name):
        self.server = fakes.make_server(name)
        self.calls = []
        self.outcome = fakes.Deferred()

    def refresh(self, trigger, force=False):
        self.calls.append((trigger, force))
        return self.outcome

    def refresh_soon(self, trigger):
        self.calls.append((trigger, False))


class Desk:
    """
    The site over fake refreshers.
    """

    def __init__(self, fakes):
        self.fakes = fakes
        self.metrics, _ = fakes.make_metrics()
        self.refreshers = [FakeRefresher(fakes, name) for name in ("odoo", "second")]
        self.is_ready = True
        self.web = WebHandler(
            "hooks/odoo/", self.refreshers, self.metrics, self.health, fakes.in_thread
        )
        self.site = WebSite(self.web, fakes.Reactor())

    def health(self):
        """
        Stand for ``Daemon.health``.
        """
        return self.is_ready, {**HEALTH, "ready": self.is_ready}

    def send(self, method, path, headers=()):
        """
        Send a request; return the connection.
        """
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        connection = self.fakes.Connection(self.site)
        connection.protocol.dataReceived("\r\n".join(lines).encode())
        return connection

    def ask(self, method, path, headers=()):
        """
        Send a request; return the response.
        """
        return self.fakes.http_response(self.send(method, path, headers).received())


@pytest.fixture
def desk(fakes):
    """
    The site over two fake refreshers.
    """
    return Desk(fakes)


TOKEN = ["X-Mail-Token: odoo-token"]


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        (Outcome("changed", "", 7), 200, b"odoo: changed, 7 addresses\n"),
        (Outcome("unchanged", "", 7), 200, b"odoo: unchanged, 7 addresses\n"),
        (Outcome("refused", "too few", 7), 409, b"odoo: refused, 7 addresses: too few\n"),
        (Outcome("failed", "HTTP 500", 0), 502, b"odoo: failed, 0 addresses: HTTP 500\n"),
    ],
)
def test_refresh_waits_for_the_outcome(desk, outcome, code, text):
    """
    The answer comes when the refresh has ended, and says how.
    """
    connection = desk.send("POST", "/refresh", TOKEN)
    assert [("command", False)] == desk.refreshers[0].calls
    assert connection.received() == b""
    desk.refreshers[0].outcome.callback(outcome)
    response = desk.fakes.http_response(connection.received())
    assert (code, text) == (response.code, response.body)


@pytest.mark.parametrize(
    ("query", "force"),
    [("?force=1", True), ("?force=0", False), ("?force=", False), ("?x=%ff", False), ("", False)],
)
def test_refresh_may_be_forced(desk, query, force):
    """
    Only force=1 forces.
    """
    desk.send("POST", f"/refresh{query}", TOKEN)
    assert [("command", force)] == desk.refreshers[0].calls


def test_refresh_is_for_the_server_of_the_token(desk):
    """
    The other server is left alone.
    """
    desk.send("POST", "/refresh", ["X-Mail-Token: second-token"])
    assert [[], [("command", False)]] == [refresher.calls for refresher in desk.refreshers]


@pytest.mark.parametrize("headers", [[], ["X-Mail-Token: wrong"], ["X-Mail-Token:"]])
def test_refresh_needs_the_token(desk, headers):
    """
    401 and no refresh.
    """
    assert desk.ask("POST", "/refresh", headers).code == 401
    assert [] == desk.refreshers[0].calls


def test_refresh_is_a_post(desk):
    """
    405, and the answer says so.
    """
    response = desk.ask("GET", "/refresh", TOKEN)
    assert (405, "POST") == (response.code, response.headers["allow"])


def test_a_refresh_whose_client_has_gone_does_no_harm(desk, logged):
    """
    The outcome finds nobody.
    """
    connection = desk.send("POST", "/refresh", TOKEN)
    connection.protocol.connectionLost(desk.fakes.Failure(ConnectionError()))
    desk.refreshers[0].outcome.callback(Outcome("changed", "", 1))
    assert not any(event.get("log_failure") for event in logged)


def test_an_error_of_a_refresh_is_answered(desk, logged):
    """
    500; the cause is in the log.
    """
    connection = desk.send("POST", "/refresh", TOKEN)
    desk.refreshers[0].outcome.errback(TemporaryError("secret"))
    response = desk.fakes.http_response(connection.received())
    assert response.code == 500
    assert b"secret" not in response.body
    assert any(event.get("log_failure") for event in logged)


def test_the_refreshers_may_be_rebound(desk):
    """
    After a reload the new tokens count.
    """
    desk.web.refreshers = [FakeRefresher(desk.fakes, "third")]
    assert desk.ask("POST", "/refresh", TOKEN).code == 401
    desk.send("POST", "/refresh", ["X-Mail-Token: third-token"])
    assert len(desk.web.refreshers[0].calls) == 1


def test_the_prefix_is_the_path_of_the_webhook(desk):
    """
    With or without slashes round it.
    """
    for path in ("/hooks/odoo", "/hooks/odoo/", "/hooks/odoo?x=1"):
        assert desk.ask("POST", path, TOKEN).code == 202
    assert desk.ask("POST", "/aliases", TOKEN).code == 404


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "text/plain; version="),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_metrics_come_in_the_format_that_is_accepted(desk, accept, content_type):
    """
    Prometheus text, or OpenMetrics with its end.
    """
    response = desk.ask("GET", "/metrics", [f"Accept: {accept}"])
    assert response.code == 200
    assert response.headers["content-type"].startswith(content_type)
    assert b"odoo_mailer_build_info{version=" in response.body
    assert ("openmetrics" in content_type) == response.body.endswith(b"# EOF\n")


def test_metrics_need_no_token_and_show_none(desk):
    """
    They are for monitoring, and hold no secret.
    """
    assert b"token" not in desk.ask("GET", "/metrics").body


@pytest.mark.parametrize(("is_ready", "code"), [(True, 200), (False, 503)])
def test_readiness(desk, is_ready, code):
    """
    200 when ready, 503 when not, the details as JSON either way.
    """
    desk.is_ready = is_ready
    response = desk.ask("GET", "/readyz")
    assert (code, "application/json") == (response.code, response.headers["content-type"])
    assert {**HEALTH, "ready": is_ready} == json.loads(response.body)


def test_an_answer_is_dated(desk):
    """
    As RFC 9110 6.6.1 asks of a server with a clock.
    """
    assert desk.ask("GET", "/healthz").headers["date"].endswith(" GMT")


def test_an_answer_that_cannot_be_written(desk, logged):
    """
    500 for the client, the cause in the log; nobody is left waiting.
    """
    desk.refreshers[0].outcome.callback(Outcome("failed", "half a character: \udc80", 0))
    assert desk.ask("POST", "/refresh", TOKEN).code == 500
    assert [UnicodeEncodeError] == [
        event["log_failure"].type for event in logged if "log_failure" in event
    ]


def test_an_idle_site_has_no_timer(desk):
    """
    Nothing wakes the daemon while nobody asks.
    """
    clock = desk.site.reactor
    desk.site.doStart()
    assert [] == clock.getDelayedCalls()
    desk.site.doStop()


def test_health_is_about_the_process(desk):
    """
    A daemon without a list is alive all the same.
    """
    desk.is_ready = False
    response = desk.ask("GET", "/healthz")
    assert response.code == 200
    assert {**HEALTH, "ready": False} == json.loads(response.body)


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_pages_are_only_read(desk, path):
    """
    GET and HEAD, nothing else; HEAD has no body.
    """
    response = desk.ask("POST", path, ["Content-Length: 0"])
    assert (405, "GET, HEAD") == (response.code, response.headers["allow"])
    response = desk.ask("HEAD", path)
    assert (200, b"") == (response.code, response.body)


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/..", "/%00", "/x" * 100])
def test_there_is_nothing_else(desk, path):
    """
    404.
    """
    assert desk.ask("GET", path).code == 404


def test_requests_are_logged_at_debug_level_only(desk, logged):
    """
    A scrape is not worth a line, and no query is ever logged.
    """
    desk.ask("GET", "/metrics?secret=1")
    own = [event for event in logged if event["log_namespace"] == "mailer.web"]
    assert ["debug"] == [event["log_level"].name for event in own]
    assert "secret" not in repr(own)
