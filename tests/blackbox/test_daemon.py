"""
The daemon as a process: its sockets, signals, a second one, its log.
"""

import grp
import signal
import socket
import stat
from pathlib import Path

import pytest
from installation import TOKEN, Installation
from mail_host import compose
from other_odoo import other_odoo
from waiting import eventually, free_port

pytestmark = pytest.mark.postfix

INFO = "info@example.test"


@pytest.mark.parametrize("name", ["odoo-map", "odoo-lmtp"])
def test_permissions(site: Installation, name: str) -> None:
    """
    Postfix may use the sockets, and nobody else.
    """
    status = (site.postfix.queue / "private" / name).stat()
    group = grp.getgrgid(status.st_gid).gr_name
    assert (stat.S_IMODE(status.st_mode), group) == (0o660, "postfix")


def test_second_daemon(site: Installation) -> None:
    """
    A second daemon on the same sockets gives up with a reason; the first goes on.
    """
    config = site.folder / "second.yaml"
    config.write_text(site.settings())
    second = site.daemon_with(config)
    second.start()
    assert second.wait() == 69, second.output()
    assert "odoo-map" in second.output() or "odoo-lmtp" in second.output()
    assert "Traceback" not in second.output()
    mail = compose()
    site.send(mail, [INFO])
    assert len(site.arrived(mail)) == 1


def test_second_daemon_with_its_own_cache(site: Installation) -> None:
    """
    The same where the two have nothing in common but the sockets.
    """
    config = site.folder / "third.yaml"
    config.write_text(site.settings(cache=str(site.folder / "third")))
    second = site.daemon_with(config)
    second.start()
    assert second.wait() == 69, second.output()
    assert "Traceback" not in second.output()
    assert site.knows(INFO)


def test_no_inherited_socket(site: Installation) -> None:
    """
    A daemon that should get its socket from a supervisor, and does not, says so.
    """
    config = site.folder / "alone.yaml"
    private = {"cache": str(site.folder / "alone"), "http": f"127.0.0.1:{free_port()}"}
    config.write_text(site.settings(socketmap="systemd:domain=UNIX:index=0", **private))
    daemon = site.daemon_with(config)
    daemon.start()
    assert daemon.wait() == 69, daemon.output()
    assert "systemd" in daemon.output()
    assert "Traceback" not in daemon.output()


def test_sigterm_finishes_a_delivery(site: Installation) -> None:
    """
    A daemon told to end lets Odoo finish and Postfix know; until then it answers lookups only.
    """
    with other_odoo(site, INFO) as (odoo, daemon):
        queue_id = site.send(compose(), [INFO])
        eventually(lambda: odoo.posts, "the delivery to begin")
        daemon.signal(signal.SIGTERM)
        eventually(lambda: not takes_mail(site), "the daemon to take no more")
        assert daemon.running
        assert site.knows(INFO)
        assert site.postfix.statuses(queue_id) == []
        odoo.gate.set()
        assert daemon.wait() == 0, daemon.output()
    (status,) = site.postfix.final(queue_id)
    assert (status.service, status.status) == ("lmtp", "sent")
    assert "taken at last" in status.text
    assert len(odoo.posts) == 1


def test_sigkill_during_a_delivery(site: Installation) -> None:
    """
    After a crash Postfix tries again, and Odoo can tell from the digest that it is the same mail.
    """
    with other_odoo(site, INFO) as (odoo, daemon):
        queue_id = site.send(compose(), [INFO])
        eventually(lambda: odoo.posts, "the delivery to begin")
        daemon.kill()
        status = site.postfix.deferred(queue_id)
        odoo.gate.set()
        daemon.start(notify=True)
        assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]
    assert "lost connection" in status.text
    assert {post["X-Mail-Queue-Id"] for post in odoo.posts} == {queue_id}
    first, second = (post["X-Mail-Digest"] for post in odoo.posts)
    assert first.startswith("sha-256=")
    assert first == second


def test_sighup_with_a_faulty_file(site: Installation) -> None:
    """
    A faulty file at SIGHUP is reported, and the running configuration stays.
    """
    site.config.write_text(site.settings(tokn="x"))
    before = len(site.daemon.output())
    site.daemon.signal(signal.SIGHUP)
    eventually(lambda: "tokn" in site.daemon.output()[before:], "the fault in the log")
    assert site.daemon.running
    mail = compose()
    site.send(mail, [INFO])
    assert len(site.arrived(mail)) == 1


def test_sighup_during_a_delivery(site: Installation) -> None:
    """
    A reload neither ends nor repeats a delivery under way.
    """
    with other_odoo(site, INFO) as (odoo, daemon):
        queue_id = site.send(compose(), [INFO])
        eventually(lambda: odoo.posts, "the delivery to begin")
        before = site.metric("refresh_total")
        daemon.signal(signal.SIGHUP)
        eventually(lambda: site.metric("refresh_total") > before, "the reload")
        odoo.gate.set()
        assert [status.status for status in site.postfix.final(queue_id)] == ["sent"]
    assert len(odoo.posts) == 1


def test_sighup_fetches(site: Installation) -> None:
    """
    SIGHUP fetches the list at once.
    """
    before = site.metric("refresh_total")
    site.daemon.signal(signal.SIGHUP)
    eventually(lambda: site.metric("refresh_total") > before, "a refresh")
    assert site.daemon.running


def test_log_names_the_queue_id(site: Installation) -> None:
    """
    A delivery is found in the daemon's log by Postfix's queue id.
    """
    queue_id = site.send(compose(), [INFO])
    site.postfix.final(queue_id)
    assert queue_id in site.daemon.output()


def test_token_stays_secret(site: Installation) -> None:
    """
    The token is in no log, and not among the arguments of the process.
    """
    queue_id = site.send(compose(), [INFO])
    site.postfix.final(queue_id)
    arguments = Path(f"/proc/{site.daemon.pid}/cmdline").read_text()
    texts = (site.daemon.output(), site.sandbox.output(), site.postfix.log_text(), arguments)
    assert [TOKEN in text for text in texts] == [False] * 4


def takes_mail(site: Installation) -> bool:
    """
    Say whether somebody listens for LMTP.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(site.postfix.queue / "private" / "odoo-lmtp"))
        except OSError:
            return False
    return True
