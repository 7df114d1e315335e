"""What may reach a terminal."""

import pytest

from mlograph.terminal import printable, printable_line


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain, ümläut, 五, 16 × 5", "plain, ümläut, 五, 16 × 5"),
        ("two\nlines", "two\nlines"),
        ("a\tb", "a b"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\rb\x00", r"a\rb\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202ereversed", r"\u202ereversed"),
        ("bad \udc80 byte", r"bad \udc80 byte"),
        ("[red]markup[/red]", "[red]markup[/red]"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, safe: str):
    assert printable(text) == safe


def test_a_single_line_stays_one():
    assert printable_line("a\nb\tc\u2028d") == r"a\nb\tc\u2028d"
