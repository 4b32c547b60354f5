"""
What was seen of a message on its way through Odoo's gateway, and what that means.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

CONTEXT_KEY = "mail_delivery_trace"


class NothingLeft(Exception):
    """
    Every recipient has the message already.
    """


class BrokenAliasError(Exception):
    """
    An alias is not configured as Odoo needs it.
    """


@dataclass(eq=False)  # two passes are never the same, even if they saw the same
class Trace:
    """
    What was seen of one pass of a message through Odoo's gateway.

    An alias is named by its id; 0 stands for a route without one.

    Args:
        recipients: The addresses to deliver to, lower-cased.
        had: Recipients that have this Message-Id already, in a message of another digest.
        had_aliases: Aliases that have it, by another of their addresses.
        had_in_thread: The thread that it answers has it.
        further: The Message-Id is known, but for other recipients.
        answers: Model of the thread that it answers, where it has several recipients.
        passed_over: Aliases of that model: beside another model's, Odoo leaves them out.
        checking: The alias whose route is being checked.
        processing: The alias whose mail is being stored.
        planned: How many routes Odoo found; None if it looked for none.
        routed: Alias to the (model, id) of the record that its mail went to.
        refused: Alias to what its sender is told.
        reply: The message goes to the thread that it answers.
        bounced: Odoo wanted to mail a bounce.
        bounce_text: What that would have said.
        culprit: The alias for which storing failed.
        failure: Why the pass failed.
    """

    recipients: tuple[str, ...]
    had: Collection[str] = ()
    had_aliases: Collection[int] = ()
    had_in_thread: bool = False
    message_id: str = ""
    subject: str = ""
    further: bool = False
    answers: str = ""
    passed_over: Collection[int] = ()
    checking: int = 0
    processing: int = 0
    planned: int | None = None
    routed: dict[int, tuple[str, int]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    reply: bool = False
    bounced: bool = False
    bounce_text: str = ""
    report: bool = False
    unknown: bool = False
    looped: bool = False
    loop_notice: bool = False
    duplicate: bool = False
    unparsable: bool = False
    culprit: int = 0
    failure: str = ""

    def bounce(self, text: str) -> None:
        """
        Note a bounce that Odoo would have mailed: Postfix tells the sender instead.
        """
        self.bounced = True
        self.bounce_text = text

    def fail(self, reason: str, unparsable: bool) -> None:
        """
        Note that the pass failed, and through whom; nothing of it remains.
        """
        self.failure = reason
        self.unparsable = self.unparsable or unparsable
        self.culprit = 0 if self.unparsable else self.processing or self.checking
        self.routed.clear()

    def outcome(self, recipient: str, aliases: Collection[int], service: bool) -> str:
        """
        Return the outcome for one recipient, a key of ``VERDICTS``.

        Args:
            aliases: Those that the address belongs to.
            service: It is a catchall, bounce or default-from address.
        """
        had = self.duplicate or self.had_in_thread or recipient in self.had
        if had or not set(self.had_aliases).isdisjoint(aliases):
            return "duplicate"
        return self._of_message() or self._of_address(aliases, service)

    def _of_message(self) -> str:
        """
        Return what holds for every recipient; empty where it depends.
        """
        flags = {
            "unparsable": self.unparsable,
            "failed": self.failure,
            "loop_notice": self.loop_notice,
            "processed": self.report,
            "loop": self.looped,
            "busy": self.planned is None,
        }
        return next((outcome for outcome, flag in flags.items() if flag), "")

    def _of_address(self, aliases: Collection[int], service: bool) -> str:
        if not self.routed.keys().isdisjoint(aliases):
            return "stored"
        if not self.refused.keys().isdisjoint(aliases):
            return "refused"
        if self.reply and self.routed:
            return "stored"
        if self.answers:
            return self._of_answer(aliases)
        if service and self.routed:
            return "stored"  # Odoo's own addresses go with the alias beside them
        return self._without_route(aliases)

    def _of_answer(self, aliases: Collection[int]) -> str:
        """
        Return the outcome where an answer went to an alias of another model alone.

        Who was not asked has its turn at the next try, without that alias.
        """
        other_model = set(aliases) - set(self.passed_over)
        return "refused" if other_model and self.bounced else "busy"

    def _without_route(self, aliases: Collection[int]) -> str:
        if aliases:
            return "refused" if self.bounced else "failed"
        return "unknown" if self.unknown or self.bounced or self.routed else "failed"

    def text(self, aliases: Collection[int]) -> str:
        """
        Return what a refused sender is told by the address; may be empty.
        """
        texts = [self.refused[alias] for alias in aliases if alias in self.refused]
        return next(filter(None, texts), "") if texts else self.bounce_text


def trace_of(env: Any) -> Trace | None:
    """
    Return the trace of the delivery under way; None where there is none.

    A context that came over RPC holds no Trace, whatever it says.
    """
    trace = env.context.get(CONTEXT_KEY)
    return trace if isinstance(trace, Trace) else None
