"""What the schema knows about a place in a graph: its keys, and what may stand there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlograph.errors import Path, did_you_mean, quoted
from mlograph.language.methods import METHODS
from mlograph.language.schema import Schema, file_schema

_TYPES = {
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


@dataclass(frozen=True)
class Keys:
    """The keys that a mapping may have.

    Attributes:
        names: those that the language gives a meaning.
        free: whether it may have others.
    """

    names: frozenset[str]
    free: bool


def keys_at(path: Path, data: object) -> Keys:
    """The keys of the mapping at `path`; `data` is the graph, which says which method is meant."""
    names: set[str] = set()
    free = False
    for schema in _schemas_at(path, data):
        if schema.get("type") == "object":
            names.update(schema.get("properties", {}))
            free = free or schema.get("additionalProperties", True) is not False
        free = free or not schema
    return Keys(frozenset(names), free)


def shorthand_at(path: Path) -> str | None:
    """The key that a bare text at `path` is short for: `_target_`, `method`, or none."""
    names = keys_at(path, None).names
    return next((name for name in ("_target_", "method") if name in names), None)


def unknown_key_hint(path: Path, data: object) -> str:
    """What an unknown key at `path` was probably meant for."""
    above, key = path[:-1], str(path[-1])
    others = [name for name, method in METHODS.items() if key in method.model_fields]
    if not others or shorthand_at(above) != "method":
        return did_you_mean(key, keys_at(above, data).names)
    block = data
    for step in above:
        block = _item(block, step)
    chosen = block.get("method") if isinstance(block, dict) else block
    return f"an option of {quoted(others)}, not of '{chosen}'"


def expected_at(path: Path, data: object) -> str:
    """What may stand at `path`, in words: `an integer ≥ 1`."""
    phrases = [phrase for schema in _schemas_at(path, data) for phrase in _phrases(schema)]
    *most, last = dict.fromkeys(phrases) or ["another value"]
    return f"{', '.join(most)} or {last}" if most else last


def _schemas_at(path: Path, data: object) -> list[Schema]:
    current = list(_alternatives(file_schema(), data))
    for step in path:
        data = _item(data, step)
        inner = [schema for outer in current for schema in _below(outer, step)]
        current = [choice for schema in inner for choice in _alternatives(schema, data)]
    return current


def _item(data: object, step: str | int) -> object:
    if isinstance(data, dict):
        return data.get(step)
    inside = isinstance(data, (list, tuple)) and isinstance(step, int) and step < len(data)
    return data[step] if inside else None  # type: ignore[index]


def _below(schema: Schema, step: str | int) -> Iterator[Schema]:
    if not schema:
        yield {}
    elif isinstance(step, int):
        if "items" in schema:
            yield schema["items"]
    elif step in schema.get("properties", {}):
        yield schema["properties"][step]
    elif schema.get("type") == "object":
        rest: Any = schema.get("additionalProperties", True)
        if rest is not False:
            yield {} if rest is True else rest


def _alternatives(schema: Schema, data: object) -> Iterator[Schema]:
    """The schemas without choices and references that `schema` stands for."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from _alternatives(file_schema()["$defs"][name], data)
        return
    choices = schema.get("anyOf", []) + schema.get("oneOf", [])
    named = schema.get("discriminator", {}).get("mapping", {})
    method = data.get("method") if isinstance(data, dict) else data
    if isinstance(method, str) and method in named:
        choices = [{"$ref": named[method]}]
    for choice in choices:
        yield from _alternatives(choice, data)
    if not choices:
        yield schema


def _phrases(schema: Schema) -> list[str]:
    if "enum" in schema or "const" in schema:
        return [f"'{choice}'" for choice in schema.get("enum", [schema.get("const")])]
    if "_target_" in schema.get("properties", {}):
        return ["a mapping with '_target_'"]
    if schema.get("type") == "string" and "import path" in schema.get("description", ""):
        return ["an import path"]
    name = _TYPES.get(schema.get("type", ""))
    return [name + _bound(schema)] if name else []


def _bound(schema: Schema) -> str:
    if "exclusiveMinimum" in schema:
        return f" > {schema['exclusiveMinimum']:g}"
    return f" ≥ {schema['minimum']:g}" if "minimum" in schema else ""
