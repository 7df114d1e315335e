"""Colours and line styles: Okabe and Ito's colour-blind safe set, each kind with its own dash."""

from __future__ import annotations

from dataclasses import dataclass

from mlograph.diagrams.drawing import EdgeKind, NodeKind


@dataclass(frozen=True)
class Line:
    """How a kind of edge is drawn.

    Attributes:
        colour: of the line, its head and its label.
        width: in points.
        dash: name of the dash, as Graphviz has it.
        dashes: the same, as SVG has it; empty for a solid line.
        head: shape of the arrow's head, as Graphviz has it.
        glyph: a character that looks like the head.
    """

    colour: str
    width: float
    dash: str
    dashes: str
    head: str
    glyph: str


@dataclass(frozen=True)
class Face:
    """How a kind of node is filled and bordered."""

    fill: str
    border: str
    width: float


INK = "#1f2933"
SOFT = "#5b6773"
PAPER = "#ffffff"

LINES: dict[EdgeKind, Line] = {
    "u2l": Line("#0072b2", 1.6, "solid", "", "normal", "►"),
    "l2u": Line("#c44e00", 1.6, "dashed", "7,4", "vee", ">"),
    "data": Line("#7a828a", 1.2, "dotted", "1.5,4", "dot", "•"),
}

FACES: dict[NodeKind, Face] = {
    "top": Face("#e3f0fa", "#0072b2", 2.0),
    "middle": Face("#f4f5f7", "#8a939c", 1.2),
    "leaf": Face("#e2f4ee", "#009e73", 1.2),
    "env": Face("#fdf6dc", "#b58900", 1.2),
}

# The same colours on a dark page. A drawing uses no colour that is not among these.
DARK: dict[str, str] = {
    INK: "#e8ecf0",
    SOFT: "#a4b0bb",
    PAPER: "#161b22",
    "#0072b2": "#56b4e9",
    "#c44e00": "#ff9a56",
    "#7a828a": "#9aa4ae",
    "#8a939c": "#6b7681",
    "#009e73": "#2fc79b",
    "#b58900": "#e0b93a",
    "#e3f0fa": "#12293c",
    "#f4f5f7": "#222a33",
    "#e2f4ee": "#10312a",
    "#fdf6dc": "#332c12",
}
