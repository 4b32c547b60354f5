"""
Tests for mailer.yaml_text: texts that would become much more than they are.
"""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer import yaml_text
from mailer.yaml_text import MAX_DEPTH, MAX_DIGITS, YamlError, load, load_with_lines

BOTH = pytest.mark.parametrize("read", [load, load_with_lines])
FEW = 1000  # values that aliases may stand for, in the tests of that limit


@pytest.fixture
def small(monkeypatch):
    """
    A limit that a short text can reach.
    """
    monkeypatch.setattr(yaml_text, "MAX_REPEATED", FEW)


def fault(read, text):
    """
    Return the line and what is wrong.
    """
    with pytest.raises(YamlError) as caught:
        read(text)
    return caught.value.line, caught.value.problem


@BOTH
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_nesting(read, opening, closing):
    """
    As deep as anything sensible, and no deeper; the values inside count, too.
    """
    deepest = MAX_DEPTH - 1
    assert read(opening * deepest + "x" + closing * deepest) is not None
    found = fault(read, opening * MAX_DEPTH + "x" + closing * MAX_DEPTH)
    assert (1, f"nested deeper than {MAX_DEPTH}") == found


@BOTH
def test_nesting_block_by_block(read):
    """
    The line is that of the value that is too deep.
    """
    text = "".join(f"{'  ' * n}a:\n" for n in range(MAX_DEPTH + 5))
    assert fault(read, text)[1] == f"nested deeper than {MAX_DEPTH}"
    assert MAX_DEPTH <= fault(read, text)[0] <= MAX_DEPTH + 1


@BOTH
@pytest.mark.parametrize(
    "opening", ["[", "{", "- ", "? ", "{a: ", "[[]", '{"a":', "!!map {a: ", "&a ["]
)
def test_nesting_without_end_is_found_at_once(read, opening):
    """
    Not after the whole text has been read, nor at the end of Python's stack.
    """
    assert fault(read, opening * 100_000)[0] <= 1


@BOTH
@pytest.mark.parametrize(
    "text", ["? [a]\n: b", "{[a]: b}", "{{a: b}: c}", "? {a: b}", "- &a [b]\n- {*a : c}", "? " * 19]
)
def test_a_key_of_several_values(read, text):
    """
    Nothing that we read has one, and reading nested ones would take for ever.
    """
    assert fault(read, text)[1] == "a key that is a list or mapping itself"


@BOTH
def test_a_key_by_an_alias(read):
    """
    Of a plain value it is as good as the value.
    """
    assert read("- &a b\n- {*a : c}\n") == ["b", {"b": "c"}]


@BOTH
def test_aliases(read):
    """
    Within their limit they stand for what they always did.
    """
    text = "a: &x [b, c]\nd: *x\ne: &y f\ng: [*y, *x, *x]\n"
    expected = {"a": ["b", "c"], "d": ["b", "c"], "e": "f", "g": ["f", ["b", "c"], ["b", "c"]]}
    assert expected == read(text)


@BOTH
def test_an_anchor_given_twice(read):
    """
    The last one counts.
    """
    assert ["a", "b", "b"] == read("- &x a\n- &x b\n- *x\n")


@BOTH
def test_merged_mappings(read):
    """
    ``<<`` goes on working, as in a configuration of several servers.
    """
    text = "base: &base {timeout: 5, name: x}\nservers:\n- {<<: *base, name: a}\n- <<: *base\n"
    document = read(text)
    assert [dict(item) for item in document["servers"]] == [
        {"timeout": 5, "name": "a"},
        {"timeout": 5, "name": "x"},
    ]


@BOTH
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("merged", [False, True])
def test_a_bomb_of_aliases(read, merged):
    """
    Each line ten times as large as the one before: it is not made.
    """
    if merged:
        lines = ["- &a0 {" + ", ".join(f"k{n}: v" for n in range(10)) + "}"]
        lines += [f"- &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    else:
        lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert (3, "aliases (*) repeat too much") == fault(read, "\n".join(lines))


@BOTH
@pytest.mark.usefixtures("small")
def test_a_long_list_repeated(read):
    """
    Flat ones count as well: what they stand for is counted, not how many they are.
    """
    names = ", ".join(["n"] * 99)  # with the list itself: a hundred values
    text = f"a: &x [{names}]\n"
    assert len(read(text + "b: [" + ", ".join(["*x"] * 10) + "]")["b"]) == 10
    assert fault(read, text + "b: [" + ", ".join(["*x"] * 11) + "]")[0] == 2
    assert len(read("a: &x y\nb: [" + ", ".join(["*x"] * FEW) + "]")["b"]) == FEW


@BOTH
@pytest.mark.usefixtures("small")
def test_a_long_text_repeated(read):
    """
    A text counts by its length.
    """
    text = f"a: &x {'y' * 6400}\n"
    assert read(text + "b: [" + ", ".join(["*x"] * 9) + "]")
    assert fault(read, text + "b: [" + ", ".join(["*x"] * 10) + "]")[0] == 2


@BOTH
@pytest.mark.parametrize(
    "text",
    ["&a [*a]", "&a {b: *a}", "&a {*a : b}", "- &a [[x, *a]]", "a: &a\n  - *a\n"],
)
def test_a_part_of_itself(read, text):
    """
    What would have no end is not begun.
    """
    assert "(*)" in fault(read, text)[1]


@BOTH
def test_several_documents(read):
    """
    There is one; of two nobody could say which counts.
    """
    assert fault(read, "a: 1\n---\nb: 2\n")[0] == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("1e999", math.inf),
        ("-.inf", -math.inf),
        ("12e03", 12000.0),
        ("yes", "yes"),
        ("~", None),
        ('"<<"', "<<"),
    ],
)
def test_numbers_and_words(text, value):
    """
    YAML 1.2: neither sexagesimals, nor octals by a leading zero, nor yes and no.
    """
    assert value == load(text)


@BOTH
@pytest.mark.parametrize(
    "text", ["9" * 5000, "-" + "9" * 100_000, "[1, " + "1_" * 5000 + "1]", "!!int 1" + "0" * 5000]
)
def test_a_number_without_end(read, text):
    """
    Python reads no more than 4,300 digits, in reasonable time, and neither do we.
    """
    assert "a value that cannot be read" in fault(read, text)[1]


@BOTH
@pytest.mark.parametrize("start", ["0x", "0o", "-0x"])
def test_a_number_that_could_not_be_shown(read, start):
    """
    In other bases Python reads any number, but writes none of more than 4,300 digits in an error.
    """
    limit = MAX_DIGITS - len(start)
    assert str(read(f"? {start}{'7' * limit}\n: x\n"))
    found = fault(read, f"a: x\n? {start}{'7' * (limit + 1)}\n: x\n")
    assert (2, f"a value that cannot be read, a number of over {MAX_DIGITS} digits") == found
    assert fault(read, f"b: {start}{'7' * 6000}")[0] == 1


@BOTH
@pytest.mark.parametrize("text", ["a: 1\na: 2", "{a: 1, a: 2}", "1: a\n1: b", "'a': 1\na: 2"])
def test_a_key_twice(read, text):
    """
    However it is written.
    """
    assert fault(read, text)[1] == "a key stands twice"


@pytest.mark.parametrize(
    "text",
    [
        "!!python/name:os.system",
        "!!python/object/new:os.system [x]",
        "!!python/object/apply:builtins.eval ['1']",
        "!!python/module:os",
        "{!!python/name:os.system : x}",
        "%TAG ! tag:yaml.org,2002:python/\n---\n!name:os.system x",
        "!<tag:yaml.org,2002:python/name:os.system> x",
    ],
)
def test_no_tag_makes_an_object(text):
    """
    Neither by its name nor by a shorthand.
    """
    assert "a kind that is not known" in fault(load, text)[1]


def depth(value):
    """
    Return how deep lists are nested, the innermost value included.
    """
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 1


@given(st.recursive(st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=20))
def test_the_depth_is_that_of_the_value(value):
    """
    JSON of any shape is read if it is no deeper than the limit, and only then.
    """

    text = json.dumps(value)
    for more in (0, MAX_DEPTH):
        if depth(value) + more <= MAX_DEPTH:
            assert load("[" * more + text + "]" * more) is not None
        else:
            assert "deeper" in fault(load, "[" * more + text + "]" * more)[1]
