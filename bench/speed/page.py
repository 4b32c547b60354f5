"""
The tables of docs/performance.md, made of the results.

Each stands between two comments that name it.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from report import table
from results import SECTIONS, Results, uncertainty
from targets import (
    DELIVERED,
    INLINE,
    MB,
    MESSAGES,
    OURS,
    RATE,
    REFRESHES,
    TAKING,
    TARGETS,
    THROUGH,
    Target,
)

# Reached, and certainly so.
REACHED = {
    (True, True): "yes",
    (True, False): "probably",
    (False, False): "probably not",
    (False, True): "**no**",
}
MEASURED = ("date", "commit", "effort", "rounds", "seconds", "load_before")
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_MARKED = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, results: Results) -> str:
    """
    Return the page with its tables as the results make them.

    Raises:
        KeyError: There is no such table.
    """
    return _MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](results)}\n{found[3]}", text)


def write(results: Results) -> None:
    """
    Write the page.
    """
    PAGE.write_text(filled(PAGE.read_text(), results))


def target_line(target: Target, results: Results) -> str:
    """
    Return one target as text.
    """
    return " | ".join(map(str, _target_row(target, results))).replace("**", "")


def number(value: float) -> str:
    """
    Return three digits that say something, at least; no decimals from 100 on.
    """
    if value == 0:
        return "0"
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{decimals}f}"


def _target_row(target: Target, results: Results) -> Sequence[str]:
    unit = f" {target.unit}" if target.unit else ""
    word = "at least" if target.at_least else "at most"
    error = f" ± {number(target.uncertainty(results))}" if target.uncertainty else ""
    return (
        target.text,
        f"{word} {number(target.bound)}{unit}",
        f"{number(target.value(results))}{error}{unit}",
        REACHED[target.is_reached(results), target.is_certain(results)],
    )


def _targets(results: Results) -> str:
    rows = [_target_row(target, results) for target in TARGETS]
    return table(("target", "wanted", "measured", "reached"), rows)


def _machine(results: Results) -> str:
    rows = list(results.section("socketmap")["machine"].items())
    return table(("measured with", ""), [(name.replace("_", " "), value) for name, value in rows])


def _measured(results: Results) -> str:
    rows = [
        [section, *(results.section(section)["measured"][name] for name in MEASURED)]
        for section in SECTIONS
    ]
    return table(("section", *(name.replace("_", " ") for name in MEASURED)), rows)


def _socketmap(results: Results) -> str:
    servers = results.section("socketmap")["figures"]["servers"]
    loads = list(servers[OURS])
    rows = []
    for server in servers:
        cells = [server]
        for load in loads:
            rate = results.middle("socketmap", "servers", server, load, RATE)
            ratio = results.ratio("socketmap", server, "C", load, RATE)
            cells.append(f"{number(rate)} ({number(ratio)})")
        rows.append(cells)
    return table(("lookups a second (of C)", *loads), rows)


def _latency(results: Results) -> str:
    rows = []
    for load in ("1", "64"):
        for server in results.section("socketmap")["figures"]["servers"]:
            keys = ("socketmap", "servers", server, load)
            cells = [results.middle(*keys, name) for name in ("p50_ms", "p99_ms", "server_us")]
            ratio = results.ratio("socketmap", "C", server, load, "server_us")
            rows.append((f"{server}, {load}", *map(number, [*cells, ratio])))
    heads = ("server, connections", "p50 ms", "p99 ms", "processor µs a lookup", "C / this")
    return table(heads, rows)


def _postmap(results: Results) -> str:
    kinds = results.section("socketmap")["figures"]["postmap"]
    rows = [(f"{kind}:", number(results.middle("socketmap", "postmap", kind, RATE)))
            for kind in kinds]  # fmt: skip
    return table(("`postmap -q -`", "lookups a second"), rows)


def _lmtp(results: Results) -> str:
    servers = results.section("lmtp")["figures"]["servers"]
    rows = []
    for load in servers[TAKING]:
        cells = [load]
        for server in servers:
            rate = results.middle("lmtp", "servers", server, load, MESSAGES)
            ratio = results.ratio("lmtp", server, "smtp-sink", load, MESSAGES)
            cells.append(f"{number(rate)} ({number(ratio)})")
        rows.append(cells)
    return table(("messages a second (of smtp-sink)", *servers), rows)


def _message(results: Results) -> str:
    rows = []
    for load in results.section("lmtp")["figures"]["servers"][THROUGH]:
        cells = [load]
        for server in (TAKING, THROUGH):
            keys = ("lmtp", "servers", server, load)
            cells.append(number(results.middle(*keys, "server_us") / 1000))
            cells.append(number(results.middle(*keys, "p50_ms")))
            cells.append(number(results.middle(*keys, "p99_ms")))
        memory = results.worst("lmtp", "servers", THROUGH, load, "peak_memory") / MB
        rows.append([*cells, number(memory)])
    heads = ("", "receiving: processor ms", "p50 ms", "p99 ms",
             "through: processor ms", "p50 ms", "p99 ms", "peak MB")  # fmt: skip
    return table(heads, rows)


def _list(results: Results) -> str:
    lists = results.section("list")["figures"]

    def row(text: str, what: str, key: str, worst: bool = False, scale: float = 1) -> list[str]:
        take = results.worst if worst else results.middle
        return [
            text,
            *(
                number(take("list", name, what, key) / scale) if what in lists[name] else ""
                for name in lists
            ),
        ]

    rows = [
        row("from exec to the first answer, s", "start from the store", "seconds"),
        row("memory after a start, MB", "start from the store", "resident_memory", True, MB),
        row("lookups a second, 8 connections", "lookups", RATE),
        row("the worst lookup while nothing else happens, ms", "no refresh", "all_max_ms", True),
    ]
    for what, text in REFRESHES.items():
        rows += [
            row(f"{text}: s", what, "seconds"),
            row("lookups meanwhile", what, "all_lookups"),
            row("the worst of them, ms", what, "all_max_ms", True),
            row("the worst without the machine's own stalls, ms", what, "max_ms", True),
            row("lookups that these set apart, at most", what, "apart", True),
            row("the worst echo, ms", what, "echo_max_ms", True),
            row("memory at its peak, MB", what, "peak_memory", True, MB),
            row("of this more than before, MB", what, "peak_memory_more", True, MB),
            row("memory after it, MB", what, "resident_memory", True, MB),
        ]
    rows += [
        row("unchanged: requests", "unchanged", "requests"),
        row("unchanged: octets", "unchanged", "octets"),
        row("one change, told: until a lookup sees it, s", "change, told", "seconds"),
        row("one change, told: octets", "change, told", "octets"),
        row("one change, told: processor, s", "change, told", "cpu_seconds"),
        row("one change, asked for: until a lookup sees it, s", "change, asked for", "seconds"),
        row("one change, asked for: octets", "change, asked for", "octets"),
        row("one change, asked for: processor, s", "change, asked for", "cpu_seconds"),
    ]
    return table(("addresses", *lists), rows)


def _start(results: Results) -> str:
    rows = [
        ("`daemon`, from exec to the first answer from its store, 10,000 addresses, s",
         number(results.middle("start", "daemon", "seconds"))),
        ("`daemon`, idle, MB", number(results.worst("start", "daemon", "resident_memory") / MB)),
        ("`pipe`, from exec to its end, s", number(results.middle("start", "pipe", "seconds"))),
        ("`--help`, s", number(results.middle("start", "help", "seconds"))),
    ]  # fmt: skip
    return table(("", ""), rows)


def _postfix(results: Results) -> str:
    servers = results.section("postfix")["figures"]["servers"]
    rows = []
    for server in servers:
        load = next(iter(servers[server]))
        least = f"C{INLINE}" if server.endswith(INLINE) else "C"  # with the same wiring
        cells = []
        for rate in (MESSAGES, DELIVERED):
            cells.append(results.middle("postfix", "servers", server, load, rate))
            cells += [results.ratio("postfix", server, one, load, rate) for one in (least, "hash")]
        cells += [
            results.middle("postfix", "servers", server, load, name)
            for name in ("server_us", "all_us")
        ]
        rows.append((server, *map(number, cells), _all_together(results, server, least, load)))
    rates = ("accepted a second", "of C", "of hash:", "delivered a second", "of C", "of hash:")
    processor = ("processor µs a message: server", "all together", "C / this")
    return table(("maps", *rates, *processor), rows)


def _all_together(results: Results, server: str, least: str, load: str) -> str:
    """
    Return which part of the processor time of a message it would be with the least server.
    """
    if server == least:
        return number(1)
    ratios = results.ratios_to("postfix", least, server, load, "all_us")
    return f"{number(median(ratios))} ± {number(uncertainty(ratios))}"


TABLES: dict[str, Callable[[Results], str]] = {
    "targets": _targets,
    "machine": _machine,
    "measured": _measured,
    "socketmap": _socketmap,
    "latency": _latency,
    "postmap": _postmap,
    "lmtp": _lmtp,
    "message": _message,
    "list": _list,
    "start": _start,
    "postfix": _postfix,
}


if __name__ == "__main__":
    write(Results())
