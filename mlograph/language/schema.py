"""The JSON schema of graph files, for editors, for overrides, and for what errors expect."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from typing import Any

from mlograph.language.methods import METHODS
from mlograph.language.offers import with_offers
from mlograph.language.spec import NAME_PATTERN, RESERVED_NAMES, GraphSpec

Schema = dict[str, Any]

_ONE_OR_MORE = (
    ("ProblemSpec", "loss"),
    ("ProblemSpec", "freeze"),
    ("EngineSpec", "loggers"),
    ("EngineSpec", "pictures"),
)
_REFERENCE: Schema = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "reference: ${a.b} to a value of this file, ${env:NAME} to the environment",
}
TITLE = "mlograph graph file"

_NO_TEXT = ("integer", "number", "boolean")


@functools.cache
def file_schema() -> Schema:
    """What may stand where in a graph file without references and includes; not to be changed."""
    schema: Schema = _walk(GraphSpec.model_json_schema(by_alias=True), _tidy)
    definitions = schema["$defs"]
    definitions.pop("Live", None)
    for model, name in _ONE_OR_MORE:
        field = definitions[model]["properties"][name]
        several = {key: field.pop(key) for key in ("type", "items", "minItems") if key in field}
        field["anyOf"] = [several["items"], several]
    for name, method in METHODS.items():
        definitions[method.__name__]["title"] = name
        definitions[method.__name__].setdefault("required", []).append("method")
        definitions[method.__name__]["properties"]["method"]["description"] = method.summary
    field = definitions["ProblemSpec"]["properties"]["hypergradient"]
    by_name = {
        "type": "string",
        "enum": list(METHODS),
        "enumDescriptions": [method.summary for method in METHODS.values()],
        "description": "a method with its defaults",
    }
    options = {key: field.pop(key) for key in ("oneOf", "discriminator")}
    field |= {"anyOf": [by_name, options], "default": "cg"}
    schema["properties"]["problems"]["propertyNames"] = {
        "pattern": NAME_PATTERN,
        "not": {"enum": sorted(RESERVED_NAMES)},
    }
    return schema


def json_schema() -> Schema:
    """The JSON schema (draft 2020-12) that editors check graph files with.

    Every value that is not a text may also be a `${reference}`. A file with `include` may leave
    out any key, since the included files may have it.
    """
    whole = _walk(file_schema(), _allow_reference)
    definitions = with_offers(whole.pop("$defs"))
    partial = _walk(whole, _loosen)
    loose = {f"{name}InPart": _walk(item, _loosen) for name, item in definitions.items()}
    for model in ("GraphInPart", "Graph"):
        graph = partial if model == "GraphInPart" else whole
        graph["properties"] = {"include": _include(), **graph["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "description": "A graph of optimisation problems.",
        "if": {"type": "object", "required": ["include"]},
        "then": {"$ref": "#/$defs/GraphInPart"},
        "else": {"$ref": "#/$defs/Graph"},
        "$defs": {
            "Graph": whole,
            **definitions,
            "GraphInPart": partial,
            **loose,
            "Reference": _REFERENCE,
        },
    }


def schema_text() -> str:
    """The JSON schema as the text of `graph.schema.json`, which lies beside this module."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _include() -> Schema:
    file = {"type": "string", "description": "a file, relative to this one"}
    return {
        "anyOf": [file, {"type": "array", "items": file}],
        "description": "files that this one is laid over, key by key",
    }


def _walk(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """A changed copy of a schema; inner schemas are changed first, data in it is left alone."""
    if isinstance(schema, list):
        return [_walk(item, change) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: Schema = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            result[key] = {name: _walk(item, change) for name, item in value.items()}
        elif key in ("anyOf", "oneOf", "items", "additionalProperties"):
            result[key] = _walk(value, change)
        else:
            result[key] = copy.deepcopy(value)
    return change(result)


def _tidy(schema: Schema) -> Schema:
    # Titles that only repeat a key, and the rest of docstrings, are noise in an editor.
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
    if "title" in schema:
        schema["title"] = schema["title"].removesuffix("Spec")
    # The defaults of its fields say the same as a mapping's; an editor would write out the others.
    if isinstance(schema.get("default"), dict) or schema.get("default", 0) in (None, [], ""):
        del schema["default"]
    if "description" in schema:
        schema["description"] = schema["description"].split("\n\n")[0].replace("\n", " ")
    if "anyOf" in schema:
        schema["anyOf"] = [item for item in schema["anyOf"] if item != {"$ref": "#/$defs/Live"}]
        if len(schema["anyOf"]) == 1:
            schema |= schema.pop("anyOf")[0]
    return schema


def _allow_reference(schema: Schema) -> Schema:
    typed = schema.get("type") in _NO_TEXT or "pattern" in schema or "const" in schema
    if schema is _REFERENCE or not (typed or "enum" in schema):
        return schema
    # A method's name tells the alternatives apart, so it stays a name.
    if schema.get("const") in METHODS and schema.get("type") == "string":
        return schema
    about: Schema = {
        key: schema.pop(key) for key in ("title", "description", "default") if key in schema
    }
    return {"anyOf": [schema, {"$ref": "#/$defs/Reference"}], **about}


def _loosen(schema: Schema) -> Schema:
    schema.pop("required", None)
    schema.pop("discriminator", None)
    if "oneOf" in schema:
        schema["anyOf"] = schema.pop("oneOf")
    if schema.get("$ref", "").startswith("#/$defs/") and schema["$ref"] != "#/$defs/Reference":
        schema["$ref"] += "InPart"
    return schema
