"""
Tests for bench/speed: the page of figures, and the guard.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "bench", ROOT / "bench" / "speed")


@pytest.fixture
def bench(monkeypatch):
    """
    Make the modules of the benches importable for a while.
    """
    before = set(sys.modules)
    for folder in FOLDERS:
        monkeypatch.syspath_prepend(str(folder))
    yield
    for name in set(sys.modules) - before:
        if str(ROOT / "bench") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_tables_are_those_of_the_results(bench):
    """
    No figure of docs/performance.md is written by hand, and none is of an older run.
    """
    import page
    from results import Results

    text = page.PAGE.read_text()
    assert page.filled(text, Results()) == text


def test_the_drawing_is_that_of_the_results(bench):
    """
    The picture carries the numbers that it was drawn of.
    """
    import drawn
    from results import Results

    picture = (ROOT / "docs" / "performance.svg").read_text()
    assert f"<dc:description>{drawn.description(Results())}</dc:description>" in picture


def test_every_table_is_on_the_page(bench):
    """
    What is measured is shown, once.
    """
    import page

    text = page.PAGE.read_text()
    assert dict.fromkeys(page.TABLES, 1) == {
        name: text.count(f"<!-- table: {name} -->") for name in page.TABLES
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.250"), (4.999, "5.00"), (12.34, "12.3"), (1e6, "1,000,000")],
)
def test_numbers_have_three_digits_that_say_something(bench, value, text):
    """
    Decimals fit the size of a figure.
    """
    import page

    assert text == page.number(value)


@pytest.mark.parametrize(
    ("value", "uncertainty", "reached"),
    [
        (0.97, None, "yes"),
        (0.96, None, "no"),
        (0.98, 0.01, "probably"),
        (0.96, 0.01, "probably not"),
        (1.0, 0.01, "yes"),
        (0.94, 0.01, "no"),
    ],
)
def test_a_target_is_reached_where_chance_is_not_the_reason(bench, value, uncertainty, reached):
    """
    Within two standard errors of what is wanted nothing is sure.
    """
    import page
    from targets import Target

    error = uncertainty and (lambda _: uncertainty)
    target = Target("it", lambda _: value, 0.97, True, uncertainty=error)
    assert page.target_line(target, None).endswith(f" | {reached}")


def test_the_uncertainty_of_a_median(bench):
    """
    That of the mean, of values with a standard deviation of 10, and a quarter more.
    """
    from results import uncertainty

    assert uncertainty([100]) == float("inf")
    assert uncertainty([90, 110, 90, 110, 100]) == pytest.approx(1.2533 * 10 / 5**0.5)


def test_ratios_are_taken_within_a_round(bench, tmp_path):
    """
    To one server, and to the best of some.
    """
    from results import SECTIONS, Results, save

    def rounds(*values):
        return {"load": [{"rate": value} for value in values]}

    servers = {"ours": rounds(2, 6), "slow": rounds(1, 2), "quick": rounds(4, 8)}
    for section in SECTIONS:
        save(section, {"figures": {"servers": servers}}, tmp_path)
    results = Results(tmp_path)
    assert results.ratios_to("list", "ours", "slow", "load", "rate") == [2, 3]
    assert results.ratio("list", "ours", "slow", "load", "rate") == 2.5
    least = results.least_ratios_to("list", "ours", ("slow", "quick"), "load", "rate")
    assert least == [0.5, 0.75]


@pytest.mark.parametrize(("now", "good"), [(1000, True), (1100, True), (1101, False), (500, True)])
def test_the_guard_fails_from_a_tenth_more_on(bench, now, good):
    """
    A tenth more instructions are borne.
    """
    import guard

    before = {"lookup": {"instructions": 1000.0}}
    assert good == guard.compare(before, {"lookup": {"instructions": float(now)}})[1]


def test_the_guard_takes_a_new_figure(bench):
    """
    What has no baseline yet is shown and does not fail.
    """
    import guard

    rows, good = guard.compare({}, {"lookup": {"instructions": 1.0}})
    assert good
    assert rows == [["lookup, instructions", "", "1", "new"]]


def test_a_declared_list_is_renewed_in_part(bench):
    """
    Addresses that stay are as before, new ones in place of others, those with other targets last.
    """
    import json

    from declared import Declared

    declared = Declared("odoo", "example.com", others=0.2)
    aliases = []
    for renewed, mark in ((0, "a@example.com"), (4, "b@example.com")):
        declared.declare(10, renewed, mark)
        page = json.loads(declared.page("aliases"))
        assert page["count"] == len(page["aliases"]) == 11
        assert page["aliases"].pop(mark) == [mark]
        aliases.append(page["aliases"])
    before, after = aliases
    assert len(before.keys() & after.keys()) == 6
    assert len({len(name) for name, (target,) in before.items() if name == target}) == 1
    other = {name: target for name, (target,) in after.items() if name != target}
    assert other == {
        "odoo-sales-000000@example.com": "odoo-people-000000@example.com",
        "odoo-sales-000001@example.com": "odoo-people-000001@example.com",
    }


def test_the_bench_knows_no_commit_without_git(bench, monkeypatch):
    """
    An unpacked archive is measured, too.
    """
    import ground

    monkeypatch.setenv("PATH", "")
    assert ground.commit() == ""
