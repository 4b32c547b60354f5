"""
Answers of Odoo that are no verdict: the mail waits, whatever they are.
"""

import pytest
from fake_odoo import Failure
from installation import Installation
from mail_host import compose
from other_odoo import other_odoo
from waiting import eventually

pytestmark = pytest.mark.postfix

INFO = "info@example.test"

FAILURES = [
    (Failure(200), "4.3.0"),
    (Failure(200, "application/json", '{"recipients": {}}'), "4.3.0"),
    (Failure(302), "4.3.5"),
    (Failure(400), "4.3.0"),
    (Failure(401), "4.7.0"),
    (Failure(404), "4.3.5"),
    (Failure(413), "4.3.4"),
    (Failure(500), "4.3.0"),
    (Failure(503), "4.3.2"),
]


@pytest.mark.parametrize(("failure", "dsn"), FAILURES)
def test_no_verdict(site: Installation, failure: Failure, dsn: str) -> None:
    """
    What does not come from the addon defers the mail, and says nothing of its page to Postfix.
    """
    with other_odoo(site, INFO) as (odoo, _):
        odoo.gate.set()
        odoo.failure = failure
        queue_id = site.send(compose(), [INFO])
        status = site.postfix.deferred(queue_id)
        assert (status.service, status.dsn) == ("lmtp", dsn)
        assert f" said: 451 {dsn} " in status.text
        assert "Something else" not in status.text
        odoo.failure = None
        assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]


def test_no_answer_in_time(site: Installation) -> None:
    """
    An Odoo that does not answer within ``timeout`` gets the mail again later.
    """
    with other_odoo(site, INFO, timeout=1) as (odoo, _):
        queue_id = site.send(compose(), [INFO])
        status = site.postfix.deferred(queue_id)
        assert (status.service, status.dsn) == ("lmtp", "4.4.1")
        odoo.gate.set()
        assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]
    assert len({post["X-Mail-Digest"] for post in odoo.posts}) == 1


def test_http_1_0(site: Installation) -> None:
    """
    An Odoo that closes the connection after every answer, as its workers do, is served as well.
    """
    with other_odoo(site, INFO, version="HTTP/1.0") as (odoo, _):
        odoo.gate.set()
        for _ in range(3):
            (status,) = site.postfix.final(site.send(compose(), [INFO]))
            assert (status.service, status.status) == ("lmtp", "sent")
    assert len(odoo.posts) == 3


def test_slow_delivery_holds_up_no_lookup(site: Installation) -> None:
    """
    Deliveries under way, as many as may be, keep no recipient waiting at RCPT.
    """
    with other_odoo(site, INFO, max_in_flight=2) as (odoo, _):
        queue_ids = [site.send(compose(), [INFO]) for _ in range(4)]
        eventually(lambda: len(odoo.posts) == 2, "two deliveries at once")
        assert site.knows(INFO)
        queue_ids.append(site.send(compose(), [INFO]))
        assert len(odoo.posts) == 2
        odoo.gate.set()
        for queue_id in queue_ids:
            assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]
    assert len(odoo.posts) == 5


def test_too_large(site: Installation) -> None:
    """
    A message over ``max_message_size`` is returned as too large.
    """
    with other_odoo(site, INFO, max_message_size=100_000) as (odoo, _):
        odoo.gate.set()
        queue_id = site.send(compose(body=b"0123456789abcd\r\n" * 10_000), [INFO])
        (status,) = site.postfix.final(queue_id)
    assert (status.service, status.status, status.dsn) == ("lmtp", "bounced", "5.3.4")
    assert odoo.posts == []
