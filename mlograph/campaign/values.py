"""The values of one axis of a sweep, as they are written: `1,5,10`, `0..4`, `1e-4..1e-1:log`."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Shape = Literal["uniform", "log"]

MOST_VALUES = 10_000

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(
    rf"\s*(?P<low>{_NUMBER}?)\.\.(?P<high>{_NUMBER})(?:\.\.(?P<step>{_NUMBER}))?"
    r"(?::(?P<shape>[^:]*)(?::(?P<count>.*))?)?\s*"
)
# What begins like a range is one, so that a slip in it is not taken for a text.
_MEANT = re.compile(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\.\.")
_WHOLE = re.compile(r"[-+]?\d+")
_BRACKETS = {"[": "]", "{": "}", "(": ")"}


class BadValuesError(Exception):
    """Values that mean nothing.

    Attributes:
        message: what is wrong.
        hint: what to write instead.
        index: where, in the text.
    """

    def __init__(self, message: str, hint: str, index: int) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.index = index


@dataclass(frozen=True)
class Choice:
    """One value.

    Attributes:
        text: as an override has it.
        index: where it is written.
        verbatim: it stands there as it is, not as a part of a range.
    """

    text: str
    index: int = 0
    verbatim: bool = True


@dataclass(frozen=True)
class Span:
    """Numbers between two others, both included.

    Attributes:
        low: the least.
        high: the largest.
        whole: only whole numbers, since both ends are written as such.
        shape: `log`: equally likely in every order of magnitude; `uniform`: everywhere.
        step: between two of them; None where any will do.
    """

    low: float
    high: float
    whole: bool
    shape: Shape = "uniform"
    step: int | None = None

    def draw(self, source: random.Random) -> str:
        """One of them; of six significant digits where it is not whole."""
        return self.text(self.at(source.random()))

    def at(self, part: float) -> float:
        """The number so far along the way from the least to the largest, 0 ≤ part ≤ 1.

        Whole numbers have the same share of the way each.
        """
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        if self.shape == "log":
            return math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
        return low + part * (high - low)

    def text(self, number: float) -> str:
        """A number as it is written: whole, or of six significant digits; never outside."""
        near = round(number) if self.whole else float(f"{number:.6g}")
        near = min(max(near, self.low), self.high)
        return str(int(near)) if self.whole else repr(float(near))


@dataclass(frozen=True)
class Values:
    """What one axis goes through.

    Attributes:
        choices: the values; empty where they are drawn.
        span: what they are drawn from, or the range of whole numbers that the choices are.
    """

    choices: tuple[Choice, ...]
    span: Span | None = None


def read_values(text: str, start: int) -> Values:
    """What stands behind the `=` of an axis, which is at `start - 1` of the text.

    `V1,V2,…` lists values, each as in YAML; commas inside brackets and quotes do not count.
    `a..b` is every whole number from a to b, `a..b..step` every step-th number. `a..b:uniform`
    and `a..b:log` are numbers to draw, whole where both ends are; `a..b:log:n` is n of them at
    equal distances.

    Raises:
        BadValuesError: they mean nothing.
    """
    parts = list(_split(text, start))
    choices: list[Choice] = []
    span: Span | None = None
    for index in parts:
        part = text[index[0] : index[1]]
        if len(parts) > 1 and not part.strip():
            raise BadValuesError("a value is missing here", "write null for nothing", index[0])
        found = _read(part, index[0])
        if not found.choices and len(parts) > 1:
            message = f"'{part.strip()}' is drawn from, so it cannot be one of several"
            raise BadValuesError(message, f"write {part.strip()}:4 for four of them", index[0])
        choices += found.choices
        span = found.span if len(parts) == 1 else None
    _refuse_repeated(choices)
    return Values(tuple(choices), span)


def _split(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Where the parts between commas begin and end."""
    closing: list[str] = []
    quote = ""
    begin, before = start, ","
    for index in range(start, len(text)):
        char = text[index]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and before in ",[{:":
            quote = char
        elif char in _BRACKETS:
            closing.append(_BRACKETS[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char == "," and not closing:
            yield begin, index
            begin = index + 1
        before = char if not char.isspace() else before
    yield begin, len(text)


def _read(part: str, index: int) -> Values:
    blank = len(part) - len(part.lstrip())
    match = _RANGE.fullmatch(part)
    if match is None or not match["low"]:
        if _MEANT.match(part):
            hint = "write a..b, a..b..step, a..b:log or a..b:uniform; in quotes it is a text"
            raise BadValuesError(f"'{part.strip()}' is no range", hint, index + blank)
        return Values((Choice(part, index),))
    if match["shape"] is None:
        return _range(match, part.strip(), index + blank)
    return _distribution(match, part.strip(), index + blank)


def _range(match: re.Match[str], part: str, index: int) -> Values:
    low, high = Decimal(match["low"]), Decimal(match["high"])
    whole = all(_WHOLE.fullmatch(match[name] or "1") for name in ("low", "high", "step"))
    if match["step"] is None and not whole:
        hint = f"write a step, as in {part}..0.1, or draw from {part}:uniform"
        raise BadValuesError(f"'{part}' has no step, and its ends are not whole", hint, index)
    step = Decimal(match["step"] or 1)
    if step == 0 or (high - low) * step < 0:
        hint = f"write {match['high']}..{match['low']}" if match["step"] is None else ""
        raise BadValuesError(f"'{part}' is empty: steps of {step} do not lead there", hint, index)
    count = int((high - low) / step) + 1
    if count > MOST_VALUES:
        raise BadValuesError(f"'{part}' is {count:,} values, at most {MOST_VALUES:,}", "", index)
    numbers = (low + step * k for k in range(count))
    texts = (str(int(number)) if whole else repr(float(number)) for number in numbers)
    last = low + step * (count - 1)
    span = Span(float(low), float(last), True, step=int(step)) if whole and step > 0 else None
    return Values(tuple(Choice(text, index, verbatim=False) for text in texts), span)


def _distribution(match: re.Match[str], part: str, index: int) -> Values:
    low, high, shape = float(match["low"]), float(match["high"]), match["shape"]
    if shape not in ("uniform", "log"):
        at = index + match.start("shape") - match.start("low")
        raise BadValuesError(f"no distribution '{shape}'", "known: log, uniform", at)
    if match["step"] is not None:
        raise BadValuesError("numbers are drawn without a step", "leave it out", index)
    if low >= high:
        raise BadValuesError(f"'{part}' is empty: {low:g} is not below {high:g}", "", index)
    if shape == "log" and low <= 0:
        raise BadValuesError("a logarithm needs numbers above 0", f"{low:g} is not", index)
    whole = all(_WHOLE.fullmatch(match[name]) for name in ("low", "high"))
    span = Span(low, high, whole, "log" if shape == "log" else "uniform")
    if match["count"] is None:
        return Values((), span)
    return Values(tuple(_spread(span, match["count"], index, part)))


def _spread(span: Span, count: str, index: int, part: str) -> Iterator[Choice]:
    """So many numbers at equal distances, of their logarithms where it is `log`."""
    if not count.isdecimal() or not 2 <= int(count) <= MOST_VALUES:
        hint = f"write a whole number from 2 to {MOST_VALUES:,}"
        raise BadValuesError(f"'{count}' is no number of values", hint, index + len(part))
    inner = Span(span.low, span.high, False, span.shape)
    last = int(count) - 1
    texts = [span.text(inner.at(k / last)) for k in range(last + 1)]
    # Few whole numbers lie close together: each is meant once.
    for text in dict.fromkeys(texts):
        yield Choice(text, index, verbatim=False)


def _refuse_repeated(choices: list[Choice]) -> None:
    seen: set[str] = set()
    for choice in choices:
        text = choice.text.strip()
        if text in seen:
            raise BadValuesError(f"{text} is there twice", "", choice.index)
        seen.add(text)
