"""
Tests for logic.trace.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logic.trace import CONTEXT_KEY, Trace, trace_of
from logic.verdict import VERDICTS

SALES, HELP, JOBS = 1, 2, 3
NO_ALIAS = 0
LEAD, TICKET = ("crm.lead", 7), ("helpdesk.ticket", 8)
TRACEBACK = "Traceback (most recent call last): ..."


@dataclass
class Address:
    """
    A recipient: what belongs to it, and the outcome that is right for it.
    """

    outcome: str
    aliases: set[int] = field(default_factory=set)
    service: bool = False


# What was seen, and who was to get the message.
CASES = {
    "stored": (
        {"planned": 1, "routed": {SALES: LEAD}},
        {"sales@x": Address("stored", {SALES})},
    ),
    "two aliases of one local part": (
        {"planned": 2, "routed": {SALES: LEAD, HELP: TICKET}},
        {"info@x": Address("stored", {SALES, HELP})},
    ),
    "several recipients": (
        {"planned": 2, "routed": {SALES: LEAD, HELP: TICKET}},
        {"sales@x": Address("stored", {SALES}), "help@x": Address("stored", {HELP})},
    ),
    "several recipients, each with another outcome": (
        {
            "planned": 1,
            "routed": {SALES: LEAD},
            "refused": {HELP: ""},
            "bounced": True,
        },
        {
            "sales@x": Address("stored", {SALES}),
            "help@x": Address("refused", {HELP}),
            "nobody@x": Address("unknown"),
        },
    ),
    "catchall beside a stored alias": (
        {"planned": 1, "routed": {SALES: LEAD}},
        {"sales@x": Address("stored", {SALES}), "catchall@x": Address("stored", service=True)},
    ),
    "catchall beside a refused alias": (
        {"planned": 0, "refused": {SALES: ""}, "bounced": True},
        {"sales@x": Address("refused", {SALES}), "catchall@x": Address("unknown", service=True)},
    ),
    "catchall beside a stored and a refused alias": (
        {"planned": 1, "routed": {SALES: LEAD}, "refused": {HELP: ""}, "bounced": True},
        {
            "sales@x": Address("stored", {SALES}),
            "help@x": Address("refused", {HELP}),
            "catchall@x": Address("stored", service=True),
        },
    ),
    "catchall alone": (
        {"planned": 0, "bounced": True},
        {"catchall@x": Address("unknown", service=True)},
    ),
    "catchall without a route": (
        {"planned": 0, "unknown": True},
        {"catchall@x": Address("unknown", service=True)},
    ),
    "a reply to catchall": (
        {"planned": 1, "reply": True, "routed": {NO_ALIAS: LEAD}},
        {"catchall@x": Address("stored", service=True)},
    ),
    "a reply to an alias and to an address that has none any more": (
        {"planned": 1, "reply": True, "routed": {NO_ALIAS: LEAD}},
        {"sales@x": Address("stored", {SALES}), "gone@x": Address("stored")},
    ),
    "a reply to an alias": (
        {"planned": 1, "reply": True, "routed": {SALES: LEAD}},
        {"sales@x": Address("stored", {SALES})},
    ),
    "a reply that is refused": (
        {"planned": 0, "answers": "crm.lead", "refused": {SALES: "Members only"}, "bounced": True},
        {"sales@x": Address("refused", {SALES}), "catchall@x": Address("busy", service=True)},
    ),
    "a reply to catchall that is refused": (
        {"planned": 0, "bounced": True},
        {"catchall@x": Address("unknown", service=True)},
    ),
    "a reply that is lost": (
        {"planned": 1, "reply": True},
        {
            "sales@x": Address("failed", {SALES}),
            "catchall@x": Address("failed", service=True),
            "gone@x": Address("failed"),
        },
    ),
    "an answer beside an alias of another model": (
        {"planned": 1, "answers": "x", "passed_over": {HELP}, "routed": {SALES: LEAD}},
        {
            "sales@x": Address("stored", {SALES}),
            "help@x": Address("busy", {HELP}),
            "catchall@x": Address("busy", service=True),
            "gone@x": Address("busy"),
        },
    ),
    "an answer beside an alias of another model that bounces": (
        {"planned": 0, "answers": "x", "passed_over": {HELP}, "bounced": True},
        {"sales@x": Address("refused", {SALES}), "help@x": Address("busy", {HELP})},
    ),
    "had by another address of its alias": (
        {"further": True, "had_aliases": {SALES}, "planned": 1, "routed": {HELP: TICKET}},
        {"sales@y": Address("duplicate", {SALES}), "help@x": Address("stored", {HELP})},
    ),
    "had by the thread that it answers": (
        {"further": True, "had_in_thread": True, "planned": 0, "reply": True},
        {"catchall@x": Address("duplicate", service=True)},
    ),
    "refused": (
        {"planned": 0, "refused": {SALES: ""}, "bounced": True},
        {"sales@x": Address("refused", {SALES})},
    ),
    "refused, but Odoo did not say by which alias": (
        {"planned": 0, "bounced": True},
        {"sales@x": Address("refused", {SALES})},
    ),
    "unknown": (
        {"planned": 0, "unknown": True},
        {"nobody@x": Address("unknown")},
    ),
    "unknown beside stored": (
        {"planned": 1, "routed": {SALES: LEAD}},
        {"sales@x": Address("stored", {SALES}), "nobody@x": Address("unknown")},
    ),
    "an alias that Odoo has no route for": (
        {"planned": 0, "unknown": True},
        {"sales@x": Address("failed", {SALES})},
    ),
    "an alias that another one's route leaves out": (
        {"planned": 1, "routed": {SALES: LEAD}},
        {"help@x": Address("failed", {HELP})},
    ),
    "no route, and no word why": (
        {"planned": 0},
        {"sales@x": Address("failed", {SALES}), "nobody@x": Address("failed")},
    ),
    "report": (
        {"planned": 0, "report": True},
        {"bounce@x": Address("processed", service=True), "sales@x": Address("processed", {SALES})},
    ),
    "loop": (
        {"planned": 0, "looped": True},
        {"sales@x": Address("loop", {SALES}), "nobody@x": Address("loop")},
    ),
    "an answer to a loop notice": (
        {"loop_notice": True},
        {"sales@x": Address("loop_notice", {SALES}), "catchall@x": Address("loop_notice")},
    ),
    "busy": (
        {},
        {
            "sales@x": Address("busy", {SALES}),
            "catchall@x": Address("busy", service=True),
            "nobody@x": Address("busy"),
        },
    ),
    "had by one": (
        {"had": {"sales@x"}, "further": True, "planned": 1, "routed": {HELP: TICKET}},
        {"sales@x": Address("duplicate", {SALES}), "help@x": Address("stored", {HELP})},
    ),
    "had by one, while the other fails": (
        {"had": {"sales@x"}, "further": True, "failure": TRACEBACK},
        {"sales@x": Address("duplicate", {SALES}), "help@x": Address("failed", {HELP})},
    ),
    "had by all": (
        {"had": {"sales@x", "help@x"}},
        {"sales@x": Address("duplicate", {SALES}), "help@x": Address("duplicate", {HELP})},
    ),
    "duplicate": (
        {"duplicate": True},
        {"sales@x": Address("duplicate", {SALES}), "nobody@x": Address("duplicate")},
    ),
    "unparsable": (
        {"unparsable": True, "failure": TRACEBACK},
        {"sales@x": Address("unparsable", {SALES}), "nobody@x": Address("unparsable")},
    ),
    "failure before there were routes": (
        {"failure": TRACEBACK},
        {
            "sales@x": Address("failed", {SALES}),
            "catchall@x": Address("failed", service=True),
            "nobody@x": Address("failed"),
        },
    ),
    "failure of a route without alias": (
        {"planned": 1, "reply": True, "failure": TRACEBACK},
        {"sales@x": Address("failed", {SALES}), "catchall@x": Address("failed", service=True)},
    ),
    "failure after a report was found": (
        {"report": True, "failure": TRACEBACK},
        {"bounce@x": Address("failed", service=True)},
    ),
    "failure after Odoo wanted to bounce": (
        {"bounced": True, "refused": {SALES: ""}, "failure": TRACEBACK},
        {"sales@x": Address("failed", {SALES}), "nobody@x": Address("failed")},
    ),
}

ALIASES = st.sets(st.integers(0, 3), max_size=3)
RECIPIENTS = ("a@x", "b@x")
FLAGS = """
    further had_in_thread reply bounced report unknown looped loop_notice duplicate unparsable
"""
TRACES = st.builds(
    Trace,
    recipients=st.just(RECIPIENTS),
    had_aliases=st.sets(st.integers(1, 3), max_size=1),
    answers=st.sampled_from(["", "crm.lead"]),
    passed_over=st.sets(st.integers(1, 3), max_size=2),
    had=st.sets(st.sampled_from(RECIPIENTS)),
    planned=st.none() | st.integers(0, 3),
    routed=st.dictionaries(st.integers(0, 3), st.just(LEAD), max_size=2),
    refused=st.dictionaries(st.integers(0, 3), st.sampled_from(["", "no"]), max_size=2),
    failure=st.sampled_from(["", TRACEBACK]),
    **dict.fromkeys(FLAGS.split(), st.booleans()),
)


@pytest.mark.parametrize(("seen", "addresses"), CASES.values(), ids=CASES)
def test_each_recipient_has_the_outcome_of_what_was_seen(seen, addresses):
    """
    From what was seen of a message follows one outcome for each recipient.
    """
    trace = Trace(tuple(addresses), **seen)

    assert {recipient: address.outcome for recipient, address in addresses.items()} == {
        recipient: trace.outcome(recipient, address.aliases, address.service)
        for recipient, address in addresses.items()
    }


def test_every_outcome_is_in_the_table():
    """
    The table has a case for each outcome that there is.
    """
    found = {a.outcome for _seen, addresses in CASES.values() for a in addresses.values()}

    assert VERDICTS.keys() == found


@given(TRACES, st.sampled_from(RECIPIENTS), ALIASES, st.booleans())
def test_an_outcome_is_one_of_the_verdicts(trace, recipient, aliases, service):
    """
    Whatever was seen, there is a reply for it.
    """
    assert trace.outcome(recipient, aliases, service) in VERDICTS


@given(TRACES, st.sampled_from(RECIPIENTS), ALIASES, st.booleans())
def test_success_and_refusal_have_a_ground(trace, recipient, aliases, service):
    """
    No mail is taken or refused for good unless something was seen that says so.
    """
    outcome = trace.outcome(recipient, aliases, service)
    grounds = {
        "stored": trace.routed,
        "duplicate": trace.duplicate
        or trace.had_in_thread
        or recipient in trace.had
        or aliases & trace.had_aliases,
        "processed": trace.report,
        "refused": trace.refused or trace.bounced,
        "unparsable": trace.unparsable,
        "loop_notice": trace.loop_notice,
    }

    assert grounds.get(outcome, True)


@pytest.mark.parametrize("planned", [0, 1])
def test_a_service_address_of_which_nothing_was_seen_is_kept(planned):
    """
    Not even catchall is refused for good unless Odoo said so, no more than other addresses.
    """
    trace = Trace(("catchall@x",), planned=planned)

    assert "failed" == trace.outcome("catchall@x", (), True)


@given(TRACES, st.sampled_from(RECIPIENTS), ALIASES, st.booleans())
def test_a_failure_is_temporary(trace, recipient, aliases, service):
    """
    Where Odoo failed, nothing but the octets of the message is ground for a refusal.
    """
    trace.failure, trace.had, trace.had_aliases = TRACEBACK, (), ()
    trace.unparsable = trace.duplicate = trace.had_in_thread = False

    assert "failed" == trace.outcome(recipient, aliases, service)


@given(TRACES, st.sampled_from(RECIPIENTS), ALIASES, st.booleans())
@example(Trace(RECIPIENTS, unknown=True, bounced=True), "a@x", {1}, True)
def test_without_routes_it_is_busy(trace, recipient, aliases, service):
    """
    A message that Odoo dropped before it looked for routes, and not for a ground of its own, waits.
    """
    trace.planned, trace.failure, trace.had, trace.had_aliases = None, "", (), ()
    trace.unparsable = trace.duplicate = trace.had_in_thread = False
    trace.report = trace.looped = trace.loop_notice = False

    assert "busy" == trace.outcome(recipient, aliases, service)


@given(TRACES, ALIASES, st.booleans())
def test_who_had_it_has_it(trace, aliases, service):
    """
    Whatever becomes of the others: who has the message is told so.
    """
    trace.had = {"a@x"}

    assert "duplicate" == trace.outcome("a@x", aliases, service)


def test_a_bounce_is_noted_with_its_text():
    """
    What Odoo would have mailed to the sender is kept.
    """
    trace = Trace(("sales@x",))
    trace.bounce("Closed")

    assert (True, "Closed") == (trace.bounced, trace.bounce_text)


@pytest.mark.parametrize(
    ("aliases", "expected"),
    [
        ((), ""),
        ((JOBS,), ""),
        ((SALES,), ""),
        ((HELP,), "Members only"),
        ((SALES, HELP), "Members only"),
    ],
)
def test_a_refused_sender_is_told_what_the_alias_says(aliases, expected):
    """
    The first text that is not empty counts, of the aliases that refused.
    """
    trace = Trace(("info@x",), refused={SALES: "", HELP: "Members only"})

    assert expected == trace.text(aliases)


def test_the_text_of_a_bounce_is_told_where_no_alias_refused():
    """
    What another addon would have bounced is told in its own words.
    """
    trace = Trace(("bills@x",), bounced=True, bounce_text="No attachment")

    assert "No attachment" == trace.text({SALES})


@pytest.mark.parametrize(
    ("seen", "unparsable", "expected"),
    [
        ({"processing": SALES}, False, SALES),
        ({"checking": SALES}, False, SALES),
        ({"processing": SALES, "checking": HELP}, False, SALES),
        ({}, False, 0),
        ({"processing": SALES}, True, 0),
        ({"checking": SALES, "unparsable": True}, False, 0),
    ],
)
def test_a_failure_has_a_culprit(seen, unparsable, expected):
    """
    The alias at work is to blame, unless it is the message.
    """
    trace = Trace(("sales@x",), routed={HELP: LEAD}, **seen)
    trace.fail("why", unparsable)

    assert (expected, {}, "why") == (trace.culprit, trace.routed, trace.failure)


def test_no_two_traces_are_the_same():
    """
    What tells environments apart must tell two passes apart.
    """
    assert Trace(("sales@x",)) != Trace(("sales@x",))


def test_the_trace_is_in_the_context():
    """
    A delivery under way has its trace in the context.
    """
    trace = Trace(("sales@x",))

    assert trace is trace_of(SimpleNamespace(context={CONTEXT_KEY: trace}))


@pytest.mark.parametrize("forged", [None, True, "trace", {"recipients": ["sales@x"]}, ["sales@x"]])
def test_a_context_from_outside_holds_no_trace(forged):
    """
    What came over RPC can look like anything, but it is no Trace.
    """
    assert trace_of(SimpleNamespace(context={CONTEXT_KEY: forged})) is None


def test_without_a_delivery_there_is_no_trace():
    """
    An ordinary context has none.
    """
    assert trace_of(SimpleNamespace(context={"lang": "de_DE"})) is None
