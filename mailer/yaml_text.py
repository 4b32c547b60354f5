"""
YAML 1.2 text to values, and to the lines where they stand.
"""

from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import ComposerError
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError

from mailer.errors import ListError


class YamlError(ListError):
    """
    The text is not YAML.

    Args:
        line: Where, counted from 1; 0 if that is not known.
        problem: What is wrong.
    """

    def __init__(self, line: int, problem: str) -> None:
        self.line = line
        self.problem = problem
        super().__init__(f"line {line}: {problem}" if line else problem)


def load(text: str) -> Any:
    """
    Return plain values: no object of any other kind is ever built.

    Raises:
        YamlError: The text is not YAML, or a key stands twice in a mapping.
    """
    return _load(text, "safe")


def load_with_lines(text: str) -> Any:
    """
    Return values whose mappings and sequences ``line_of`` understands.

    Raises:
        YamlError: See ``load``.
    """
    return _load(text, "rt")


def line_of(document: Any, path: Sequence[object]) -> int:
    """
    Return the line, counted from 1, on which a key or item stands.

    A path that leaves the document gives the line of its last part that is there.
    """
    line = 0
    for part in path:
        try:
            place = document.lc.item(part) if isinstance(part, int) else document.lc.key(part)
            line, document = place[0] + 1, document[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def _load(text: str, kind: str) -> Any:
    yaml = YAML(typ=kind, pure=True)
    yaml.composer.warn_double_anchors = False
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 0, _explained(error)) from None
    except Exception:  # ruamel raises whatever int(), its own tables and deep nesting raise
        raise YamlError(0, "a value that cannot be read, or nesting that is too deep") from None


def _explained(error: MarkedYAMLError) -> str:
    """
    Return what is wrong, without values of the text: one of them may be a token.
    """
    if isinstance(error, DuplicateKeyError):
        return "a key stands twice"
    if isinstance(error, ComposerError):
        return "an alias (*) or anchor (&) that does not fit; quote a value that begins so"
    if isinstance(error, ConstructorError):
        return "a value of a kind that is not known; quote a value that begins with !"
    return " ".join(str(error.problem or error.context).split())[:200]
