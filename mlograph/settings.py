"""What a graph file says, entry by entry, for people who compare runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import yaml

_MOST = 5000


def flattened(text: str) -> dict[str, str]:
    """The entries of a graph file by dotted name, as text: `engine.seed`, `edges[0].u2l`.

    Raises:
        ValueError: the text is no YAML.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("is no YAML") from error
    # Bounded, since a few lines of YAML can stand for billions of entries.
    return dict(islice(_flat(found, ""), _MOST)) if isinstance(found, dict) else {}


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{index}]")
    else:
        yield name, str(value)
