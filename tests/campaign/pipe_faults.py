"""
What may go wrong with a delivery on its way to Odoo and back.

No fault invents a verdict: what carries Odoo's mark is Odoo's own answer,
damaged or not, or says nothing final that could be understood.
"""

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

from exchange import Answer, Exchange, GoneError

Fault = Callable[[Exchange], None]

HTML = (("Content-Type", "text/html; charset=utf-8"),)
JSON = (("Content-Type", "application/json"),)
MARKED = (*JSON, ("X-Mail-Delivery", "1"))
PAGE = b"<!DOCTYPE html><title>Back soon</title><p>We are updating.</p>"

STATUSES = (400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 500, 502, 503, 504)
PAUSING = (409, 429, 503)
REDIRECTS = (301, 302, 307, 308)
MAX_ANSWER = 4_194_304  # octets that the daemon reads of one
MARGIN = 0.5  # seconds past the daemon's deadline


def reset_at_head(exchange: Exchange) -> None:
    """Break the connection once the head is read."""
    exchange.stream.reset()


def reset_in_body(exchange: Exchange) -> None:
    """Break the connection in the midst of the message."""
    exchange.read(0.5)
    exchange.stream.reset()


def reset_before_forward(exchange: Exchange) -> None:
    """Break the connection when the message is there, and Odoo has not got it."""
    exchange.read()
    exchange.stream.reset()


def reset_after_commit(exchange: Exchange) -> None:
    """Break the connection when Odoo has committed."""
    exchange.forward()
    exchange.stream.reset()


def reset_in_answer(exchange: Exchange) -> None:
    """Break the connection in the midst of Odoo's answer."""
    octets = exchange.forward().octets()
    exchange.stream.send(octets[: exchange.rng.randrange(1, len(octets))])
    time.sleep(0.02)
    exchange.stream.reset()


def stalled_body(exchange: Exchange) -> None:
    """Stop to read in the midst of the message."""
    exchange.read(0.5)
    outlast(exchange)


def late_without_commit(exchange: Exchange) -> None:
    """Never answer, and never ask Odoo."""
    exchange.read()
    outlast(exchange)


def late_commit(exchange: Exchange) -> None:
    """Ask Odoo only after the daemon has given up."""
    exchange.read()
    outlast(exchange)
    exchange.forward()


def late_answer(exchange: Exchange) -> None:
    """Answer after the daemon has given up, though Odoo had committed in time."""
    exchange.forward()
    outlast(exchange)


def unmarked_verdict(exchange: Exchange) -> None:
    """Answer as Odoo would, but without its mark."""
    exchange.read()
    code, status = exchange.rng.choice(((250, "2.0.0"), (550, "5.1.1")))
    verdict = {"code": code, "status": status, "text": "says a stranger"}
    reply_with(exchange, 200, JSON, _verdicts(exchange, verdict))


def put_off_by_odoo(exchange: Exchange) -> None:
    """Answer as an Odoo that puts every recipient off."""
    exchange.read()
    verdict = {"code": 451, "status": "4.3.0", "text": "could not serialize access"}
    reply_with(exchange, 200, MARKED, _verdicts(exchange, verdict))


def marked_error(exchange: Exchange) -> None:
    """Answer as an Odoo that failed, with its mark and no verdict."""
    exchange.read()
    code = exchange.rng.choice((401, 403, 404, 405, 413, 415, 422, 500, 503))
    reply_with(exchange, code, MARKED, b'{"error": "internal error"}')


def answer_before_message(exchange: Exchange) -> None:
    """Refuse before the message was read, and read no more of it."""
    reply_with(exchange, exchange.rng.choice((401, 413, 503)), HTML, PAGE)
    exchange.stream.hung_up_within(1.0)


def short_body(exchange: Exchange) -> None:
    """Send less of Odoo's answer than its Content-Length says."""
    answer = exchange.forward()
    cut = exchange.rng.randrange(len(answer.body) or 1)
    exchange.stream.send(answer.head(f"Content-Length: {len(answer.body)}") + answer.body[:cut])


def chunks_without_end(exchange: Exchange) -> None:
    """Send Odoo's answer in chunks, and not the last one."""
    answer = exchange.forward()
    chunk = b"%x\r\n%b\r\n" % (len(answer.body), answer.body)
    cut = exchange.rng.randrange(3, len(chunk))
    exchange.stream.send(answer.head("Transfer-Encoding: chunked") + chunk[:cut])


def half_json(exchange: Exchange) -> None:
    """Send the first half of Odoo's answer as if it were all."""
    answer = exchange.forward()
    half = answer.body[: len(answer.body) // 2]
    exchange.stream.send(Answer(answer.code, answer.fields, half).octets())


def half_until_close(exchange: Exchange) -> None:
    """Send half of Odoo's answer in the manner of HTTP/1.0, of unknown length."""
    answer = exchange.forward()
    exchange.stream.send(answer.head(version="1.0") + answer.body[: len(answer.body) // 2])


def oversized(exchange: Exchange) -> None:
    """Send Odoo's answer with more than 4 MiB of space in it."""
    answer = exchange.forward()
    body = answer.body[:-1] + b" " * MAX_ANSWER + answer.body[-1:]
    exchange.stream.send(Answer(answer.code, answer.fields, body).octets())


def gzipped(exchange: Exchange) -> None:
    """Send Odoo's answer in a coding that nobody asked for."""
    answer = exchange.forward()
    body = gzip.compress(answer.body)
    exchange.stream.send(Answer(answer.code, answer.fields, body).octets("Content-Encoding: gzip"))


def trickle_too_slow(exchange: Exchange) -> None:
    """Send Odoo's answer octet by octet, until the daemon gives up."""
    octets = exchange.forward().octets()
    pause = (exchange.deadline + MARGIN) / min(len(octets), 100)
    started = time.monotonic()
    try:
        for place in range(len(octets)):
            exchange.stream.send(octets[place : place + 1])
            time.sleep(pause)
    except GoneError:
        if time.monotonic() - started < exchange.deadline * 0.8:
            raise


def trickle(exchange: Exchange) -> None:
    """Send Odoo's answer octet by octet, but in time."""
    for octet in exchange.forward().octets():
        exchange.stream.send(bytes((octet,)))
    exchange.keep = True


def http_1_0(exchange: Exchange) -> None:
    """Send Odoo's answer in the manner of HTTP/1.0, and close."""
    answer = exchange.forward()
    exchange.stream.send(answer.head(version="1.0") + answer.body)


def closed_silently(exchange: Exchange) -> None:
    """Answer properly, then close a connection that was to be kept."""
    exchange.stream.send(exchange.forward().octets())


def idle_408(exchange: Exchange) -> None:
    """Answer properly, then say on the idle connection that nothing came."""
    exchange.stream.send(exchange.forward().octets())
    time.sleep(exchange.rng.uniform(0, 0.05))
    exchange.stream.send(Answer(408, HTML, PAGE).octets("Connection: close"))


def informational(exchange: Exchange) -> None:
    """Say first that the request is being processed."""
    answer = exchange.forward()
    exchange.stream.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    time.sleep(0.02)
    exchange.stream.send(answer.octets())
    exchange.keep = True


def long_head(exchange: Exchange) -> None:
    """Answer with a header field of 200,000 octets."""
    exchange.read()
    exchange.stream.send(Answer(200, (("X-Padding", "x" * 200_000),), PAGE).octets())


def garbage(exchange: Exchange) -> None:
    """Answer with octets that are no HTTP."""
    exchange.read()
    exchange.stream.send(exchange.rng.randbytes(exchange.rng.randrange(1, 4000)))


def another_protocol(exchange: Exchange) -> None:
    """Answer as a mail server would."""
    exchange.read()
    exchange.stream.send(b"220 mx.example.test ESMTP\r\n250 2.0.0 Ok\r\n")


def broken_record(exchange: Exchange) -> None:
    """Send something that is no TLS record in the midst of Odoo's answer."""
    octets = exchange.forward().octets()
    exchange.stream.send(octets[: len(octets) // 2])
    exchange.stream.send_below_tls(b"\x17\x03\x03\x00\x40" + exchange.rng.randbytes(64))
    exchange.stream.hung_up_within(1.0)


def status(code: int, retry_after: bool) -> Fault:
    """
    Return the fault of a gateway that answers so; sometimes Odoo has committed even so.
    """

    def fault(exchange: Exchange) -> None:
        exchange.read()
        if exchange.rng.random() < 0.3:
            exchange.forward()  # the gateway gave up, Odoo did not
        fields = ("Connection: close", *(("Retry-After: 1",) if retry_after else ()))
        exchange.stream.send(Answer(code, HTML, PAGE).octets(*fields))

    return fault


def redirect(code: int) -> Fault:
    """
    Return the fault of a gateway that sends the daemon elsewhere; it must not go there.
    """

    def fault(exchange: Exchange) -> None:
        exchange.read()
        target = f"http://{exchange.fields['Host']}/moved{exchange.path}"
        reply_with(exchange, code, (*HTML, ("Location", target)), PAGE)

    return fault


def page(code: int, body: bytes) -> Fault:
    """
    Return the fault of a gateway that answers with a page of its own.
    """

    def fault(exchange: Exchange) -> None:
        exchange.read()
        reply_with(exchange, code, HTML, body)

    return fault


def _marked(make: Callable[[Exchange], bytes]) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.read()
        reply_with(exchange, 200, MARKED, make(exchange))

    return fault


def reply_with(
    exchange: Exchange, code: int, fields: tuple[tuple[str, str], ...], body: bytes
) -> None:
    """
    Answer in the place of Odoo, and close.
    """
    exchange.stream.send(Answer(code, fields, body).octets("Connection: close"))


def outlast(exchange: Exchange) -> None:
    """
    Wait until the daemon gives up, and a little longer.

    Raises:
        GoneError: It went away for another reason, before its deadline.
    """
    started = time.monotonic()
    hung_up = exchange.stream.hung_up_within(exchange.deadline + 5)
    if not hung_up or time.monotonic() - started < exchange.deadline * 0.8:
        raise GoneError
    time.sleep(exchange.rng.uniform(0, MARGIN))


def _verdicts(exchange: Exchange, verdict: Any) -> bytes:
    return json.dumps({"recipients": dict.fromkeys(exchange.recipients, verdict)}).encode()


def _each(verdict: Any) -> Fault:
    return _marked(lambda exchange: _verdicts(exchange, verdict))


def _body(body: bytes) -> Fault:
    return _marked(lambda exchange: body)


def _foreign(exchange: Exchange) -> bytes:
    verdict = {"code": 550, "status": "5.1.1", "text": "nobody"}
    return json.dumps({"recipients": {"someone@else.test": verdict}}).encode()


def _some_missing(exchange: Exchange) -> None:
    """Leave out every other recipient of Odoo's answer, the first too."""
    answer = exchange.forward()
    try:
        verdicts = json.loads(answer.body)["recipients"]
    except (ValueError, KeyError):
        verdicts = {}
    kept = dict(list(verdicts.items())[1::2])
    body = json.dumps({"recipients": kept}).encode()
    exchange.stream.send(Answer(answer.code, answer.fields, body).octets("Connection: close"))


_OK = {"code": 250, "status": "2.0.0", "text": "Ok"}
_NO = {"code": 550, "status": "5.1.1", "text": "No"}

WRONG_TYPES: dict[str, Fault] = {
    "a list": _body(b'[250, "2.0.0"]'),
    "null": _body(b"null"),
    "recipients null": _body(b'{"recipients": null}'),
    "recipients a list": _body(b'{"recipients": [{"code": 250, "status": "2.0.0", "text": ""}]}'),
    "no recipients": _body(b'{"recipients": {}}'),
    "verdicts null": _each(None),
    "code as text": _each({**_OK, "code": "250"}),
    "code as fraction": _each({**_NO, "code": 550.0}),
    "code true": _each({**_OK, "code": True}),
    "code of 5,000 digits": _marked(
        lambda exchange: _verdicts(exchange, {**_NO, "code": 550}).replace(b"550", b"5" * 5000)
    ),
    "code out of range": _each({**_NO, "code": 999, "status": "9.1.1"}),
    "250 with 5.1.1": _each({**_OK, "status": "5.1.1"}),
    "550 with 2.0.0": _each({**_NO, "status": "2.0.0"}),
    "no status": _each({"code": 550, "text": "No"}),
    "status null": _each({**_NO, "status": None}),
    "text a number": _each({**_NO, "text": 7}),
    "foreign recipients": _marked(_foreign),
    "recipients missing": _some_missing,
    "nested too deep": _body(b'{"recipients": ' + b"[" * 100_000),
    "not UTF-8": _marked(lambda exchange: _verdicts(exchange, _NO).replace(b"No", b"\xff\xfe")),
}

PIPE_FAULTS: dict[str, Fault] = {
    "reset at the head": reset_at_head,
    "reset in the message": reset_in_body,
    "reset before the commit": reset_before_forward,
    "reset after the commit": reset_after_commit,
    "reset in the answer": reset_in_answer,
    "message not read to its end": stalled_body,
    "no answer, no commit": late_without_commit,
    "commit after the deadline": late_commit,
    "commit, answer after the deadline": late_answer,
    **{f"status {code}": status(code, False) for code in STATUSES},
    **{f"status {code} with Retry-After": status(code, True) for code in PAUSING},
    **{f"redirect {code}": redirect(code) for code in REDIRECTS},
    "maintenance page": page(200, PAGE),
    "empty page": page(200, b""),
    "verdict without mark": unmarked_verdict,
    "put off by Odoo": put_off_by_odoo,
    "marked error": marked_error,
    "answer before the message": answer_before_message,
    "answer shorter than its length": short_body,
    "chunks without end": chunks_without_end,
    "half a JSON": half_json,
    "half a JSON until close": half_until_close,
    "answer over 4 MiB": oversized,
    "unasked gzip": gzipped,
    "octet by octet, too slow": trickle_too_slow,
    "octet by octet": trickle,
    "HTTP/1.0": http_1_0,
    "closed silently": closed_silently,
    "unasked 408": idle_408,
    "102 first": informational,
    "head too long": long_head,
    "no HTTP": garbage,
    "SMTP": another_protocol,
    **{f"wrong types: {name}": fault for name, fault in WRONG_TYPES.items()},
}

TLS_PIPE_FAULTS: dict[str, Fault] = {"TLS: broken record in the answer": broken_record}
