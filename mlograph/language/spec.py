"""What a graph file says, as frozen models; nothing here imports torch or runs user code."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from mlograph.language.component import (
    BatchSource,
    Component,
    Copy,
    DataSpec,
    EnvBatch,
    Live,
    ModuleSpec,
    Recipe,
    Spec,
    error_at,
    flat_json_schema,
)
from mlograph.language.methods import ConjugateGradient, Hypergradient
from mlograph.language.methods.base import Flag

__all__ = [
    "NAME_PATTERN",
    "RESERVED_NAMES",
    "BatchSource",
    "Callbacks",
    "CheckpointSpec",
    "Component",
    "Copy",
    "DataSpec",
    "EarlyStoppingSpec",
    "EdgeSpec",
    "EngineSpec",
    "EnvBatch",
    "EnvSpec",
    "ExecutionSpec",
    "GraphSpec",
    "Hyperparameters",
    "Live",
    "ModuleSpec",
    "ProblemSpec",
    "Recipe",
    "Scalar",
    "Spec",
    "ValidateSpec",
]

PositiveInt = Annotated[int, Field(ge=1, strict=True)]
NaturalInt = Annotated[int, Field(ge=0, strict=True)]
Scalar = str | int | float | bool | None

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
RESERVED_NAMES = frozenset(
    {"batch", "env", "engine", "loss", "metrics", "problem", "self", "step", "vars"}
)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _expand_validate(value: Any) -> Any:
    """`every` belongs to the schedule, everything else to the validator."""
    if isinstance(value, dict) and "validator" not in value:
        schedule = {key: value[key] for key in ("every",) if key in value}
        rest = {key: item for key, item in value.items() if key not in schedule}
        return {"validator": rest, **schedule}
    return value if isinstance(value, (dict, ValidateSpec)) else {"validator": value}


def _expand_env(value: Any) -> Any:
    """`step_every` belongs to the schedule, everything else to the Env."""
    if isinstance(value, dict) and "_target_" in value:
        schedule = {key: value[key] for key in ("step_every",) if key in value}
        rest = {key: item for key, item in value.items() if key not in schedule}
        return {"source": rest, **schedule}
    return value if isinstance(value, EnvSpec) else {"source": value}


def _version(value: Any) -> Any:
    # True and 1.0 equal 1, but they are no versions.
    if type(value) is not int or value != 1:
        raise PydanticCustomError("version", "unknown version of the format")
    return value


Globs = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class Callbacks(Spec):
    """Functions called at moments of a problem's life, with arguments as a loss has them."""

    on_inner_loop_start: Component | None = Field(
        default=None, description="when an inner loop of the problem begins"
    )
    on_gradient: Component | None = Field(
        default=None, description="when a gradient is ready, before the update"
    )
    after_update: Component | None = Field(default=None, description="after each update")


class Hyperparameters(Spec):
    """Functions of upper problems that give an optimiser's options before each step.

    Their arguments are as a loss has them, without a batch.
    """

    lr: Component | None = Field(default=None, description="gives the learning rate")
    weight_decay: Component | None = Field(default=None, description="gives the weight decay")
    momentum: Component | None = Field(default=None, description="gives the momentum")

    @property
    def given(self) -> dict[str, Component]:
        """Those that are given, by name."""
        return {name: value for name, value in self if value is not None}


class ProblemSpec(Spec):
    """One problem: what is optimised, by what, on what, and against which loss."""

    module: ModuleSpec = Field(
        description="what is optimised: a module, or {copy: name} for another problem's anew"
    )
    loss: Annotated[tuple[Component, ...], Field(min_length=1), BeforeValidator(_as_list)] = Field(
        description="function that returns a scalar or a mapping with 'loss'; a list is a sum"
    )
    optimizer: Recipe = Field(description="torch optimiser; it is given the parameters")
    hyperparameters: Hyperparameters = Field(
        default=Hyperparameters(),
        description="the optimiser's options as functions of upper problems, which learn them",
    )
    scheduler: Recipe | None = Field(
        default=None, description="learning-rate scheduler; it is given the optimiser"
    )
    data: DataSpec | None = Field(
        default=None, description="env.NAME, a DataLoader or iterable, or a mapping of several"
    )
    unroll_steps: PositiveInt = Field(
        default=1, description="own updates for one step of each problem above"
    )
    gradient_accumulation: PositiveInt = Field(
        default=1, description="backward passes averaged into one update"
    )
    gradient_clipping: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        default=None, description="largest Euclidean norm of the gradient of an update"
    )
    unequal_unroll: Flag = Field(
        default=False, description="the inner loops below may differ in unroll_steps"
    )
    warmup_steps: NaturalInt = Field(
        default=0, description="own updates before anything above starts"
    )
    hypergradient: Hypergradient = Field(
        default_factory=ConjugateGradient,
        description="how gradients of upper problems flow through this problem's solution",
    )
    start_from: str | None = Field(
        default=None, description="upper problem whose weights every inner loop starts at"
    )
    precision: Literal["float32", "float64", "bf16", "fp16"] = Field(
        default="float32", description="type of numbers in which the problem is computed"
    )
    freeze: Globs = Field(default=(), description="globs over names of parameters that stay fixed")
    callbacks: Callbacks = Field(
        default=Callbacks(), description="functions called at moments of the problem's life"
    )


class EdgeSpec(Spec):
    """One edge: `{u2l: "upper -> lower"}` or `{l2u: "lower -> upper"}`.

    Attributes:
        kind: `u2l`: the upper's parameters stand in the lower's loss;
            `l2u`: the lower's solution stands in the upper's loss.
        source: the problem whose parameters are read.
        target: the problem whose loss reads them.
    """

    kind: Literal["u2l", "l2u"]
    source: str
    target: str

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, EdgeSpec):
            return value
        if isinstance(value, (tuple, list)) and len(value) == 3:
            return dict(zip(("kind", "source", "target"), value, strict=True))
        if not isinstance(value, dict) or len(value) != 1:
            message = "expected 'u2l: upper -> lower' or 'l2u: lower -> upper'"
            raise PydanticCustomError("edge", message)
        ((kind, text),) = value.items()
        if kind not in ("u2l", "l2u"):
            raise error_at(PydanticCustomError("edge_kind", "unknown kind of edge"), kind, kind)
        ends = [part.strip() for part in text.split("->")] if isinstance(text, str) else []
        if len(ends) != 2 or not all(ends):
            message = "expected two names with '->' between them"
            raise error_at(PydanticCustomError("edge_text", message), text, kind)
        return {"kind": kind, "source": ends[0], "target": ends[1]}

    @model_serializer
    def _text(self) -> dict[str, str]:
        return {self.kind: f"{self.source} -> {self.target}"}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        ends = {
            "type": "string",
            "pattern": r"^\s*\w+\s*->\s*\w+\s*$",
            "patternErrorMessage": "expected two names with '->' between them",
        }
        meanings = {
            "u2l": "upper -> lower: the upper's parameters stand in the lower's loss",
            "l2u": "lower -> upper: the lower's solution stands in the upper's loss",
        }
        return {
            "type": "object",
            "properties": {kind: ends | {"description": text} for kind, text in meanings.items()},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
            "title": "Edge",
        }

    def __str__(self) -> str:
        return f"{self.kind}: {self.source} -> {self.target}"


class EnvSpec(Spec):
    """The shared source of data, and when it moves on."""

    source: Recipe = Field(description="the Env")
    step_every: Literal["loop", "step"] = Field(
        default="loop", description="the Env moves on before each inner loop, or before each step"
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return flat_json_schema(handler.resolve_ref_schema(handler(schema)), "source")


class ValidateSpec(Spec):
    """A validator and how often (in updates of `engine.of`) it runs."""

    validator: Recipe = Field(description="the validator")
    every: PositiveInt | None = Field(default=None, description="default: only at the end")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return flat_json_schema(handler.resolve_ref_schema(handler(schema)), "validator")


class EarlyStoppingSpec(Spec):
    """Stop after `patience` validations in a row without an improvement of `metric`."""

    metric: str = Field(description="name of a number that validation reports")
    patience: PositiveInt = Field(default=5, description="validations without an improvement")
    mode: Literal["min", "max"] = Field(default="max", description="which way is better")
    min_delta: Annotated[float, Field(ge=0, strict=True)] = Field(
        default=0.0, description="a smaller change is no improvement"
    )


class ExecutionSpec(Spec):
    """How instructions are carried out; the numbers are the same but for rounding errors."""

    tasks: Literal["auto", "vectorized", "sequential", "processes", "both"] = Field(
        default="auto",
        description="inner loops that do not depend on one another: vectorized: at once; "
        "sequential: one by one; processes: spread over worker processes with a thread each; "
        "both: a share of them at once in each worker process; "
        "auto: as is fastest, which the first of them show; workers only in runs of minutes",
    )
    chunk: PositiveInt | None = Field(
        default=None,
        description="at most so many at once; by default 8 on a CPU, all of one update elsewhere",
    )
    workers: PositiveInt | None = Field(
        default=None, description="processes for the loops; by default one for each processor core"
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="off",
        description="gradients of losses and their products by torch.compile: on: all that can be; "
        "auto: where the rest of the run saves more time than compiling takes",
    )
    prefetch: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="batches and steps of the Env, made ready by other processes while the run "
        "computes: on: of every source that can be; auto: of those that take long, where that is "
        "faster, which the first batches show",
    )


class CheckpointSpec(Spec):
    """When the state of a run is saved, and how much of it is kept.

    It is saved at the end as well, and after the first update, which shows that it can be.
    """

    every: PositiveInt | None = Field(default=None, description="in updates of `of`")
    minutes: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        default=10.0, description="after so many minutes, wherever the run is then"
    )
    keep: PositiveInt = Field(default=2, description="how many of the last ones are kept")
    best: str | None = Field(
        default=None,
        description="a number that validation reports: the best one is kept as well; "
        "by default the metric of early_stopping",
    )
    mode: Literal["min", "max"] = Field(default="max", description="which way `best` is better")
    on_signal: Flag = Field(
        default=True, description="the first SIGTERM or Ctrl-C saves before the run ends"
    )


class EngineSpec(Spec):
    """How long, where and how the graph is run."""

    steps: PositiveInt = Field(default=1000, description="updates of `of`")
    of: str | None = Field(default=None, description="the problem whose updates are counted")
    seed: NaturalInt = Field(default=0, description="of every random number of the run")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps, …")
    threads: PositiveInt | None = Field(
        default=None, description="CPU threads of torch; by default torch decides"
    )
    validate_: Annotated[ValidateSpec, BeforeValidator(_expand_validate)] | None = Field(
        default=None, alias="validate", description="a validator, and how often it runs"
    )
    early_stopping: EarlyStoppingSpec | None = Field(
        default=None, description="when to stop before `steps`"
    )
    checkpoint: CheckpointSpec = Field(
        default=CheckpointSpec(), description="when the state of a run is saved"
    )
    log_every: PositiveInt = Field(default=10, description="in updates of `of`")
    loggers: Annotated[tuple[Component, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="where metrics go"
    )
    pictures: Annotated[tuple[Component, ...], BeforeValidator(_as_list)] = Field(
        default=(), description="what is drawn at the end, besides parameters themselves"
    )
    on_nonfinite: Literal["stop", "skip"] = Field(
        default="stop", description="what a non-finite loss or gradient does"
    )
    execution: ExecutionSpec = Field(
        default=ExecutionSpec(), description="how instructions are carried out"
    )


class GraphSpec(Spec):
    """A whole graph file, checked for its form; `graph.check` checks its meaning."""

    mlograph: Annotated[Literal[1], BeforeValidator(_version)] = Field(
        description="version of this format"
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")] = Field(
        description="letters, digits, '_', '.' and '-'; names the folder of its runs"
    )
    description: str = Field(default="", description="for people")
    vars: dict[str, Any] = Field(
        default_factory=dict, description="values that ${vars.NAME} refers to"
    )
    env: Annotated[EnvSpec, BeforeValidator(_expand_env)] | None = Field(
        default=None, description="the shared source of data: an Env and its arguments"
    )
    problems: Annotated[dict[str, ProblemSpec], Field(min_length=1)] = Field(
        description="the problems by name"
    )
    edges: tuple[EdgeSpec, ...] = Field(default=(), description="whose parameters a loss reads")
    engine: EngineSpec = Field(default=EngineSpec(), description="how the graph is run")
