"""
Tests for mailer.delivery: from an envelope to a reply for each recipient.
"""

import json

import pytest

from mailer.alias_table import Entry, Match
from mailer.delivery import Deliverer, ServerDelivery, summary
from mailer.errors import UnreachableError
from mailer.lmtp_events import Envelope
from mailer.reply import (
    LOCAL_ERROR_451,
    MAIL_LOOP_554,
    OK_250,
    UNREACHABLE_451,
    Reply,
)
from mailer.spool import Spool
from mailer.verdict import Answer

MESSAGE = b"Subject: Hello\r\nMessage-ID: <1@example.com>\r\n\r\nBody\r\n"


def verdict(**recipients):
    """
    Return a marked answer: local part to code, status and text.
    """
    said = {
        f"{name}@example.com": {"code": code, "status": status, "text": text}
        for name, (code, status, text) in recipients.items()
    }
    return Answer(200, True, json.dumps({"recipients": said}).encode())


def envelope(*names, sender="sender@example.com", queue_id="4QUEUE"):
    """
    Return an envelope; ``name/server`` goes to another server than ``odoo``.
    """
    matches = []
    for name in names:
        local, _, server = name.partition("/")
        matches.append(Match(f"{local}@example.com", Entry(server or "odoo", None, "lmtp:x")))
    return Envelope(sender, tuple(matches), queue_id)


@pytest.fixture
def spool():
    """
    Makes a spooled message.
    """
    spools = []

    def make(content=MESSAGE):
        spool = Spool()
        spool.write(content)
        spools.append(spool)
        return spool

    yield make
    for one in spools:
        one.close()


@pytest.fixture
def office(fakes):
    """
    A deliverer to the servers ``odoo`` and ``second``, whose calls wait for the test.
    """

    class Office:
        def __init__(self):
            self.clock = fakes.Reactor()
            metrics, self.value = fakes.make_metrics()
            self.clients = {
                name: fakes.Client(fakes.make_server(name)) for name in ("odoo", "second")
            }
            self.deliverer = Deliverer(
                {
                    name: ServerDelivery(
                        fakes.watched(client, metrics, self.clock), metrics, self.clock
                    )
                    for name, client in self.clients.items()
                }
            )

        def deliver(self, envelope, spool):
            return fakes.Deferred.fromCoroutine(self.deliverer.deliver(envelope, spool))

        def calls(self, name="odoo"):
            return self.clients[name].calls

    return Office()


def test_one_call_holds_all_recipients_of_a_server(office, spool, fakes):
    """
    Three recipients of one server are one call, with their order and the envelope.
    """
    message = spool()
    delivering = office.deliver(envelope("b", "a", "c"), message)
    (call,) = office.calls()
    assert ("b@example.com", "a@example.com", "c@example.com") == call.recipients
    assert ("sender@example.com", "4QUEUE") == (call.sender, call.queue_id)
    assert message.digest == call.digest
    office.clients["odoo"].answer(Answer(200))
    assert [OK_250] * 3 == fakes.result_of(delivering)


def test_each_server_gets_exactly_its_recipients(office, spool, fakes):
    """
    Two servers are called at the same time, each with its own recipients.
    """
    delivering = office.deliver(envelope("a", "b/second", "c"), spool())
    assert [("a@example.com", "c@example.com")] == [c.recipients for c in office.calls()]
    assert [("b@example.com",)] == [c.recipients for c in office.calls("second")]
    office.clients["second"].answer(UnreachableError("refused"))
    assert not fakes.has_fired(delivering)
    office.clients["odoo"].answer(verdict(a=(250, "2.0.0", "ok"), c=(550, "5.1.1", "no")))
    assert [Reply(250, "2.0.0", "ok"), UNREACHABLE_451, Reply(550, "5.1.1", "no")] == (
        fakes.result_of(delivering)
    )


def test_a_message_reads_alike_for_each_server(office, spool, fakes):
    """
    Each server gets the whole message, with its own recipients in Delivered-To.
    """
    office.deliver(envelope("a", "b/second"), spool())
    for name, local in (("odoo", b"a"), ("second", b"b")):
        (call,) = office.calls(name)
        assert (
            b"Return-Path: <sender@example.com>\r\nDelivered-To: %b@example.com\r\n" % local
            + MESSAGE
        ) == fakes.contents(call.body)


def test_duplicate_recipients_are_called_once_and_answered_each(office, spool, fakes):
    """
    The replies follow the RCPTs, repeated ones included.
    """
    delivering = office.deliver(envelope("a", "b", "a", "a"), spool())
    (call,) = office.calls()
    assert ("a@example.com", "b@example.com") == call.recipients
    office.clients["odoo"].answer(verdict(a=(250, "2.0.0", "ok"), b=(550, "5.1.1", "no")))
    said = [reply.code for reply in fakes.result_of(delivering)]
    assert [250, 550, 250, 250] == said


def test_a_loop_is_refused_for_that_recipient_alone(office, spool, fakes):
    """
    Who stands in a Delivered-To already gets 554 5.4.6, the others get the mail.
    """
    message = spool(b"Delivered-To: A@Example.com\r\n" + MESSAGE)
    delivering = office.deliver(envelope("a", "b"), message)
    (call,) = office.calls()
    assert ("b@example.com",) == call.recipients
    office.clients["odoo"].answer(Answer(200))
    assert [MAIL_LOOP_554, OK_250] == fakes.result_of(delivering)


def test_nobody_is_called_where_everyone_is_a_loop(office, spool, fakes):
    """
    The answer comes without a call.
    """
    message = spool(b"Delivered-To: a@example.com\r\n" + MESSAGE)
    assert [MAIL_LOOP_554] * 2 == fakes.result_of(office.deliver(envelope("a", "a"), message))
    assert [] == office.calls()


def test_a_delivered_to_in_the_body_is_no_loop(office, spool):
    """
    Only the message's own header counts.
    """
    office.deliver(envelope("a"), spool(MESSAGE + b"Delivered-To: a@example.com\r\n"))
    assert len(office.calls()) == 1


def test_a_verdict_without_a_recipient_is_temporary_for_it(office, spool, fakes):
    """
    A marked answer that forgets one recipient leaves that one's mail in the queue.
    """
    delivering = office.deliver(envelope("a", "b"), spool())
    office.clients["odoo"].answer(verdict(a=(250, "2.0.0", "ok")))
    said = [(reply.code, reply.status) for reply in fakes.result_of(delivering)]
    assert [(250, "2.0.0"), (451, "4.3.0")] == said


def test_an_address_of_a_server_that_is_gone_is_temporary(office, spool, fakes):
    """
    A reload may have removed the server between RCPT and the dot.
    """
    delivering = office.deliver(envelope("a/gone"), spool())
    assert [LOCAL_ERROR_451] == fakes.result_of(delivering)


def test_a_bug_before_the_call_is_temporary_and_logged(office, spool, fakes, logged):
    """
    A spool that cannot be read gives 451 for each recipient and a logged failure.
    """
    message = spool()
    message.close()
    delivering = office.deliver(envelope("a", "b"), message)
    assert [LOCAL_ERROR_451] * 2 == fakes.result_of(delivering)
    assert isinstance(logged[-1]["log_failure"].value, ValueError)


def test_the_null_sender_is_kept(office, spool, fakes):
    """
    A bounce has an empty Return-Path and an empty sender.
    """
    office.deliver(envelope("a", sender=""), spool())
    (call,) = office.calls()
    assert call.sender == ""
    assert fakes.contents(call.body).startswith(b"Return-Path: <>\r\n")


def test_the_queue_id_is_taken_from_the_header_where_xforward_did_not_tell(office, spool):
    """
    Postfix's own Received field names it.
    """
    received = b"Received: by mx.example.com (Postfix, from userid 0)\r\n\tid 4ABCDE; now\r\n"
    office.deliver(envelope("a", queue_id=""), spool(received + MESSAGE))
    (call,) = office.calls()
    assert call.queue_id == "4ABCDE"


@pytest.mark.parametrize(
    ("codes", "result"),
    [
        ((250, 250), "delivered"),
        ((451, 452), "deferred"),
        ((550, 554), "refused"),
        ((250, 451), "mixed"),
        ((250, 550), "mixed"),
        ((451, 550), "mixed"),
    ],
)
def test_summaries(codes, result):
    """
    A message is delivered, deferred or refused if it is so for everyone.
    """
    assert result == summary([Reply(code, f"{code // 100}.0.0", "text") for code in codes])


def test_who_is_down_can_be_asked_before_the_message(office):
    """
    A server that is unknown, or up, refuses nothing.
    """
    office.deliverer.servers["second"]._client._failed(
        UnreachableError("refused"), office.clock.seconds()
    )
    refusals = [office.deliverer.refusal(name) for name in ("odoo", "second", "gone")]
    assert [None, UNREACHABLE_451, None] == refusals
