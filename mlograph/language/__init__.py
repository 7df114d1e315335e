"""The language of graph files: YAML text → frozen `GraphSpec`, and back.

A file goes through `text` (bytes to characters), `document` (YAML to a tree with places),
`include`, `overrides`, `interpolation` and `validation`, in this order; `source` joins them.
"""

from mlograph.language.dump import dump
from mlograph.language.schema import json_schema, schema_text
from mlograph.language.source import Loaded, Source, load, loads
from mlograph.language.spec import GraphSpec
from mlograph.language.validation import parse

__all__ = [
    "GraphSpec",
    "Loaded",
    "Source",
    "dump",
    "json_schema",
    "load",
    "loads",
    "parse",
    "schema_text",
]
