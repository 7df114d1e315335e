"""One run, from a plan to its result."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import final

import torch

from mlograph.bind import bind
from mlograph.blame import blame
from mlograph.components import Imports, build
from mlograph.errors import Fault, GraphError, MlographError, UsageError, did_you_mean
from mlograph.errors import Path as SpecPath
from mlograph.executor import Executor
from mlograph.graph import ProblemGraph
from mlograph.language.spec import Component, EarlyStoppingSpec, EngineSpec
from mlograph.loggers import LOGGERS
from mlograph.loggers.protocol import Logger, Record
from mlograph.plan import Plan, Step, Update
from mlograph.program import Program
from mlograph.randomness import seed_everything
from mlograph.result import RunResult
from mlograph.state import saved
from mlograph.trial import Trial
from mlograph.validation import Validator
from mlograph.wording import approximations


def run(
    graph: ProblemGraph,
    plan: Plan,
    imports: Imports,
    loggers: Sequence[Logger] = (),
    checkpoint: Path | None = None,
) -> RunResult:
    """Build a graph and execute its plan.

    Args:
        graph: what to build.
        plan: its schedule.
        imports: where components may come from.
        loggers: told of everything that happens; closed at the end.
        checkpoint: a folder for the final state, if it shall be saved.

    Raises:
        GraphError: something cannot be built.
        UsageError: the user's code or data failed.
        NumericError: values that are not finite, or a hypergradient that is structurally zero.
    """
    engine = graph.spec.engine
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        if engine.threads is not None:
            torch.set_num_threads(engine.threads)
        seed_everything(engine.seed)
        program, validator, own = _built(graph, plan, imports)
        for logger in own:
            stack.callback(logger.close)
        notes = tuple(f"approximate: {text}" for text in approximations(graph, plan))
        session = _Session(program, engine, validator, (*loggers, *own), notes)
        ended = session.train()
    if checkpoint is not None:
        save(program, checkpoint / "last.pt")
    return RunResult(
        name=graph.spec.name,
        steps=session.steps,
        seconds=session.elapsed,
        ended=ended,
        records=tuple(session.records),
        modules={name: problem.model.module for name, problem in program.problems.items()},
    )


def save(program: Program, path: Path) -> None:
    """Write the state of all problems, whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    beside = path.with_suffix(".partial")
    try:
        torch.save(saved(program.problems), beside)
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{path}: the checkpoint cannot be written: {error}") from error


def _built(
    graph: ProblemGraph, plan: Plan, imports: Imports
) -> tuple[Program, Validator | None, tuple[Logger, ...]]:
    """Everything that a graph names; all that is wrong with it is raised at once."""
    engine = graph.spec.engine
    faults: list[Fault] = []
    program = validator = None
    loggers: list[Logger] = []
    try:
        program = bind(graph, plan, imports)
    except GraphError as error:
        faults.extend(error.faults)
    try:
        validator = _validator(engine, imports)
    except GraphError as error:
        faults.extend(error.faults)
    # Last, since these may open files.
    for index, component in enumerate(engine.loggers if not faults else ()):
        path: SpecPath = ("engine", "loggers")
        path = (*path, index) if len(engine.loggers) > 1 else path
        try:
            loggers.append(_logger(component, imports, path))
        except GraphError as error:
            faults.extend(error.faults)
    if program is None or faults:
        for logger in loggers:
            logger.close()
        raise GraphError(faults)
    return program, validator, tuple(loggers)


def _logger(component: Component, imports: Imports, path: SpecPath) -> Logger:
    named = LOGGERS.get(component.target) if isinstance(component.target, str) else None
    logger = build(
        component if named is None else Component.of(named, **component.args), imports, path
    )
    if not isinstance(logger, Logger):
        raise GraphError([Fault(path, f"expected a logger, got a {type(logger).__name__}")])
    return logger


def _validator(engine: EngineSpec, imports: Imports) -> Validator | None:
    spec = engine.validate_
    if engine.early_stopping is not None and (spec is None or spec.every is None):
        missing = "'validate' under engine" if spec is None else "'every' under validate"
        path = ("engine", "early_stopping")
        raise GraphError([Fault(path, f"early stopping needs {missing}")])
    if spec is None:
        return None
    validator = build(spec.validator, imports, ("engine", "validate"))
    if not isinstance(validator, Validator):
        kind = type(validator).__name__
        message = f"expected a validator such as mlograph.validation.Evaluate, got a {kind}"
        raise GraphError([Fault(("engine", "validate"), message)])
    return validator


@final
@dataclass
class _Patience:
    """Counts validations without an improvement."""

    spec: EarlyStoppingSpec
    best: float | None = None
    waited: int = 0

    def exhausted(self, values: Mapping[str, float]) -> bool:
        metric = self.spec.metric.removeprefix("validation.")
        if metric not in values:
            hint = did_you_mean(metric, values)
            raise UsageError(f"engine.early_stopping.metric: no '{metric}' in validation ({hint})")
        sign = 1.0 if self.spec.mode == "max" else -1.0
        value = sign * values[metric]
        least = -inf if self.best is None else self.best + self.spec.min_delta
        if value > least:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= self.spec.patience


@final
@dataclass
class _Session:
    """The clock, the counters and the records of one run."""

    program: Program
    engine: EngineSpec
    validator: Validator | None
    loggers: tuple[Logger, ...]
    notes: tuple[str, ...] = ()
    steps: int = 0
    records: list[Record] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.executor = Executor(self.program)
        self._patience = (
            _Patience(self.engine.early_stopping) if self.engine.early_stopping else None
        )
        self._skipped = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def train(self) -> str:
        """Execute the plan; why it ended, in words."""
        total = self.program.plan.steps
        for logger in self.loggers:
            logger.start(total)
        for note in self.notes:
            self._tell(note)
        self._baselines()
        for instruction in self.program.plan.prologue:
            self.executor.execute(instruction)
        ended = next(filter(None, map(self._after_update, self._updates())), "all steps made")
        if self.steps % self.engine.log_every:
            self._log_training()
        self._validate(final=True)
        return ended

    def _updates(self) -> Iterator[int]:
        """Run on until the counted problem has made another update, and count it."""
        plan = self.program.plan
        marks = (Update(plan.counted), Step(plan.counted))
        while True:
            for instruction in plan.period:
                self.executor.execute(instruction)
                if instruction in marks:
                    self.steps += 1
                    yield self.steps
                    if self.steps >= plan.steps:
                        return

    def _after_update(self, step: int) -> str | None:
        """Tell, log, validate; why to stop, if so."""
        for logger in self.loggers:
            logger.progress(step)
        if step % self.engine.log_every == 0:
            self._log_training()
        spec = self.engine.validate_
        if spec is None or spec.every is None or step % spec.every:
            return None
        if step == self.program.plan.steps:
            return None
        values = self._validate(final=False)
        if self._patience is not None and self._patience.exhausted(values):
            return f"no improvement for {self._patience.spec.patience} validations"
        return None

    def _baselines(self) -> None:
        if self.validator is None:
            return
        with _blaming_validator():
            found = self.validator.baselines(self._trial(final=False))
        for name, values in found.items():
            self._log(Record("baseline", 0, self.elapsed, values, text=name))

    def _validate(self, *, final: bool) -> Mapping[str, float]:
        if self.validator is None:
            return {}
        with _blaming_validator():
            values = self.validator.validate(self._trial(final=final))
        self._log(Record("validation", self.steps, self.elapsed, values))
        return values

    def _trial(self, *, final: bool) -> Trial:
        return Trial(self.program, self.executor, self.program.plan.counted, final)

    def _log_training(self) -> None:
        values: dict[str, float] = {}
        for name, meter in self.executor.meters.items():
            for key, value in meter.flush().items():
                values[f"{name}.{key}"] = value
            rate = self.program.problems[name].optimizer.param_groups[0]["lr"]
            values[f"{name}.lr"] = float(rate)
        self._log(Record("train", self.steps, self.elapsed, values))
        while self.executor.remarks:
            self._tell(self.executor.remarks.pop(0))
        skipped = sum(self.executor.skipped.values())
        if skipped > self._skipped:
            self._tell(f"{skipped - self._skipped} updates skipped: values that are not finite")
            self._skipped = skipped

    def _tell(self, text: str) -> None:
        self._log(Record("event", self.steps, self.elapsed, text=text))

    def _log(self, record: Record) -> None:
        self.records.append(record)
        for logger in self.loggers:
            logger.log(record)


@contextmanager
def _blaming_validator() -> Iterator[None]:
    try:
        yield
    except MlographError:
        raise
    except Exception as error:
        raise UsageError(f"engine.validate: {blame(error)}") from error
