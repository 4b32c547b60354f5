"""
How long the list takes, and how many messages a second go in, against a real Odoo.

Run it as ``docs/testing-with-odoo.md`` says. No figure makes it fail.
"""

import argparse
import base64
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "blackbox"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "odoo"))

from api import Answer, Api
from database import GivenError
from given import Given
from mail_sink import MailSink
from odoo_server import ENVIRON, OdooServer, served_odoo
from postfix import DOMAIN

LEADS = f"leads@{DOMAIN}"
SIZES = (100_000, 1_000_000)  # aliases
FETCHES = 5  # of each form of the list
ROUNDS = 25  # short ones, in turn: whatever else the machine does slows all of them
MESSAGES = 20  # of each round, and each way
OCTETS = 5_000  # of a message
CLIENTS = (1, 4)

# Odoo's own figures of a request: queries, seconds in the database, the other seconds.
_REQUEST = re.compile(r'"GET /mail_delivery/\S+ HTTP/1\.1" \d+ - \d+ ([\d.]+) ([\d.]+)')


def insert_aliases(odoo: OdooServer, first: int, last: int) -> None:
    """
    Add numbered aliases, past Odoo.
    """
    odoo.database.sql(
        f"""
        INSERT INTO mail_alias
               (alias_name, alias_full_name, alias_domain_id, alias_model_id,
                alias_contact, alias_defaults, alias_status)
        SELECT 'bulk-' || n, 'bulk-' || n || '@{DOMAIN}', domain.id, model.id,
               'everyone', '{{}}', 'not_tested'
          FROM generate_series({first}, {last}) AS n,
               (SELECT id FROM mail_alias_domain WHERE name = '{DOMAIN}') AS domain,
               (SELECT id FROM ir_model WHERE model = 'crm.lead') AS model
        """
    )
    odoo.database.sql("VACUUM ANALYZE mail_alias")


def message() -> tuple[bytes, str]:
    """
    Return a plain message of 5 kB, unlike any other, and its sender.
    """
    sender = f"{uuid.uuid4().hex}@client.test"
    words = ["roof", "house", "tiles", "winter", "price", "please", "before", "thank", "you"]
    lines = []
    while sum(map(len, lines)) < OCTETS:
        lines.append(" ".join(random.choices(words, k=12)) + "\r\n")
    head = (
        f"Return-Path: <{sender}>\r\nDelivered-To: {LEADS}\r\n"
        f"From: Customer <{sender}>\r\nTo: {LEADS}\r\nSubject: Roof {sender[:8]}\r\n"
        f"Date: Mon, 1 Jun 2026 12:00:00 +0000\r\nMessage-ID: <{sender}>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    return (head + "".join(lines)).encode(), sender


@contextmanager
def bare_gateway(odoo: OdooServer) -> Iterator[Callable[[list[bytes]], float]]:
    """
    Yield a function that has a shell of Odoo process messages, and returns the seconds.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        port = server.getsockname()[1]
        script = f"PORT = {port}\n{Path(__file__).with_name('bare_gateway.py').read_text()}"
        with subprocess.Popen(
            odoo.shell_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRON,
        ) as shell:
            assert shell.stdin is not None
            shell.stdin.write(script.encode())
            shell.stdin.close()
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as stream:

                def process(messages: list[bytes]) -> float:
                    print(json.dumps([base64.b64encode(m).decode() for m in messages]), file=stream)
                    stream.flush()
                    return float(stream.readline())

                yield process


def through_pipe(api: Api, messages: list[tuple[bytes, str]], clients: int) -> float:
    """
    Post messages from so many clients; return the seconds until all were answered 250.
    """

    def deliver(one: tuple[bytes, str]) -> dict[str, int]:
        return api.pipe(one[0], [LEADS], one[1]).codes()

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        codes = list(threads.map(deliver, messages))
    seconds = time.perf_counter() - start
    if codes != [{LEADS: 250}] * len(messages):
        raise SystemExit(f"not all were taken: {[code for code in codes if code != {LEADS: 250}]}")
    return seconds


def spread(figures: list[float], digits: int) -> str:
    """
    Return the median, and the quartiles beside it.
    """
    low, middle, high = (f"{figure:.{digits}f}" for figure in quantiles(figures, n=4))
    return f"{middle} ({low} - {high})"


def measure_messages(odoo: OdooServer, api: Api) -> None:
    """
    Print messages per second: bare, and by each number of clients, in turn.
    """
    # No sales team: Odoo 19 would tell its leader of each lead, by mail.
    odoo.create_alias("leads", alias_defaults="{'team_id': False, 'user_id': False}")
    rates: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        rates.setdefault(name, []).append(MESSAGES / seconds)

    with bare_gateway(odoo) as bare:
        for number in range(ROUNDS + 1):
            if number == 1:
                rates.clear()  # the first round warmed up
            note("bare message_process", bare([message()[0] for _ in range(MESSAGES)]))
            for clients in CLIENTS:
                batch = [message() for _ in range(MESSAGES)]
                note(f"pipe, {clients} at once", through_pipe(api, batch, clients))
    print(f"\nmessages/s, median of {ROUNDS} rounds (quartiles), and ratio to bare in each round")
    bare_rates = rates["bare message_process"]
    for name, found in rates.items():
        ratios = [rate / base for rate, base in zip(found, bare_rates, strict=True)]
        print(f"  {name:22} {spread(found, 1):24} {spread(ratios, 2)}")


def measure_request(api: Api) -> None:
    """
    Print what Odoo needs for any request, however little there is to do.
    """
    stranger, seconds = Api(api.port, "no token of any mailer"), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        if stranger.get("transport").code != 401:
            raise SystemExit("a wrong token was not refused")
        seconds.append((time.perf_counter() - start) * 1000)
    print(f"\nms for a request that is refused at once: {spread(seconds, 1)}")


def measure_list(odoo: OdooServer, api: Api, size: int) -> None:
    """
    Print how long each form of the list takes: in Odoo, and until the last octet is here.
    """
    etag = api.get("aliases", {"Accept": "application/json"}).headers["ETag"]
    forms: dict[str, tuple[str, dict[str, str]]] = {
        "aliases, JSON": ("aliases", {"Accept": "application/json"}),
        "aliases, text": ("aliases", {"Accept": "text/plain"}),
        "aliases, 304": ("aliases", {"Accept": "application/json", "If-None-Match": etag}),
        "transport": ("transport", {}),
    }
    print(f"\nlist of {size:,} aliases, median of {FETCHES}: s in Odoo, s in all, MB")
    for name, (point, headers) in forms.items():
        whole, answer = [], None
        before = len(_REQUEST.findall(odoo.log_text()))
        for _ in range(FETCHES):
            start = time.perf_counter()
            answer = api.get(point, headers)
            whole.append(time.perf_counter() - start)
            check(answer, size)
        inside = [sum(map(float, t)) for t in _REQUEST.findall(odoo.log_text())[before:]]
        assert answer is not None
        assert len(inside) == FETCHES
        figures = f"{median(inside):7.3f} {median(whole):7.3f} {len(answer.body) / 1e6:7.1f}"
        print(f"  {name:22} {figures}")


def measure_change(odoo: OdooServer, api: Api) -> None:
    """
    Print how long it takes to say that one alias has changed, and in how many octets.
    """
    headers = {"Accept": "application/json", "A-IM": "merge-patch"}
    etag, seconds, octets = api.get("aliases", headers).headers["ETag"], [], 0
    for number in range(ROUNDS):
        odoo.database.sql(
            f"""UPDATE mail_alias SET alias_name = 'changed-{number}',
                       alias_full_name = 'changed-{number}@{DOMAIN}'
                 WHERE alias_name = 'bulk-{number + 1}'"""
        )
        start = time.perf_counter()
        answer = api.get("aliases", {**headers, "If-None-Match": etag})
        seconds.append((time.perf_counter() - start) * 1000)
        if answer.code != 226:
            raise SystemExit(f"{answer.code} where a patch was expected: {answer.body[:200]!r}")
        etag, octets = answer.headers["ETag"], len(answer.body)
    print(f"  one change, ms in all  {spread(seconds, 1)}, {octets} octets")


def check(answer: Answer, size: int) -> None:
    """
    End unless it is the whole list, or none.
    """
    whole = answer.code == 200 and answer.body.count(b"bulk-") >= size
    if not whole and (answer.code, answer.body) != (304, b""):
        raise SystemExit(f"{answer.code}: {answer.body[:200]!r}")


def main() -> None:
    """
    Measure all.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--no-db-filter",
        action="store_true",
        help="start Odoo with --database alone; its configuration must have no dbfilter",
    )
    options = parser.parse_args()
    if not os.environ.get("ODOO_BIN"):
        raise SystemExit("name an Odoo in ODOO_BIN, see docs/testing-with-odoo.md")
    try:
        given = replace(Given.read(os.environ), db_filter=not options.no_db_filter)
        with MailSink() as sink, served_odoo(given, sink.port) as odoo:
            print(f"Odoo {given.series}, {'with' if given.db_filter else 'without'} --db-filter")
            api = Api(odoo.port, odoo.connect_mailer("the benchmark"))
            measure_messages(odoo, api)
            measure_request(api)
            known = 0
            for size in SIZES:
                insert_aliases(odoo, known + 1, size)
                known = size
                measure_list(odoo, api, size)
            measure_change(odoo, api)
    except GivenError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
