"""Which line of the user's code an exception came from."""

from __future__ import annotations

import importlib.util
import sysconfig
import traceback
from pathlib import Path


def _folder(package: str) -> tuple[Path, ...]:
    """Where a package lies, which is not imported for that."""
    found = importlib.util.find_spec(package)
    return () if found is None or found.origin is None else (Path(found.origin).parent,)


_ENGINE = (Path(__file__).parent, *_folder("torch"))
_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))


def blame(error: BaseException) -> str:
    """`ValueError: too many values (losses.py:12)`: the error and the user's innermost line."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    # Frames without a line are not the user's to read: frozen modules, compiled strings.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)[::-1] if frame.line]
    for libraries in (_ENGINE + _INSTALLED, _ENGINE):
        for frame in frames:
            file = Path(frame.filename)
            if not any(file.is_relative_to(library) for library in libraries):
                return f"{text} ({file.name}:{frame.lineno})"
    return text
