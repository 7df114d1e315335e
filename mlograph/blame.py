"""Which line of the user's code an exception came from."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

_LIBRARIES = (Path(__file__).parent, Path(torch.__file__).parent)


def blame(error: BaseException) -> str:
    """`ValueError: too many values (losses.py:12)`: the error and the user's innermost line."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        file = Path(frame.filename)
        if file.exists() and not any(file.is_relative_to(library) for library in _LIBRARIES):
            return f"{text} ({file.name}:{frame.lineno})"
    return text
