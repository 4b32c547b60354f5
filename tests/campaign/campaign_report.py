"""
The report of a run, in Markdown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from checker import Violation
from journal import Sent
from tally import Tally

SHOWN = 40  # violations that are told one by one


@dataclass(frozen=True, slots=True)
class Result:
    """
    All that a run gave.

    Args:
        counts: Name to number, in the order of the report.
        done: What was done to the daemon, and how often.
        tally: What was done to its calls.
        missing: What was planned and never came about.
        notes: What was left out, and why.
    """

    seed: str
    seconds: float
    counts: Mapping[str, int]
    done: Mapping[str, int]
    tally: Tally
    violations: Sequence[Violation] = ()
    missing: Sequence[str] = ()
    notes: Sequence[str] = field(default=())

    @property
    def is_good(self) -> bool:
        """Nothing was broken, and every fault was applied."""
        return not self.violations and not self.missing

    @property
    def text(self) -> str:
        """The report."""
        parts = [
            f"Seed `{self.seed}`, {self.seconds:.0f} s.",
            _table(("", "count"), self.counts.items()),
            _table(("disturbance", "times"), sorted(self.done.items())),
            _table(("fault", "applied", "recipients hit"), self._faults),
        ]
        lines = [f"- {note}" for note in self.notes]
        lines += [f"- never applied: {kind}" for kind in self.missing]
        lines += [f"- **{one.kind}**: {one.what}" for one in self.violations[:SHOWN]]
        if len(self.violations) > SHOWN:
            lines.append(f"- and {len(self.violations) - SHOWN} more")
        parts += ["\n".join(lines)] if lines else []
        return "\n\n".join(parts) + "\n"

    @property
    def _faults(self) -> list[tuple[str, int, object]]:
        applied, hit = self.tally.applied, self.tally.hit
        return [(kind, applied[kind], hit[kind] or "") for kind in sorted(applied)]


def counts_of(sent: Mapping[str, Sent]) -> dict[str, int]:
    """
    Return how many messages there were, and how many pairs of message and mailbox ended how.
    """
    fates = Counter(fate.state for one in sent.values() for fate in one.fates.values())
    return {
        "messages": len(sent),
        "pairs of message and mailbox": sum(len(one.mailboxes) for one in sent.values()),
        "accepted": fates["accepted"],
        "in doubt, no reply was read": fates["in doubt"],
        "refused at RCPT": fates["refused"],
    }


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
