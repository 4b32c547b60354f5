"""
Tests for mailer.metrics.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from mailer import __version__
from mailer.metrics import Metrics
from mailer.socketmap import OUTCOMES

PROMISED = {
    "build_info": {"version"},
    "socketmap_lookups_total": {"map", "result"},
    "socketmap_lookup_seconds_count": set(),
    "socketmap_connections": set(),
    "lmtp_recipients_total": {"code"},
    "lmtp_messages_total": {"result"},
    "lmtp_connections": set(),
    "delivery_seconds_count": {"server"},
    "deliveries_total": {"server", "result"},
    "deliveries_in_flight": {"server"},
    "message_size_bytes_count": set(),
    "refresh_total": {"server", "trigger", "result"},
    "refresh_seconds_count": set(),
    "aliases": {"server"},
    "list_timestamp_seconds": {"server"},
    "last_success_timestamp_seconds": {"server"},
    "odoo_up": {"server"},
    "webhook_requests_total": {"code"},
    "protocol_errors_total": {"protocol"},
}
OPEN = "application/openmetrics-text; version=1.0.0"
ACCEPTS = st.text(st.sampled_from("aeionptx/;=,.*q0149 -version"), max_size=40)


@pytest.fixture
def metrics():
    """
    The metrics of one daemon, each of which was used.
    """
    metrics = Metrics(CollectorRegistry())
    metrics.socketmap_lookups.counts[OUTCOMES.index(("aliases", "ok"))] = 1
    metrics.lmtp_recipients.labels("250").inc()
    metrics.lmtp_messages.labels("delivered").inc()
    metrics.delivery_seconds.labels("odoo").observe(0.2)
    metrics.deliveries.labels("odoo", "delivered").inc()
    metrics.deliveries_in_flight.labels("odoo").inc()
    metrics.refresh.labels("odoo", "poll", "changed").inc()
    metrics.webhook_requests.labels("200").inc()
    metrics.protocol_errors.labels("lmtp").inc()
    for gauge in (metrics.aliases, metrics.list_timestamp, metrics.last_success, metrics.odoo_up):
        gauge.labels("odoo").set(1)
    return metrics


def samples(metrics, accept="", parse=parse_text):
    """
    Return every sample of an exposition.
    """
    text, _ = metrics.exposition(accept)
    return [sample for family in parse(text.decode()) for sample in family.samples]


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPEN, parse_open)])
@pytest.mark.parametrize("name", PROMISED)
def test_promised(metrics, name, accept, parse):
    """
    Each metric that monitoring relies on is there, by its name and with its labels.
    """
    found = [s for s in samples(metrics, accept, parse) if s.name == f"odoo_mailer_{name}"]
    assert {frozenset(PROMISED[name])} == {frozenset(sample.labels) for sample in found}


def test_prefix(metrics):
    """
    Every metric begins with the name of the program.
    """
    assert all(sample.name.startswith("odoo_mailer_") for sample in samples(metrics))


def test_labels_are_harmless(metrics):
    """
    No label is named after an address, a token, a message or a sender.
    """
    known = {"version", "map", "result", "code", "server", "trigger", "protocol", "le"}
    assert known >= {label for sample in samples(metrics) for label in sample.labels}


def test_build_info(metrics):
    """
    The version is told.
    """
    (found,) = [s for s in samples(metrics) if s.name == "odoo_mailer_build_info"]
    assert ({"version": __version__}, 1.0) == (found.labels, found.value)


def test_no_created_series(metrics):
    """
    Counters have no second series with the time of their creation.
    """
    assert [] == [s.name for s in samples(metrics) if s.name.endswith("_created")]


def test_help(metrics):
    """
    Every metric has a help text.
    """
    text = metrics.exposition("")[0].decode()
    assert all(family.documentation for family in parse_text(text))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html", "text/plain"),
        ("text/plain;version=0.0.4", "text/plain"),
        (OPEN, "application/openmetrics-text"),
        (f"{OPEN},text/plain;q=0.5", "application/openmetrics-text"),
    ],
)
def test_content_type(metrics, accept, content_type):
    """
    OpenMetrics goes to who accepts it, Prometheus text to all others.
    """
    assert content_type == metrics.exposition(accept)[1].partition(";")[0]


@given(ACCEPTS | ACCEPTS.map("application/openmetrics-text;".__add__) | st.text())
def test_any_accept(accept):
    """
    Whatever a client accepts, it gets an answer.
    """
    text, content_type = Metrics().exposition(accept)
    assert b"odoo_mailer_build_info" in text
    assert content_type


def test_two_daemons(metrics):
    """
    Two daemons in one process count for themselves.
    """
    other = Metrics()
    metrics.lmtp_connections.inc()
    values = [
        [s.value for s in samples(each) if s.name == "odoo_mailer_lmtp_connections"]
        for each in (metrics, other)
    ]
    assert [[1.0], [0.0]] == values


def test_registry_is_the_callers():
    """
    The metrics are in the registry that was given.
    """
    registry = CollectorRegistry()
    Metrics(registry).lmtp_connections.set(3)
    assert 3.0 == registry.get_sample_value("odoo_mailer_lmtp_connections")


def test_lookups_at_once_count_with_their_mean(metrics):
    """
    Each of them once, in the bucket of what one of them took; the sum is exact.
    """
    metrics.socketmap_lookups.took(0.00002, 1)
    metrics.socketmap_lookups.took(0.004, 10)
    metrics.socketmap_lookups.took(0.0001, 1)
    metrics.socketmap_lookups.took(0.5, 1)
    name = "odoo_mailer_socketmap_lookup_seconds"
    found = {
        s.labels.get("le", s.name): s.value for s in samples(metrics) if s.name.startswith(name)
    }
    assert (13, 0.50412) == (found[f"{name}_count"], found[f"{name}_sum"])
    limits = ["1e-05", "3e-05", "0.0001", "0.0003", "0.001", "0.1", "+Inf"]
    assert [0, 1, 2, 2, 12, 12, 13] == [found[limit] for limit in limits]
