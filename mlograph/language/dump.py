"""A spec as people would write it in a graph file."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from mlograph.errors import Fault, GraphError, Path
from mlograph.language.emit import emit
from mlograph.language.faults import limited
from mlograph.language.interpolation import escape
from mlograph.language.methods import Method
from mlograph.language.scalars import LONGEST_NUMBER
from mlograph.language.spec import (
    Component,
    EdgeSpec,
    EnvBatch,
    EnvSpec,
    GraphSpec,
    Live,
    ValidateSpec,
)
from mlograph.language.tree import Plain


def dump(spec: GraphSpec) -> str:
    """The YAML text of a graph; defaults are left out.

    Classes and functions are written as import paths, where they can be imported by one.

    Raises:
        GraphError: parts that no text can stand for, such as a module that was built in Python.
    """
    writer = _Writer()
    data = writer.fields(spec, ())
    if writer.faults:
        raise GraphError(limited(writer.faults))
    return emit(data)


class _UnwritableError(Exception):
    """A value that cannot be written, and why."""


class _Writer:
    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fields(self, model: BaseModel, path: Path) -> dict[str, Plain]:
        """The fields of a model that differ from their defaults."""
        written: dict[str, Plain] = {}
        for name, value in model:
            info = type(model).model_fields[name]
            default = info.get_default(call_default_factory=True, validated_data={})
            if value != default or type(value) is not type(default) or name == "method":
                key = info.alias or name
                written[key] = self.value(value, (*path, key), short=name != "vars")
        return written

    def value(self, value: Any, path: Path, short: bool = False) -> Plain:
        """Any value; `short` where a bare text is read as a component."""
        match value:
            case Component():
                return self._component(value, path, short)
            case BaseModel():
                return self._model(value, path)
            case tuple() if short and len(value) == 1 and path[-1] != "edges":
                return self.value(value[0], path, short)
            case dict():
                return dict(self._items(value, path, short))
            case list() | tuple():
                return [self.value(item, (*path, i), short) for i, item in enumerate(value)]
            case _:
                return self._scalar(value, path)

    def _model(self, value: BaseModel, path: Path) -> Plain:
        match value:
            case EnvSpec(source=component) | ValidateSpec(validator=component):
                return self._scheduled(value, component, path)
            case Method():
                options = self.fields(value, path)
                return options if len(options) > 1 else options["method"]
            case EnvBatch(name=name):
                return f"env.{name}"
            case EdgeSpec(kind=kind, source=source, target=target):
                return {kind: f"{source} -> {target}"}
            case Live(value=built):
                reason = f"an object of type {type(built).__name__} was built in Python"
                return self._refuse(path, reason, "give a class or a function and its arguments")
            case _:
                return self.fields(value, path)

    def _items(self, value: dict[Any, Any], path: Path, short: bool) -> Iterator[tuple[str, Plain]]:
        for key, item in value.items():
            if isinstance(key, str) and "${" not in key:
                yield key, self.value(item, (*path, key), short)
            else:
                self._refuse(path, f"the key {key!r} is not a plain text")

    def _component(self, component: Component, path: Path, short: bool) -> Plain:
        target = self._target(component.target, path)
        # `env.NAME` alone would be read as a batch of the Env.
        if short and not component.args and not target.startswith("env."):
            return target
        arguments = self._items(component.args, path, short=False)
        return {"_target_": target, **dict(arguments)}

    def _scheduled(self, model: BaseModel, component: Any, path: Path) -> Plain:
        built = self.value(component, path, short=True)
        options = self.fields(model, path)
        own = "source" if isinstance(model, EnvSpec) else "validator"
        del options[own]
        if isinstance(component, Component):
            # Such an argument would be read as an option of the schedule.
            for name in component.args.keys() & (type(model).model_fields.keys() - {own}):
                self._refuse((*path, name), "an argument of this name cannot be written")
        if not options:
            return built
        flat = built if isinstance(built, dict) else {"_target_": built}
        return {**flat, **options}

    def _scalar(self, value: Any, path: Path) -> Plain:
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            if value.bit_length() < 3 * LONGEST_NUMBER:
                return value
            return self._refuse(path, "such a large number cannot be written")
        if isinstance(value, str):
            return escape(value)
        if inspect.isroutine(value) or inspect.isclass(value):
            reason = "a class or function as an argument cannot be written"
            return self._refuse(path, reason, "wrap it in a function that takes none")
        return self._refuse(path, f"an object of type {type(value).__name__} cannot be written")

    def _target(self, target: Any, path: Path) -> str:
        if isinstance(target, str):
            return escape(target)
        try:
            return import_path(target)
        except _UnwritableError as error:
            hint = "define it at the top of a module, or give its import path as a text"
            self._refuse(path, str(error), hint)
            return ""

    def _refuse(self, path: Path, reason: str, hint: str = "") -> Plain:
        self.faults.append(Fault(path, reason, hint))
        return None


def import_path(target: Any) -> str:
    """The path that leads to a class or function when it is imported.

    Raises:
        _UnwritableError: no path leads to it.
    """
    if not (inspect.isclass(target) or inspect.isroutine(target)):
        raise _UnwritableError(f"an object of type {type(target).__name__} has no import path")
    name, module = target.__qualname__, target.__module__
    if module == "__main__":
        raise _UnwritableError(
            f"'{name}' was defined in the script itself, which nothing can import"
        )
    namespace = vars(sys.modules[module]) if module in sys.modules else {}
    if namespace.get(name) is not target:
        raise _UnwritableError(f"'{name}' is not at the top of a module")
    return f"{module}.{name}"
