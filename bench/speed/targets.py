"""
What is to be reached, in one place.

Ratios are those of one run on one machine: they say more than figures of one kind of machine.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from results import Results, uncertainty

MIB = 1_048_576
MB = 1_000_000
PYTHON = ("mta-sts-resolver", "mta-sts-resolver, uvloop")
INLINE = ", transport_maps inline:"
OURS, TAKING, THROUGH = "odoo-mailer", "odoo-mailer, receiving", "odoo-mailer, through"
RATE = "lookups_per_second"
MESSAGES = "messages_per_second"
DELIVERED = "delivered_per_second"
FEW, MANY = "1,000", "1,000,000"
OTHERS = f"{MANY}, a tenth with other targets"
# Each is judged by its worst lookup.
REFRESHES = {
    "refresh": "a refresh",
    "refresh, many new": "a refresh, 40 % of them new",
    "first list": "the first list",
}


@dataclass(frozen=True, slots=True)
class Target:
    """
    One of them.

    Args:
        bound: The least or the most that ``value`` may be.
        unit: As it is shown; empty for a ratio.
        uncertainty: The standard error of the value; of what is no ratio it is not known.
    """

    text: str
    value: Callable[[Results], float]
    bound: float
    at_least: bool
    unit: str = ""
    uncertainty: Callable[[Results], float] | None = None

    def is_reached(self, results: Results) -> bool:
        """
        Say whether it is, as measured.
        """
        value = self.value(results)
        return value >= self.bound if self.at_least else value <= self.bound

    def is_certain(self, results: Results) -> bool:
        """
        Say whether two standard errors, as far as they are known, would make no difference.
        """
        error = self.uncertainty(results) if self.uncertainty else 0.0
        return abs(self.value(results) - self.bound) >= 2 * error


def _ratio(text: str, ratios: Callable[[Results], list[float]], bound: float) -> Target:
    """
    Return a target for the median of ratios that each were taken within one round.
    """
    return Target(
        text,
        lambda r: median(ratios(r)),
        bound,
        True,
        uncertainty=lambda r: uncertainty(ratios(r)),
    )


def _socketmap() -> Iterator[Target]:
    for load, text in (("1", "1 connection"), ("8", "8 connections"), ("64", "64 connections")):
        yield _ratio(
            f"lookups, {text}: of the least server in C",
            lambda r, load=load: r.ratios_to("socketmap", OURS, "C", load, RATE),
            0.25,
        )
        yield _ratio(
            f"lookups, {text}: of the fastest Python peer",
            lambda r, load=load: r.least_ratios_to("socketmap", OURS, PYTHON, load, RATE),
            1.2,
        )
    yield Target(
        "lookups, 64 connections: p99",
        lambda r: r.middle("socketmap", "servers", OURS, "64", "p99_ms"),
        3,
        False,
        "ms",
    )


def _lmtp() -> Iterator[Target]:
    for size, sink, peer in (("5 kB", 0.15, 2), ("1 MB", 0.5, 4), ("25 MB", 0.5, 4)):
        load = f"{size}, 8 sessions, 1 recipient"
        for other, bound in (("smtp-sink", sink), ("aiosmtpd", peer)):
            yield _ratio(
                f"receiving alone, {size}, 8 sessions: of {other}",
                lambda r, load=load, other=other: r.ratios_to(
                    "lmtp", TAKING, other, load, MESSAGES
                ),
                bound,
            )
    through = ("lmtp", "servers", THROUGH)
    yield Target(
        "through, 5 kB, 8 sessions: messages a second",
        lambda r: r.middle(*through, "5 kB, 8 sessions, 1 recipient", MESSAGES),
        500,
        True,
        "/s",
    )
    yield Target(
        "through, 5 kB, 1 session: p50 of a transaction",
        lambda r: r.middle(*through, "5 kB, 1 session, 1 recipient", "p50_ms"),
        4,
        False,
        "ms",
    )
    yield Target(
        "through, 25 MB, 1 session",
        lambda r: r.middle(*through, "25 MB, 1 session, 1 recipient", "octets_per_second") / MB,
        150,
        True,
        "MB/s",
    )
    yield Target(
        "through, 8 sessions: memory for 25 MB more than for 1 MB, at its peak",
        lambda r: (
            (
                r.worst(*through, "25 MB, 8 sessions, 1 recipient", "peak_memory")
                - r.worst(*through, "1 MB, 8 sessions, 1 recipient", "peak_memory")
            )
            / MIB
        ),
        8,
        False,
        "MiB",
    )


def _list() -> Iterator[Target]:
    yield from _long_list(MANY, REFRESHES)
    yield from _long_list(OTHERS, ("refresh",))
    yield _ratio(
        f"lookups with {MANY} addresses: of those with {FEW}",
        lambda r: r.ratios(("list", MANY, "lookups"), ("list", FEW, "lookups"), RATE),
        0.9,
    )
    yield Target(
        f"{MANY} addresses: requests for an unchanged list",
        lambda r: r.worst("list", MANY, "unchanged", "requests"),
        1,
        False,
        "requests",
    )
    for way in ("change, told", "change, asked for"):
        yield Target(
            f"one {way}, in {MANY} addresses: until a lookup sees it",
            lambda r, way=way: r.middle("list", MANY, way, "seconds"),
            1,
            False,
            "s",
        )
        yield Target(
            f"one {way}, in {MANY} addresses: transferred",
            lambda r, way=way: r.middle("list", MANY, way, "octets"),
            10_000,
            False,
            "octets",
        )


def _long_list(name: str, refreshes: Iterable[str]) -> Iterator[Target]:
    """
    Yield what is wanted of a list whatever its targets.
    """
    title = name.replace(MANY, f"{MANY} addresses")
    yield Target(
        f"{title}: from exec to the first answer, from the store",
        lambda r: r.middle("list", name, "start from the store", "seconds"),
        3,
        False,
        "s",
    )
    for what, text in (("start from the store", "a start"), ("refresh", "a refresh")):
        yield Target(
            f"{title}: memory after {text}",
            lambda r, what=what: r.worst("list", name, what, "resident_memory") / MB,
            300,
            False,
            "MB",
        )
    for what in refreshes:
        yield Target(
            f"{title}: the worst lookup during {REFRESHES[what]}",
            lambda r, what=what: r.worst("list", name, what, "all_max_ms"),
            20,
            False,
            "ms",
        )


def _start() -> Iterator[Target]:
    for key, text, bound in (
        ("daemon", "`daemon` from exec to the first answer, 10,000 addresses", 0.7),
        ("pipe", "`pipe` from exec to its end", 0.35),
        ("help", "`--help`", 0.15),
    ):
        yield Target(
            text,
            lambda r, key=key: r.middle("start", key, "seconds"),
            bound,
            False,
            "s",
        )
    yield Target(
        "`daemon`, idle: memory",
        lambda r: r.worst("start", "daemon", "resident_memory") / MB,
        60,
        False,
        "MB",
    )


def _postfix() -> Iterator[Target]:
    figures = (("accepts", MESSAGES), ("accepts and delivers", DELIVERED))
    for what, figure in figures:
        for text, maps in (("both maps", ""), ("transport_maps a constant", INLINE)):
            yield _ratio(
                f"messages that Postfix {what}, {text}: of those with the least server in C",
                lambda r, maps=maps, figure=figure: r.ratios_to(
                    "postfix", f"{OURS}{maps}", f"C{maps}", "8 sessions, 5 kB", figure
                ),
                0.97,
            )


TARGETS = (*_socketmap(), *_lmtp(), *_list(), *_start(), *_postfix())
