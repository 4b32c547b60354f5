"""
What may go wrong with the two pages of the list.

What these faults send can be told from a list: a page that is well framed, marked,
can be read, and only lacks some addresses, would have to be believed.
"""

import gzip
import json
import time

from exchange import Answer, Exchange
from pipe_faults import JSON, MARKED, PAGE, Fault, outlast, page, redirect, reply_with, status

TEXT = (("Content-Type", "text/plain; charset=utf-8"),)


def part_by_length(exchange: Exchange) -> None:
    """Send the first lines of the page; its length tells how many octets are missing."""
    answer, part = _part(exchange)
    exchange.stream.send(answer.head(f"Content-Length: {len(answer.body)}") + part)


def part_in_chunks(exchange: Exchange) -> None:
    """Send the first lines of the page in a chunk, and not the last chunk."""
    answer, part = _part(exchange)
    exchange.stream.send(
        answer.head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(part), part)
    )


def part_until_close(exchange: Exchange) -> None:
    """Send the first lines of the page in the manner of HTTP/1.0, of unknown length."""
    answer, part = _part(exchange)
    exchange.stream.send(answer.head(version="1.0") + part)


def part_without_mark(exchange: Exchange) -> None:
    """Send the first lines of the page, whole as far as HTTP can tell, as a proxy would."""
    _, part = _part(exchange)
    reply_with(exchange, 200, TEXT, part)


def reset_list(exchange: Exchange) -> None:
    """Break the connection in the midst of the page."""
    octets = _whole_page(exchange).octets()
    exchange.stream.send(octets[: len(octets) // 2])
    time.sleep(0.02)
    exchange.stream.reset()


def late_list(exchange: Exchange) -> None:
    """Do not answer."""
    outlast(exchange)


def gzipped_list(exchange: Exchange) -> None:
    """Send the page in a coding that nobody asked for."""
    answer = _whole_page(exchange)
    body = gzip.compress(answer.body)
    octets = Answer(answer.code, answer.fields, body).octets("Content-Encoding: gzip")
    exchange.stream.send(octets)


def _changes(count: int | None, base: str = "", marked: bool = True, part: int = 0) -> Fault:
    """
    Answer with changes, whether they were asked for or not, of which something is wrong.

    Args:
        base: Of which list; empty for the one that the daemon has.
        part: Octets of the body that are missing.
    """

    def fault(exchange: Exchange) -> None:
        held = base or exchange.fields.get("If-None-Match") or '"none"'
        body = json.dumps({"aliases": {"steady-00@example.test": None}, "count": count}).encode()
        fields = (
            *(MARKED if marked else JSON),
            ("IM", "merge-patch"),
            ("Delta-Base", held),
            ("ETag", '"a later one"'),
        )
        answer = Answer(226, fields, body[: len(body) - part])
        exchange.stream.send(answer.head(f"Content-Length: {len(body)}", "Connection: close"))
        exchange.stream.send(answer.body)

    return fault


def no_list(exchange: Exchange) -> None:
    """Answer with octets that are no HTTP."""
    exchange.stream.send(b"\0\xff" * 50)


def _whole_page(exchange: Exchange) -> Answer:
    exchange.drop_condition()
    return exchange.forward()


def _part(exchange: Exchange) -> tuple[Answer, bytes]:
    """
    Return the page as text, and so many of its lines that no rule for shrinking lists objects.
    """
    exchange.ask_for_text()
    answer = _whole_page(exchange)
    lines = answer.body.splitlines(keepends=True)
    kept = exchange.rng.randint(len(lines) * 6 // 10, len(lines) - 1) if lines else 0
    return answer, b"".join(lines[:kept])


def _wrong(fields: tuple[tuple[str, str], ...], body: bytes) -> Fault:
    return lambda exchange: reply_with(exchange, 200, fields, body)


LIST_FAULTS: dict[str, Fault] = {
    **{f"status {code}": status(code, False) for code in (404, 503)},
    "maintenance page": page(200, PAGE),
    "HTML as text": _wrong(TEXT, b"\n " + PAGE),
    "a part, by its length": part_by_length,
    "a part, in chunks": part_in_chunks,
    "a part, until close": part_until_close,
    "a part, without the mark": part_without_mark,
    "empty, without the mark": _wrong(TEXT, b""),
    "reset": reset_list,
    "no answer": late_list,
    "unasked gzip": gzipped_list,
    "not UTF-8": _wrong(TEXT, b"steady-00@example.test\nb\xfcro@example.test\n"),
    "words, no addresses": _wrong(TEXT, b"Service temporarily unavailable\n"),
    "wrong types: null": _wrong(JSON, b"null"),
}

ALIASES_FAULTS: dict[str, Fault] = {
    **LIST_FAULTS,
    **{f"status {code}": status(code, False) for code in (401, 403, 429, 500, 502)},
    "redirect 302": redirect(302),
    "no HTTP": no_list,
    "wrong types: a list": _wrong(JSON, b'["steady-00@example.test"]'),
    "wrong types: aliases null": _wrong(JSON, b'{"aliases": null}'),
    "wrong types: aliases a list": _wrong(JSON, b'{"aliases": ["steady-00@example.test"]}'),
    "wrong types: target a number": _wrong(JSON, b'{"aliases": {"steady-00@example.test": 7}}'),
    "changes: of another list": _changes(1, '"another"'),
    "changes: with a false count": _changes(100_000),
    "changes: without a count": _changes(None),
    "changes: without the mark": _changes(1, marked=False),
    "changes: a part": _changes(1, part=9),
    "wrong types: half a JSON": _wrong(JSON, b'{"aliases": {"steady-00@example.test": []'),
}

TRANSPORT_FAULTS: dict[str, Fault] = {
    **LIST_FAULTS,
    "empty, not marked": _wrong(TEXT, b""),
    "wrong types: JSON": _wrong(JSON, b'{"transport": ["steady-00@example.test"]}'),
}
