"""`mlograph gradcheck`: are the hypergradients of a graph right, and which method is worth what?"""

from __future__ import annotations

from mlograph.gradcheck.check import check
from mlograph.gradcheck.clock import silent
from mlograph.gradcheck.progress import Progress
from mlograph.gradcheck.report import AS_RUN, SOLVED, Report, Settings, UpperReport
from mlograph.gradcheck.table import show
from mlograph.gradcheck.text import as_json, as_text

__all__ = [
    "AS_RUN",
    "SOLVED",
    "Progress",
    "Report",
    "Settings",
    "UpperReport",
    "as_json",
    "as_text",
    "check",
    "show",
    "silent",
]
