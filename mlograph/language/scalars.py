"""YAML 1.2 core scalars: which plain texts are numbers, truth values or null, and the way back."""

from __future__ import annotations

import math
import re

from mlograph.language.tree import Value

LONGEST_NUMBER = 100

_CONSTANTS: dict[str, Value] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INTEGERS = (
    (re.compile(r"[-+]?[0-9]+"), 10),
    (re.compile(r"0o[0-7]+"), 8),
    (re.compile(r"0x[0-9a-fA-F]+"), 16),
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# Texts here, but truth values to a reader of YAML 1.1: quoted when they are written.
_AMBIGUOUS = frozenset({"y", "n", "yes", "no", "on", "off"})


def read_plain(text: str) -> Value:
    """The value of an unquoted scalar.

    Raises:
        ValueError: a number that is too long or too large to be meant.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(text):
            _refuse_long(text)
            return int(text, base)
    if not _FLOAT.fullmatch(text):
        return text
    _refuse_long(text)
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is larger than any floating-point number")
    return number


def _refuse_long(text: str) -> None:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} characters is too long")


def write_scalar(value: Value) -> str:
    """The text that stands for a value; a text stands for itself, quoted or not."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            # YAML writes inf and nan with a dot; -inf as -.inf.
            text = float.__repr__(value)
            return text if math.isfinite(value) else f"{text[:-3]}.{text[-3:]}"
        case int():
            return int.__repr__(value)
        case str():
            return str.__str__(value)


def needs_quotes(text: str) -> bool:
    """Whether an unquoted `text` would be read as something other than this text."""
    if text.lower() in _AMBIGUOUS:
        return True
    try:
        return not isinstance(read_plain(text), str)
    except ValueError:
        return True
