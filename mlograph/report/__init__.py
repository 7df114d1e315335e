"""Pages about finished runs: one HTML file each that needs no network and no scripts."""

from __future__ import annotations

from mlograph.report.compare import compare
from mlograph.report.content import Report, dumped
from mlograph.report.page import page
from mlograph.report.reading import Run, read, runs_in

__all__ = ["Report", "Run", "compare", "dumped", "page", "read", "runs_in"]
