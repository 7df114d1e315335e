"""Sinks for what is measured during a run; a new one is a file here and a line in `LOGGERS`.

Another package adds a sink by an entry point of the group `mlograph.loggers`, whose name is what
`engine.loggers` calls it: a class that is a `mlograph.loggers.protocol.Logger`. If it is a
`PlacedLogger` too, a graph file's runs each have one in their own folder; if it is a
`ContinuedLogger` or a `RecallingLogger`, resumed runs go on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from mlograph.errors import UsageError, did_you_mean
from mlograph.loggers.jsonl import Jsonl
from mlograph.loggers.mlflow import MLflow
from mlograph.loggers.protocol import Logger
from mlograph.loggers.table import Csv
from mlograph.loggers.tensorboard import TensorBoard
from mlograph.loggers.wandb import WandB

GROUP = "mlograph.loggers"

# What `engine.loggers` may call by a short name; each takes the `path` that it writes to.
LOGGERS: dict[str, Callable[..., Logger]] = {
    "jsonl": Jsonl,
    "csv": Csv,
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}


def named(name: str) -> Callable[..., Logger]:
    """The sink of a short name: one of these, or one that an installed package adds.

    Raises:
        UsageError: there is none, or it cannot be imported.
    """
    if name in LOGGERS:
        return LOGGERS[name]
    others = {point.name: point for point in entry_points(group=GROUP)}
    if name not in others:
        raise UsageError(f"no logger '{name}' ({did_you_mean(name, [*LOGGERS, *others])})")
    try:
        found: Callable[..., Logger] = others[name].load()
    except Exception as error:
        where = others[name].value
        raise UsageError(f"the logger '{name}' ({where}) cannot be imported: {error}") from error
    return found


__all__ = ["GROUP", "LOGGERS", "Csv", "Jsonl", "MLflow", "TensorBoard", "WandB", "named"]
