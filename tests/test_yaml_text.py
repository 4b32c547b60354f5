"""
Tests for mailer.yaml_text.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.yaml_text import YamlError, line_of, load, load_with_lines

TEXTS = st.text() | st.text("ab:-?!&*<>|%@[]{},#'\"\\ \n0123456789.~=", max_size=40)
BOTH = pytest.mark.parametrize("read", [load, load_with_lines])
DOCUMENT = """\
# comment
host: odoo

servers:
  - name: one
    token: >-
      long
  - {name: two,
     token: short}
"""


@BOTH
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1\nb: [x, 'y', null]\n", {"a": 1, "b": ["x", "y", None]}),
        ("a@x: [b, c@y]\n", {"a@x": ["b", "c@y"]}),
        ("mode: 0660\nyes: no\n", {"mode": 660, "yes": "no"}),
        ("--- \na: true\n...\n", {"a": True}),
        ("a: \u00e9\n", {"a": "\u00e9"}),
    ],
)
def test_values(read, text, value):
    """
    YAML 1.2: no octal by a leading zero, no yes and no.
    """
    assert value == read(text)


@BOTH
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [\n", 3),
        ("a: 1\nb: c: d\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\na: 2\n", 2),
        ("x: 1\ny: @z\n", 2),
        ("a: 'b\n", 2),
        ("a\n--- b\n", 2),
    ],
)
def test_faults_have_their_line(read, text, line):
    """
    The error carries the line, also in its text.
    """
    with pytest.raises(YamlError) as caught:
        read(text)
    assert line == caught.value.line
    assert f"line {line}: {caught.value.problem}" == str(caught.value)


@BOTH
@pytest.mark.parametrize("text", ["a: \x00", "\x07", "2020-99-99"])
def test_faults_without_a_line(read, text):
    """
    Characters that YAML has not, and impossible dates, are errors too.
    """
    with pytest.raises(YamlError) as caught:
        read(text)
    assert caught.value.line == 0
    assert caught.value.problem == str(caught.value)


@BOTH
def test_a_key_that_stands_twice_shows_no_value(read):
    """
    Of a repeated key neither of its values is shown.
    """
    with pytest.raises(YamlError) as caught:
        read("token: s3cret\nhost: odoo\ntoken: s3cret2\n")
    assert "line 3: a key stands twice" == str(caught.value)


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        "token: *s3cret\n",
        "token: !!int s3cret\n",
        "token: !!float s3cret\n",
        "token: !!bool s3cret\n",
        "token: 's3cret\n",
        'token: "s3cret\n',
        "token: [s3cret\n",
        "token: s3cret: x\n",
    ],
)
def test_faults_show_no_value(read, text):
    """
    What stands as a value, perhaps a token, is in no error.
    """
    with pytest.raises(YamlError) as caught:
        read(text)
    assert "s3cret" not in str(caught.value)


@BOTH
@pytest.mark.parametrize("text", ["!!bool x", "!!int ''", "!!float ''", "!!omap x", "!!set x"])
def test_tags_that_contradict_their_value(read, text):
    """
    A value that is not what its tag says is an error like any other.
    """
    with pytest.raises(YamlError):
        read(text)


@pytest.mark.parametrize("text", ["!!python/object:os.system x", "!x y", "!<a> b"])
def test_no_object_is_built(text):
    """
    A tag that is not YAML's own is an error.
    """
    with pytest.raises(YamlError, match="a kind that is not known"):
        load(text)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 0),
        (("host",), 2),
        (("servers",), 4),
        (("servers", 0), 5),
        (("servers", 0, "name"), 5),
        (("servers", 0, "token"), 6),
        (("servers", 1), 8),
        (("servers", 1, "token"), 9),
        (("servers", 1, "host"), 8),
        (("servers", 2), 4),
        (("servers", "name"), 4),
        (("host", "x"), 2),
        (("host", 0), 2),
        (("missing",), 0),
        (("missing", "x"), 0),
        ((0,), 0),
    ],
)
def test_lines(path, line):
    """
    Keys and items have their line; a path that leaves the document, that of its last part.
    """
    assert line == line_of(load_with_lines(DOCUMENT), path)


def test_plain_values_have_no_lines():
    """
    The values of load know no lines.
    """
    assert line_of(load(DOCUMENT), ["host"]) == 0


@BOTH
@given(text=TEXTS)
@example(text="!!bool x")
@example(text="!!int ''")
@example(text="!!set x")
@example(text="- &a\n- &a\n")
@example(text="{*a : *b}")
@example(text="\ud800")
def test_any_text_is_a_value_or_a_yaml_error(read, text):
    """
    Nothing else is raised, and nothing is warned of.
    """
    problem = "none"
    try:
        read(text)
    except YamlError as error:
        problem = str(error)
    assert problem
    assert "\n" not in problem


@given(TEXTS, st.lists(st.integers(0, 3) | st.sampled_from(["a", "b", ""]), max_size=4))
def test_any_path_has_a_line(text, path):
    """
    Nothing is raised for any document and path.
    """
    try:
        document = load_with_lines(text)
    except YamlError:
        return
    assert 0 <= line_of(document, path) <= text.count("\n") + text.count("\r") + 1
