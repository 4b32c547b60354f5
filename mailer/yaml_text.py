"""
YAML 1.2 text to values, and to the lines where they stand.

No object but a plain value is ever built, and what a text describes is not
much larger than the text: nesting, and what aliases (``*``) repeat, have limits
that are checked before any value is made.
"""

from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, ScalarNode

from mailer.errors import ListError

MAX_DEPTH = 20  # of what we read, nothing is nested deeper than five
MAX_REPEATED = 100_000  # values that aliases may stand for in all, 64 octets counting as one
MAX_DIGITS = 1000  # of a whole number; Python shows none of more than 4,300, hexadecimal or not

_INT = "tag:yaml.org,2002:int"
_COMPLEX_KEY = "a key that is a list or mapping itself"  # of which ruamel may make 2**depth copies


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


class _Composer(Composer):
    """
    Makes the tree of a document, up to its limits; values are made of the tree.
    """

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self._level = 0
        self._size = 0  # of all up to here, aliases counting as what they stand for
        self._repeated = 0
        self._sizes: dict[str, int] = {}  # by anchor; none while it is not complete

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            self._repeat(event)
            node = super().compose_node(parent, index)
            if _is_key(parent, index) and not isinstance(node, ScalarNode):
                raise YamlError(event.start_mark.line + 1, _COMPLEX_KEY)
            return node
        if self._level == MAX_DEPTH:
            raise YamlError(event.start_mark.line + 1, f"nested deeper than {MAX_DEPTH}")
        if _is_key(parent, index) and not isinstance(event, ScalarEvent):
            raise YamlError(event.start_mark.line + 1, _COMPLEX_KEY)
        before = self._size
        self._sizes.pop(event.anchor, None)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if node.tag == _INT and len(node.value) > MAX_DIGITS:
            line = event.start_mark.line + 1
            raise YamlError(
                line, f"a value that cannot be read, a number of over {MAX_DIGITS} digits"
            )
        self._size += 1 + (len(node.value) // 64 if isinstance(node, ScalarNode) else 0)
        if event.anchor is not None:
            self._sizes[event.anchor] = self._size - before
        return node

    def _repeat(self, event: AliasEvent) -> None:
        """
        Count what an alias stands for.
        """
        line = event.start_mark.line + 1
        if event.anchor in self.anchors and event.anchor not in self._sizes:
            raise YamlError(line, "an alias (*) of something that it is a part of")
        size = self._sizes.get(event.anchor, 1)
        self._size += size
        self._repeated += size
        if self._repeated > MAX_REPEATED:
            raise YamlError(line, "aliases (*) repeat too much")


def _is_key(parent: Any, index: Any) -> bool:
    return isinstance(parent, MappingNode) and index is None


def _load(text: str, kind: str) -> Any:
    yaml = YAML(typ=kind, pure=True)
    yaml.Composer = _Composer
    yaml.composer.warn_double_anchors = False
    try:
        return yaml.load(text)
    except YamlError:
        raise
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
