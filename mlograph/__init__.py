"""Multilevel optimisation, declared as a graph of problems."""

from mlograph.api import Graph, load
from mlograph.errors import Fault, GraphError, MlographError, UsageError

__version__ = "0.1.0"

__all__ = ["Fault", "Graph", "GraphError", "MlographError", "UsageError", "__version__", "load"]
