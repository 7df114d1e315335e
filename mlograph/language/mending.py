"""What is left of a graph when all that is in doubt is taken out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlograph.errors import Path
from mlograph.language.doubts import Doubts
from mlograph.language.spec import EdgeSpec, GraphSpec

# Names no problem, and is never imported: a spec with stand-ins is only looked at.
_STAND_IN = "?"
_PROBLEM = dict.fromkeys(("module", "loss", "optimizer"), _STAND_IN)

NO_EDGE = EdgeSpec.model_validate(("u2l", _STAND_IN, _STAND_IN))


def mend(data: object, doubts: Doubts) -> GraphSpec | None:
    """A spec of what is beyond doubt; None where there is not even a problem.

    Problems keep their names, and edges their numbers: what cannot be relied on is left out, or
    has a stand-in where something must stand.
    """
    problems = data.get("problems") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(problems, Mapping):
        return None
    mended: dict[str, Any] = {
        "mlograph": 1,
        "name": "mended",
        "problems": {
            name: _sound(given, ("problems", name), doubts, _PROBLEM)
            for name, given in problems.items()
            if isinstance(name, str)
        },
        "edges": _sound_edges(data.get("edges"), doubts),
        "engine": _sound(data.get("engine", {}), ("engine",), doubts, {}),
    }
    if "env" in data:
        mended["env"] = _STAND_IN if doubts.touch(("env",)) else data["env"]
    return GraphSpec.model_validate(mended) if mended["problems"] else None


def _sound(given: Any, path: Path, doubts: Doubts, stand_ins: dict[str, str]) -> Any:
    if not doubts.touch(path):
        return given
    written = given if isinstance(given, dict) else {}
    return stand_ins | {
        key: value
        for key, value in written.items()
        if isinstance(key, str) and not doubts.touch((*path, key))
    }


def _sound_edges(given: object, doubts: Doubts) -> list[Any]:
    written = given if isinstance(given, list | tuple) else ()
    return [
        NO_EDGE if doubts.touch(("edges", index)) else edge for index, edge in enumerate(written)
    ]
