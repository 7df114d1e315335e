import math

import pytest
from language_cases import changed, complaints, variables

NUMBERS = {
    "1": 1, "+1": 1, "-1": -1, "007": 7, "0o17": 15, "0x1F": 31,
    "1.5": 1.5, "1.": 1.0, ".5": 0.5, "-.5": -0.5, "1e3": 1000.0, "1e-3": 0.001, "1E+3": 1000.0,
    "-.inf": -math.inf, ".INF": math.inf, "+.inf": math.inf,
}  # fmt: skip
WORDS = {
    "true": True, "True": True, "FALSE": False, "null": None, "~": None, "Null": None, "": None,
}  # fmt: skip
TEXTS = [
    "on", "off", "yes", "No", "y", "12:30:45", "190:20", "2026-01-31", "1_000", "0b11", "0o8",
    "0x", "1e", "e1", ".", "+", "-x", "inf", "nan", "nUll", "tRue", "1.2.3", "=", "a b", "١",
]  # fmt: skip


@pytest.mark.parametrize("text", [*NUMBERS, *WORDS])
def test_plain_scalars_are_those_of_yaml_1_2(text: str):
    expected = (NUMBERS | WORDS)[text]
    value = variables(f"a: {text}")["a"]
    assert value == expected
    assert type(value) is type(expected)


def test_not_a_number():
    value = variables("a: .nan")["a"]
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("text", TEXTS)
def test_everything_else_is_text(text: str):
    assert variables(f"a: {text}") == {"a": text}


@pytest.mark.parametrize("quoted", ["'1'", '"1"', "'null'", "'true'", "'1e-3'"])
def test_quoted_scalars_are_text(quoted: str):
    assert variables(f"a: {quoted}") == {"a": quoted[1:-1]}


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("9" * 1_000_000, "a number of 1000000 characters is too long"),
        ("0x" + "f" * 200, "a number of 202 characters is too long"),
        ("1e999", "1e999 is larger than any floating-point number"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(number: str, message: str):
    text = changed("rate: 0.1", f"rate: {number}")
    assert complaints(text) == [f"g.yaml:3:14: vars.rate: {message}"]
