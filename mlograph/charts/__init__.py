"""Curves and pictures as SVG, for pages and notebooks: no network and no scripts."""

from __future__ import annotations

from importlib.resources import files

from mlograph.charts.chart import DISTINCT, Curve, chart, key, overlay
from mlograph.charts.drawing import draw
from mlograph.charts.series import Series, gather

__all__ = ["DISTINCT", "Curve", "Series", "chart", "draw", "gather", "key", "overlay", "style"]


def style() -> str:
    """The CSS that the drawings need, once on a page; everything drawn lies in `.mlograph`."""
    return files("mlograph.charts").joinpath("style.css").read_text("utf-8")
