"""Which of the user's lines an error is told with."""

from __future__ import annotations

import json
import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlograph.blame import blame


def blamed(call: Callable[[], Any]) -> str:
    """What is said of the error that a call raises."""
    with pytest.raises(Exception) as caught:
        call()
    return blame(caught.value)


def from_file(folder: Path, text: str) -> Callable[[], Any]:
    """The function `f` of a file `mine.py`."""
    file = folder / "mine.py"
    file.write_text(text)
    space: dict[str, Any] = {}
    exec(compile(text, str(file), "exec"), space)
    found: Callable[[], Any] = space["f"]
    return found


def test_the_error_and_its_line_are_told(tmp_path: Path):
    function = from_file(tmp_path, "def f():\n    x = 1\n    raise ValueError('too many')\n")
    assert blamed(function) == "ValueError: too many (mine.py:3)"


def test_an_error_without_a_message_is_told_by_its_kind(tmp_path: Path):
    assert blamed(from_file(tmp_path, "def f(): raise KeyError\n")) == "KeyError (mine.py:1)"


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param("torch.ones(2) @ torch.ones(3)", id="torch"),
        pytest.param("torch.nn.Linear(2, 1)(torch.ones(3))", id="torch module"),
        pytest.param("losses.mse(lambda x: x, 3)", id="mlograph"),
        pytest.param("json.loads('{')", id="standard library"),
        pytest.param("np.linalg.inv(np.zeros((2, 2)))", id="numpy"),
    ],
)
def test_the_users_line_is_told_and_not_the_librarys(inside: str, tmp_path: Path):
    imports = "import json, torch, numpy as np\nfrom mlograph import losses\n"
    function = from_file(tmp_path, f"{imports}def f():\n    return {inside}\n")
    assert blamed(function).endswith("(mine.py:4)")


def test_a_cell_of_a_notebook_counts_as_a_file():
    name = "/tmp/ipykernel_1/123.py"
    text = "def f():\n    return 1 / 0\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {}
    exec(compile(text, name, "exec"), space)
    assert blamed(space["f"]) == "ZeroDivisionError: division by zero (123.py:2)"


def test_without_a_line_of_the_users_the_error_stands_alone():
    assert blame(ValueError("nowhere")) == "ValueError: nowhere"
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    caught.value.__traceback__ = caught.value.__traceback__.tb_next
    assert "decoder.py:" in blame(caught.value)
