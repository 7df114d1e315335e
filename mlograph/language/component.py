"""What is built from an import path, and what may stand in its place."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError

_NO_PATH = PydanticCustomError("import_path", "expected an import path")


class Spec(BaseModel):
    """Base of all models of the language: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Component(Spec):
    """Something built from an import path: `{_target_: path, argument: value, …}`.

    Attributes:
        target: import path, short name, or (from Python) the class or function itself.
        args: keyword arguments; a nested mapping with `_target_` is a `Component` of its own.
    """

    target: Any = Field(alias="_target_")
    args: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, target: object, **args: object) -> Component:
        """A component written in Python: `Component.of(torch.optim.SGD, lr=0.1)`."""
        return cls.model_validate({"_target_": target, **args})

    @model_validator(mode="before")
    @classmethod
    def _gather_arguments(cls, value: Any) -> Any:
        if isinstance(value, Component):
            return value  # older versions of pydantic ask about these too
        rest: dict[str, Any] = {}
        if isinstance(value, dict):
            if "_target_" not in value:
                raise error_at("missing", value, "_target_")
            target, rest = value["_target_"], {k: v for k, v in value.items() if k != "_target_"}
        else:
            target = value
        if not ((isinstance(target, str) and target) or callable(target)):
            where = ("_target_",) if isinstance(value, dict) else ()
            raise error_at(_NO_PATH, target, *where)
        return {"_target_": target, "args": _each(rest, _nested)}

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"_target_": self.target, **self.args}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        path = {"type": "string", "description": "import path or short name"}
        mapping = {
            "type": "object",
            "properties": {"_target_": path},
            "required": ["_target_"],
            "additionalProperties": True,
        }
        return {"anyOf": [path, mapping], "title": "Component"}


class Live(Spec):
    """An object that was built in Python and is used as it is: a module, a DataLoader and so on."""

    value: Any

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"not": {}}


class Copy(Spec):
    """A module of the same architecture as another problem's, initialised anew."""

    copy_of: str = Field(alias="copy", description="name of the problem whose module is copied")


class EnvBatch(Spec):
    """One of the named batches of the shared Env: `env.NAME`."""

    name: str

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^env\.\w+$", "description": "batch of the Env"}

    @model_serializer
    def _text(self) -> str:
        return f"env.{self.name}"


def _is_recipe(value: object) -> bool:
    """Whether `value` makes something when called, as opposed to being it already."""
    return (
        isinstance(value, (str, type, functools.partial, Component))
        or inspect.isroutine(value)
        or (isinstance(value, dict) and "_target_" in value)
    )


def error_at(kind: str | PydanticCustomError, value: object, *where: str | int) -> ValidationError:
    """The error of a validator, at keys below the value that it validates."""
    details = InitErrorDetails(type=kind, loc=where, input=value)
    return ValidationError.from_exception_data("graph", [details])


def _each(values: dict[Any, Any], build: Callable[[Any], Any]) -> dict[Any, Any]:
    """All values built; the errors of all of them, each with its key before its place."""
    built: dict[Any, Any] = {}
    errors: list[InitErrorDetails] = []
    for key, value in values.items():
        try:
            built[key] = build(value)
        except ValidationError as error:
            errors += [_below(key, line) for line in error.errors()]
    if errors:
        raise ValidationError.from_exception_data("graph", errors)
    return built


def _below(key: str | int, line: ErrorDetails) -> InitErrorDetails:
    # Types of pydantic's own need their context, which a custom error of the same name does not.
    kind = PydanticCustomError(line["type"], "{text}", {"text": line["msg"], **line.get("ctx", {})})
    return InitErrorDetails(type=kind, loc=(key, *line["loc"]), input=line["input"])


def _nested(value: Any) -> Any:
    """An argument: mappings with `_target_` are components; tuples become lists, as in YAML."""
    if isinstance(value, dict):
        return Component.model_validate(value) if "_target_" in value else _each(value, _nested)
    if type(value) in (list, tuple):
        return list(_each(dict(enumerate(value)), _nested).values())
    return value


def _recipe_or_live(value: Any) -> Any:
    if isinstance(value, (Component, Live)):
        return value
    if _is_recipe(value):
        return Component.model_validate(value)
    if isinstance(value, dict):
        raise error_at("missing", value, "_target_")
    if value is None or isinstance(value, (list, int, float)):
        raise error_at(_NO_PATH, value)
    return Live(value=value)


def _module(value: Any) -> Any:
    if isinstance(value, dict) and "copy" in value and "_target_" not in value:
        return Copy.model_validate(value)
    return value if isinstance(value, Copy) else _recipe_or_live(value)


def _batch_source(value: Any) -> Any:
    if isinstance(value, EnvBatch):
        return value
    if isinstance(value, str) and value.startswith("env."):
        return EnvBatch(name=value.removeprefix("env."))
    return _recipe_or_live(value)


def _data(value: Any) -> Any:
    if isinstance(value, dict) and "_target_" not in value:
        return _each(value, _batch_source)
    return _batch_source(value)


def flat_json_schema(schema: JsonSchemaValue, component: str) -> JsonSchemaValue:
    """The schema of a component with options beside its arguments, as people write it."""
    options = {key: item for key, item in schema["properties"].items() if key != component}
    path = {"type": "string", "description": "import path or short name"}
    flat = {
        "type": "object",
        "properties": {"_target_": path, **options},
        "required": ["_target_"],
        "additionalProperties": True,
    }
    return {"anyOf": [path, flat], "title": "Component", "description": schema["description"]}


ModuleSpec = Annotated[Component | Live | Copy, BeforeValidator(_module)]
Recipe = Annotated[Component | Live, BeforeValidator(_recipe_or_live)]
BatchSource = Component | Live | EnvBatch
DataSpec = Annotated[BatchSource | dict[str, BatchSource], BeforeValidator(_data)]
