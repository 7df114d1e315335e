"""The page about a finished run: one HTML file that needs no network and no scripts."""

from __future__ import annotations

from mlograph.report.page import Report, page

__all__ = ["Report", "page"]
