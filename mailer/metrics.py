"""
Every metric, by name. No address, token or Message-ID is ever a label.
"""

import contextlib
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from mailer import __version__
from mailer.socketmap import OUTCOMES

# A "_created" line beside every counter would only double what is scraped.
disable_created_metrics()

_LOOKUP_BUCKETS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.1)
_CALL_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120)
_SIZE_BUCKETS = (1e3, 1e4, 1e5, 1e6, 1e7, 2.5e7, 5e7)


class LookupMetrics:
    """
    Counts and times lookups; a counter with its lock would cost as much as the lookup itself.

    Used by the reactor's thread alone, which serves the scrapes too.

    Attributes:
        counts: Lookups by map and result, as in ``OUTCOMES``.
    """

    def __init__(self) -> None:
        self.counts = [0] * len(OUTCOMES)
        self._buckets = [0] * (len(_LOOKUP_BUCKETS) + 1)
        self._seconds = 0.0

    def took(self, seconds: float, count: int) -> None:
        """
        Note how long so many lookups took together.
        """
        self._seconds += seconds
        self._buckets[bisect_left(_LOOKUP_BUCKETS, seconds / count)] += count

    def collect(self) -> Iterator[Metric]:
        """
        Yield them as prometheus_client wants them.
        """
        lookups = CounterMetricFamily(
            "odoo_mailer_socketmap_lookups",
            "Lookups; map: aliases, transport, other; result: ok, notfound, temp, perm",
            labels=("map", "result"),
        )
        for labels, count in zip(OUTCOMES, self.counts, strict=True):
            lookups.add_metric(labels, count)
        yield lookups
        limits = [*map(str, _LOOKUP_BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "odoo_mailer_socketmap_lookup_seconds",
            "Time to answer one lookup; of several at once, their mean",
            buckets=list(zip(limits, accumulate(self._buckets), strict=True)),
            sum_value=self._seconds,
        )


class Metrics:
    """
    The metrics of one daemon.

    Args:
        registry: Where they are registered; a new one if not given.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry = registry or CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"odoo_mailer_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"odoo_mailer_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"odoo_mailer_{name}", text, labels, buckets=buckets, registry=registry
            )

        gauge("build_info", "Always 1; label: version", "version").labels(__version__).set(1)

        self.socketmap_lookups = LookupMetrics()
        registry.register(self.socketmap_lookups)
        self.socketmap_connections = gauge("socketmap_connections", "Open connections")

        self.lmtp_recipients = counter(
            "lmtp_recipients_total", "Replies to recipients, after RCPT or the dot; code", "code"
        )
        self.lmtp_messages = counter(
            "lmtp_messages_total",
            "Messages; result: delivered, deferred, refused, mixed, interrupted",
            "result",
        )
        self.lmtp_connections = gauge("lmtp_connections", "Open connections")
        self.message_size = histogram(
            "message_size_bytes", "Size of the messages received", _SIZE_BUCKETS
        )

        self.delivery_seconds = histogram(
            "delivery_seconds", "Time of one call to Odoo's pipe", _CALL_BUCKETS, "server"
        )
        self.deliveries = counter(
            "deliveries_total",
            "Messages handed to a server; result: delivered, deferred, refused, mixed",
            "server",
            "result",
        )
        self.deliveries_in_flight = gauge(
            "deliveries_in_flight", "Calls to Odoo's pipe under way", "server"
        )

        self.refresh = counter(
            "refresh_total",
            "Refreshes; trigger: start, poll, webhook, sighup, command; "
            "result: changed, unchanged, refused, failed",
            "server",
            "trigger",
            "result",
        )
        self.refresh_seconds = histogram(
            "refresh_seconds", "Time of one refresh, storing included", _CALL_BUCKETS
        )
        self.aliases = gauge("aliases", "Addresses and local parts in the list", "server")
        self.address_conflicts = gauge(
            "address_conflicts", "Addresses of this server that another one keeps", "server"
        )
        self.list_timestamp = gauge(
            "list_timestamp_seconds", "When the list in force was last confirmed", "server"
        )
        self.last_success = gauge(
            "last_success_timestamp_seconds", "When the server last answered well", "server"
        )
        self.odoo_up = gauge("odoo_up", "1 while the server can be reached", "server")

        self.webhook_requests = counter(
            "webhook_requests_total", "Calls of the webhook, by HTTP status", "code"
        )
        self.protocol_errors = counter(
            "protocol_errors_total", "Connections cut; protocol: socketmap, lmtp", "protocol"
        )

        self.connections_refused = counter(
            "connections_refused_total",
            "Connections beyond the limit; protocol: socketmap, lmtp, http",
            "protocol",
        )

    def forget(self, server: str) -> None:
        """
        Drop what is shown of a server that is no longer configured; its counts stay.
        """
        for gauge in (
            self.aliases,
            self.address_conflicts,
            self.list_timestamp,
            self.last_success,
            self.odoo_up,
            self.deliveries_in_flight,
        ):
            with contextlib.suppress(KeyError):
                gauge.remove(server)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """
        Return all metrics and their content type, in the format that the client accepts.
        """
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type
