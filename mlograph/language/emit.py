"""Plain values → YAML text that reads back as the same values."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator

import yaml

from mlograph.language.scalars import needs_quotes, write_scalar
from mlograph.language.tree import Plain

_WIDTH = 100
_WIDEST_FLOW = 76


class _Dumper(yaml.SafeDumper):
    """Indents lists under their keys, as people do; libyaml's emitter cannot."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def emit(value: Plain) -> str:
    """The YAML text of a value: small mappings and lists on one line, the rest in blocks."""
    stream = io.StringIO()
    events = [
        yaml.StreamStartEvent(),
        yaml.DocumentStartEvent(explicit=False),
        *_events(value, block=True),
        yaml.DocumentEndEvent(explicit=False),
        yaml.StreamEndEvent(),
    ]
    yaml.emit(events, stream, Dumper=_Dumper, width=_WIDTH, allow_unicode=True)
    return stream.getvalue()


def _events(value: Plain, block: bool = False) -> Iterator[yaml.Event]:
    flow = not block and _fits_a_line(value)
    if isinstance(value, dict):
        yield yaml.MappingStartEvent(None, None, True, flow_style=flow)
        for key, item in value.items():
            yield from _scalar(key)
            yield from _events(item)
        yield yaml.MappingEndEvent()
    elif isinstance(value, list):
        yield yaml.SequenceStartEvent(None, None, True, flow_style=flow)
        for item in value:
            yield from _events(item, block=_is_edge(item))
        yield yaml.SequenceEndEvent()
    else:
        yield from _scalar(value)


def _scalar(value: Plain) -> Iterator[yaml.Event]:
    assert not isinstance(value, (dict, list))
    text = write_scalar(value)
    plain, style = True, None
    if isinstance(value, str):
        plain = not needs_quotes(value) and value != "<<"
        if not value.replace("\n", "").isprintable():
            style = '"'  # tabs, and what YAML takes for further line breaks
        elif "\n" in value.strip():
            style = "|"
    yield yaml.ScalarEvent(None, None, (plain, True), text, style=style)


def _is_edge(value: Plain) -> bool:
    return isinstance(value, dict) and len(value) == 1 and value.keys() <= {"u2l", "l2u"}


def _fits_a_line(value: Plain) -> bool:
    """Whether a collection is small, and flat but for lists and the arguments of a component."""
    if not isinstance(value, (dict, list)):
        return False
    items = list(value.values()) if isinstance(value, dict) else value
    component = isinstance(value, dict) and "_target_" in value
    flat = component or not any(isinstance(item, dict) and item for item in items)
    return flat and _width(value) <= _WIDEST_FLOW


def _width(value: Plain) -> int:
    """About how many characters a value takes on one line; no matter how many, if too many."""
    if not isinstance(value, (dict, list)):
        text = write_scalar(value)
        return _WIDEST_FLOW + 1 if "\n" in text else len(text)
    parts: Iterable[Plain] = value
    if isinstance(value, dict):
        parts = itertools.chain(value.keys(), value.values())
    total = 0
    for part in parts:
        total += _width(part) + 2
        if total > _WIDEST_FLOW:
            break
    return total
