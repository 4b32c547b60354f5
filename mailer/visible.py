"""
Text of others, as it may be shown: on a terminal, in a log, in a header field.

Source: ECMA-48 (control functions), Unicode 3.9 (surrogates), UAX 9 (bidirectional text).
"""

import re

# C0 and C1, which move the cursor and end lines; what ends lines in Unicode;
# what turns the direction of text round; octets that were no UTF-8.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def visible(text: str) -> str:
    """
    Return a text as one line, with ``\\x1b`` and the like for what does not show itself.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def visible_lines(text: str) -> str:
    """
    Return a text likewise, its line ends left as they are.
    """
    return "\n".join(map(visible, text.split("\n")))


def one_line(address: str) -> str:
    """
    Return an address as it may stand in a header field: ``?`` for control characters.

    No address has any, RFC 5321 4.1.2; in a quoted local part some could pass
    for the end of a line all the same.
    """
    return _LINE_CONTROL.sub("?", address)
