"""The course of a run: instructions one after another, and what is measured, told and saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch

from mlograph.blame import blame
from mlograph.checkpoints import facts
from mlograph.errors import Interruption, MlographError, UsageError
from mlograph.executor import Executor
from mlograph.keeping import Keeper, Moment
from mlograph.language.spec import EngineSpec
from mlograph.loggers.protocol import ContinuedLogger, Logger, RecallingLogger, Record
from mlograph.patience import Patience, best_of
from mlograph.plan import Executed, Step, Update
from mlograph.prefetch import Prefetching
from mlograph.profiling import Aside, Observer, aside
from mlograph.program import Program
from mlograph.readings import Stateful
from mlograph.snapshot import Snapshot, put_back, putting_back, take
from mlograph.trial import Trial
from mlograph.validation import Validator


@final
@dataclass
class Training:
    """The clock, the counters and the records of one run.

    Attributes:
        program: what is executed.
        engine: how.
        validator: measures it from time to time.
        loggers: are told of everything.
        notes: what they are told first.
        keeper: saves it, where it shall be saved.
        observer: is there whenever something is done.
        prefetching: what is read ahead.
        hide: takes what came from the environment out of a text that is told.
        executed: instructions since the beginning: the position in the plan.
        steps: updates of the counted problem.
        records: everything that was told.
        started: when the run began, on the clock of this process.
        ended: why it ended, in words; None before.
    """

    program: Program
    engine: EngineSpec
    validator: Validator | None
    loggers: tuple[Logger, ...]
    notes: tuple[str, ...] = ()
    keeper: Keeper | None = None
    observer: Observer | None = None
    prefetching: Prefetching = field(default_factory=Prefetching)
    hide: Callable[[str], str] = str
    executed: int = 0
    steps: int = 0
    records: list[Record] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    ended: str | None = None

    def __post_init__(self) -> None:
        self.executor = Executor(self.program, self.observer)
        early = self.engine.early_stopping
        self._patience = Patience(early) if early is not None else None
        self._best = best_of(self.engine)
        self._improved = False
        self._skipped = 0
        self._positions: dict[str, int] | None = None

    @property
    def device(self) -> torch.device:
        """Where the run computes."""
        return self.program.device

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without those in which it was interrupted."""
        return time.monotonic() - self.started

    def train(self) -> str:
        """Execute the plan to its end; why it ended, in words.

        Raises:
            Interruption: a signal came; the run was saved.
        """
        with aside(self.observer, Aside.RUN):
            try:
                return self._train()
            except Interruption:
                # It was saved before: whoever resumes it writes over this. A sink that fails now
                # must not hide what stopped the run.
                with suppress(Exception):
                    if self.steps % self.engine.log_every:
                        self._log_training()
                raise

    def _train(self) -> str:
        self._open()
        if self.ended is not None:
            return self.ended
        ended = None
        while ended is None:
            ended = self._advance()
        if self.steps % self.engine.log_every:
            self._log_training()
        self._validate(final=True)
        self.ended = ended
        self._keep(Moment(self.executed, self.steps, best=self._improved, ended=True))
        return ended

    def resume(self, state: Mapping[str, Any]) -> None:
        """Be what the run was when `state` was taken; to be called before `train`.

        Raises:
            StorageError: it is the state of another graph.
        """
        rest = put_back(state, self.program, self.executor)
        self.executed, self.steps = rest["executed"], rest["steps"]
        self.started = time.monotonic() - rest["elapsed"]
        self.ended, self._skipped = rest["ended"], rest["skipped"]
        self._positions = rest["positions"]
        if self._patience is not None and rest["patience"] is not None:
            self._patience.load_state_dict(rest["patience"])
        if self._best is not None:
            self._best.value = rest["best"]
        # What was saved before anything was read ahead says nothing of it.
        if "prefetching" in rest:
            self.prefetching.load_state_dict(rest["prefetching"])
        if isinstance(self.validator, Stateful) and rest["validator"] is not None:
            with putting_back("engine.validate"):
                self.validator.load_state_dict(rest["validator"])

    def _take(self) -> Snapshot:
        validator, patience = self.validator, self._patience
        rest = {
            "executed": self.executed,
            "steps": self.steps,
            "elapsed": self.elapsed,
            "ended": self.ended,
            "skipped": self._skipped,
            "positions": {name: one.position() for name, one in self._continued()},
            "patience": None if patience is None else patience.state_dict(),
            "best": None if self._best is None else self._best.value,
            "prefetching": self.prefetching.state_dict(),
            "validator": validator.state_dict() if isinstance(validator, Stateful) else None,
        }
        snapshot = take(self.program, self.executor, rest, self.hide)
        return replace(snapshot, state={**snapshot.state, "machine": facts(self.device)})

    def _open(self) -> None:
        """Start the loggers, or let them go on; at the beginning, measure the baselines."""
        total, positions = self.program.plan.steps, self._positions
        continued = {id(one): name for name, one in self._continued()}
        for logger in self.loggers:
            known = continued.get(id(logger))
            if isinstance(logger, ContinuedLogger) and positions and known in positions:
                self.records = list(logger.resume(total, positions[known])) or self.records
            else:
                logger.start(total)
        if positions is None:
            for note in self.notes:
                self.tell(note)
            self._baselines()
            return
        for logger in self.loggers:
            logger.progress(self.steps)
            if isinstance(logger, RecallingLogger):
                logger.recall(self.records, self.steps)

    def _continued(self) -> Iterator[tuple[str, ContinuedLogger]]:
        """The loggers that can go on, by names that tell them apart."""
        seen: dict[str, int] = {}
        for logger in self.loggers:
            if isinstance(logger, ContinuedLogger):
                number = seen[logger.name] = seen.get(logger.name, 0) + 1
                yield f"{logger.name} {number}", logger

    def _advance(self) -> str | None:
        """One instruction, and all that follows from it; why to stop, if so."""
        prologue, period = self.program.plan.prologue, self.program.plan.executed
        after = self.executed - len(prologue)
        instruction: Executed = prologue[after] if after < 0 else period[after % len(period)]
        try:
            self.executor.execute(instruction)
        except MlographError as error:
            # A terminal's Ctrl-C may have ended what the instruction needed.
            if self.keeper is not None:
                self.keeper.leave_if_asked(f"in step {self.steps + 1}, which failed: {error}")
            raise
        self.executed += 1
        counted = self.program.plan.counted
        made = after >= 0 and instruction in {Update(counted), Step(counted)}
        ended = None
        if made:
            self.steps += 1
            ended = self._after_update(self.steps)
            if ended is None and self.steps >= self.program.plan.steps:
                ended = "all steps made"
        if ended is None:
            self._keep(Moment(self.executed, self.steps, counted=made, best=self._improved))
            self._improved = False
        return ended

    def _keep(self, moment: Moment) -> None:
        if self.keeper is None:
            return
        for lost in self.keeper.keep(moment, self._take):
            text = f"a resumed run would not be the same, since no checkpoint can hold it: {lost}"
            text = self.hide(text)
            if all(text != record.text for record in self.records):
                self.tell(text)

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
        with aside(self.observer, Aside.VALIDATION), _blaming_validator():
            found = self.validator.baselines(self._trial(final=False))
        for name, values in found.items():
            self._log(Record("baseline", 0, self.elapsed, values, text=name))

    def _validate(self, *, final: bool) -> Mapping[str, float]:
        if self.validator is None:
            return {}
        with aside(self.observer, Aside.VALIDATION), _blaming_validator():
            values = self.validator.validate(self._trial(final=final))
        self._log(Record("validation", self.steps, self.elapsed, values))
        best = self._best
        # At the end it is too late to complain of a metric that is not measured.
        if best is not None and not (final and best.name not in values):
            self._improved = best.improved(values)
        return values

    def _trial(self, *, final: bool) -> Trial:
        return Trial(self.program, self.executor, self.program.plan.counted, final)

    def _log_training(self) -> None:
        with aside(self.observer, Aside.LOG):
            self._log_meters()

    def _log_meters(self) -> None:
        values: dict[str, float] = {}
        for name, meter in self.executor.meters.items():
            for key, value in meter.flush().items():
                values[f"{name}.{key}"] = value
            rate = self.program.problems[name].optimizer.param_groups[0]["lr"]
            values[f"{name}.lr"] = float(rate)
        self._log(Record("train", self.steps, self.elapsed, values))
        self.executor.remarks += self.program.compiling.take_remarks()
        self.executor.remarks += self.prefetching.take_remarks()
        while self.executor.remarks:
            self.tell(self.executor.remarks.pop(0))
        skipped = sum(self.executor.skipped.values())
        if skipped > self._skipped:
            self.tell(f"{skipped - self._skipped} updates skipped: values that are not finite")
            self._skipped = skipped

    def tell(self, text: str) -> None:
        """Log something worth telling."""
        self._log(Record("event", self.steps, self.elapsed, text=text))

    def _log(self, record: Record) -> None:
        values = {self.hide(name): value for name, value in record.values.items()}
        record = replace(record, values=values, text=self.hide(record.text))
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
