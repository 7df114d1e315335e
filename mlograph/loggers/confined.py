"""Where a sink that a graph file names may write: in the folder of the run, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from mlograph.errors import Fault, GraphError
from mlograph.errors import Path as SpecPath

# What every run directory holds of its own.
_TAKEN = frozenset(
    {
        "checkpoints",
        "environment.txt",
        "git.diff",
        "graph.svg",
        "learned.json",
        "metrics.jsonl",
        "origin.json",
        "overrides.txt",
        "plan.txt",
        "profile.json",
        "report.html",
        "resolved.yaml",
        "run.json",
    }
)


def confined(name: object, folder: Path, path: SpecPath) -> Path:
    """The file `name` in `folder`.

    Args:
        name: a relative path.
        folder: of the run.
        path: where the name stands in the spec, for faults.

    Raises:
        GraphError: it is no text, leads out of the folder, or is a file that the run writes itself.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise GraphError([Fault(path, f"expected the name of a file, got {name!r}")])
    parts = name.replace("\\", "/").split("/")
    target = (folder / name).resolve()
    outside = name[0] in "/\\~" or ":" in name or ".." in parts
    if outside or not target.is_relative_to(folder.resolve()) or target == folder.resolve():
        raise GraphError(
            [
                Fault(
                    path,
                    f"{name!r} does not lie in the folder of the run",
                    "a graph file names its logs by relative paths without '..'",
                )
            ]
        )
    if parts[0].casefold() in _TAKEN:
        raise GraphError([Fault(path, f"a run writes '{parts[0]}' itself", "take another name")])
    return target
