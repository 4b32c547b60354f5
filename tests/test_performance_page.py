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
