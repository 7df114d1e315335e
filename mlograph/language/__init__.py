"""The language of graph files: YAML text → frozen `GraphSpec`, and back.

A file goes through `text` (bytes to characters), `document` (YAML to a tree with places),
`include`, `overrides`, `interpolation` and `validation`, in this order; `source` joins them. Where
the form is wrong, `doubts` says what of the graph that leaves open, and `mending` keeps the rest.
"""

from mlograph.language.dump import dump
from mlograph.language.schema import json_schema, schema_text
from mlograph.language.source import Loaded, Reading, Source, load, loads, read, reads
from mlograph.language.spec import GraphSpec
from mlograph.language.validation import Draft, draft, parse

__all__ = [
    "Draft",
    "GraphSpec",
    "Loaded",
    "Reading",
    "Source",
    "draft",
    "dump",
    "json_schema",
    "load",
    "loads",
    "parse",
    "read",
    "reads",
    "schema_text",
]
