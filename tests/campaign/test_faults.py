"""
The faults themselves: none of them may amount to a verdict that Odoo did not give.
"""

import gzip
import http.client
import json
import random
import socket
import threading
from contextlib import suppress

import pytest
from exchange import Answer as Given
from exchange import Exchange, GoneError, Stream
from faulty_proxy import FaultyProxy
from pipe_faults import MARKED, PIPE_FAULTS

from mailer.verdict import Answer, replies_for

DEADLINE = 0.05  # seconds
ONE, TWO = "steady-10@example.test", "changing-00@example.test"
VERDICTS = {
    ONE: {"code": 250, "status": "2.0.0", "text": "Stored as 1"},
    TWO: {"code": 550, "status": "5.1.1", "text": "No such address in Odoo"},
}
GENUINE = Given(200, MARKED, json.dumps({"recipients": VERDICTS}).encode())
HEAD = (
    b"POST /mail_delivery/pipe HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 40\r\n"
    b"X-Mail-Recipients: steady-10@example.test,changing-00@example.test\r\n\r\n"
)


class OdooExchange(Exchange):
    """
    One request, whose answer is known.
    """

    def forward(self) -> Given:
        self.read()
        self.answered = True
        return GENUINE


def failed(kind: str, seed: int) -> tuple[Answer, bool]:
    """
    Apply a fault; return what the daemon would see, and whether Odoo had answered.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"x" * 40)
        exchange = OdooExchange(Stream(theirs), HEAD, 0, DEADLINE, random.Random(seed))
        proxy = threading.Thread(target=_apply, args=(kind, exchange))
        proxy.start()
        ours.settimeout(5 * DEADLINE)
        answer = _read(ours)
        ours.close()
        proxy.join()
    return answer, exchange.answered


def _apply(kind: str, exchange: Exchange) -> None:
    with suppress(GoneError, OSError):
        PIPE_FAULTS[kind](exchange)
    exchange.stream.connection.close()


def _read(ours: socket.socket) -> Answer:
    response = http.client.HTTPResponse(ours, method="POST")
    try:
        response.begin()
        body = response.read(4_194_304)
        if response.length:  # less than was announced
            return Answer(0)
    except (OSError, http.client.HTTPException, ValueError):
        return Answer(0)
    finally:
        response.close()
    if response.getheader("Content-Encoding") == "gzip":
        assert gzip.decompress(body) == GENUINE.body
        return Answer(0)
    return Answer(response.status, response.getheader("X-Mail-Delivery") == "1", body)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", PIPE_FAULTS)
def test_no_verdict_is_invented(kind, seed):
    """
    Whatever comes through a fault is temporary, or it is what Odoo said.
    """
    answer, answered = failed(kind, seed)
    replies = replies_for(answer, (ONE, TWO), marked_before=True)
    for recipient, reply in replies.items():
        if reply.code // 100 != 4:
            assert answered
            assert VERDICTS[recipient]["code"] == reply.code


def test_odoo_is_heard():
    """
    The reading of this test itself finds a verdict: some faults do no harm.
    """
    answer, answered = failed("HTTP/1.0", 1)
    replies = replies_for(answer, (ONE, TWO), marked_before=True)
    assert answered
    assert [reply.code for reply in replies.values()] == [250, 550]


def test_front_refuses_for_a_while(tmp_path):
    """
    A closed front refuses, and takes connections again on the same port.
    """
    proxy = FaultyProxy("seed", tmp_path, 1.0)
    front = proxy._plain
    try:
        front.refuse(0.0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", front.port))
        while not front.is_open:
            assert front.accepted(0.01) is None
        with socket.create_connection(("127.0.0.1", front.port)):
            accepted = front.accepted(5.0)
            assert accepted is not None
            accepted.close()
    finally:
        for one in (proxy._plain, proxy._secure):
            one.close()
