"""Multilevel optimisation, declared as a graph of problems."""

from mlograph.api import Graph, load, load_run
from mlograph.campaign.sweep import SweepResult, sweep
from mlograph.errors import Fault, GraphError, MlographError, UsageError

__version__ = "0.1.0"

__all__ = [
    "Fault",
    "Graph",
    "GraphError",
    "MlographError",
    "SweepResult",
    "UsageError",
    "__version__",
    "load",
    "load_run",
    "sweep",
]
