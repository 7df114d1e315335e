"""Sinks for what is measured during a run; a new one is a file here and a line in `LOGGERS`."""

from __future__ import annotations

from mlograph.loggers.jsonl import Jsonl
from mlograph.loggers.table import Csv

# What `engine.loggers` may call by a short name; each takes the `path` of the file it writes.
LOGGERS: dict[str, type[Jsonl] | type[Csv]] = {
    "jsonl": Jsonl,
    "csv": Csv,
}

__all__ = ["LOGGERS", "Csv", "Jsonl"]
