"""The course of a run: instructions one after another, and what is measured, told and saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, final

from mlograph.checkpoints import facts
from mlograph.errors import Interruption, MlographError
from mlograph.executor import Executor
from mlograph.journal import Journal
from mlograph.keeping import Keeper, Moment
from mlograph.language.spec import EngineSpec
from mlograph.loggers.protocol import Logger
from mlograph.prefetch import Prefetching
from mlograph.profiling import Aside, Observer, aside
from mlograph.program import Program
from mlograph.progress import Progress
from mlograph.snapshot import Snapshot, put_back, take
from mlograph.trial import Trial
from mlograph.validating import Validations
from mlograph.validation import Validator


@final
@dataclass
class Training:
    """One run: an executor that is led through its plan, and everybody who follows it.

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
        executor: carries out its instructions.
        progress: where it is.
        journal: what it has told.
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

    def __post_init__(self) -> None:
        self.executor = Executor(self.program, self.observer)
        self.progress = Progress(self.program.plan)
        self.journal = Journal(self.loggers, self.progress, self.hide)
        self._validations = Validations(
            self.validator, self.engine, self.trial, self.journal, self.observer
        )
        # Skipped updates that were told.
        self._skipped = 0

    def trial(self, final: bool) -> Trial:
        """The run, lent for a while; `final` says that it is over."""
        return Trial(self.program, self.executor, self.program.plan.counted, final)

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
                    self._log_rest()
                raise

    def resume(self, state: Mapping[str, Any]) -> None:
        """Be what the run was when `state` was taken; to be called before `train`.

        Raises:
            StorageError: it is the state of another graph.
        """
        rest = put_back(state, self.program, self.executor)
        self.progress.load_state_dict(rest)
        self._skipped = rest["skipped"]
        self.journal.before = rest["positions"]
        # What was saved before anything was read ahead says nothing of it.
        if "prefetching" in rest:
            self.prefetching.load_state_dict(rest["prefetching"])
        self._validations.load_state_dict(rest)

    def _take(self) -> Snapshot:
        rest = {
            **self.progress.state_dict(),
            "skipped": self._skipped,
            "positions": self.journal.positions(),
            "prefetching": self.prefetching.state_dict(),
            **self._validations.state_dict(),
        }
        snapshot = take(self.program, self.executor, rest, self.hide)
        machine = facts(self.program.device)
        return replace(snapshot, state={**snapshot.state, "machine": machine})

    def _train(self) -> str:
        progress = self.progress
        self.journal.open()
        if self.journal.before is None:
            for note in self.notes:
                self.journal.tell(note)
            self._validations.baselines()
        if progress.ended is not None:
            return progress.ended
        ended = None
        while ended is None:
            ended = self._advance()
        self._log_rest()
        self._validations.validate(final=True)
        progress.ended = ended
        self._keep(ended=True)
        return ended

    def _advance(self) -> str | None:
        """One instruction, and all that follows from it; why to stop, if so."""
        try:
            self.executor.execute(self.progress.coming)
        except MlographError as error:
            # A terminal's Ctrl-C may have ended what the instruction needed.
            if self.keeper is not None:
                place = f"in step {self.progress.steps + 1}"
                self.keeper.leave_if_asked(f"{place}, which failed: {error}")
            raise
        counted = self.progress.advance()
        ended = self._after_update() if counted else None
        if ended is None:
            self._keep(counted=counted)
            self._validations.improved = False
        return ended

    def _after_update(self) -> str | None:
        """Tell, log, validate; why to stop, if so."""
        step, last = self.progress.steps, self.program.plan.steps
        self.journal.updated()
        if step % self.engine.log_every == 0:
            self._log()
        # What comes at the end is validated when the run has ended.
        ended = self._validations.after_update(step) if step != last else None
        return "all steps made" if ended is None and step >= last else ended

    def _keep(self, *, counted: bool = False, ended: bool = False) -> None:
        if self.keeper is None:
            return
        progress, best = self.progress, self._validations.improved
        moment = Moment(progress.executed, progress.steps, counted, best, ended)
        for lost in self.keeper.keep(moment, self._take):
            self.journal.tell_once(
                f"a resumed run would not be the same, since no checkpoint can hold it: {lost}"
            )

    def _log(self) -> None:
        """What was measured since the last time, and remarks."""
        with aside(self.observer, Aside.LOG):
            values: dict[str, float] = {}
            for name, meter in self.executor.meters.items():
                values |= {f"{name}.{key}": value for key, value in meter.flush().items()}
                rate = self.program.problems[name].optimizer.param_groups[0]["lr"]
                values[f"{name}.lr"] = float(rate)
            self.journal.log("train", values)
            self.executor.remarks += self.program.compiling.take_remarks()
            self.executor.remarks += self.prefetching.take_remarks()
            while self.executor.remarks:
                self.journal.tell(self.executor.remarks.pop(0))
            skipped = sum(self.executor.skipped.values()) - self._skipped
            if skipped > 0:
                self.journal.tell(f"{skipped} updates skipped: values that are not finite")
                self._skipped += skipped

    def _log_rest(self) -> None:
        if self.progress.steps % self.engine.log_every:
            self._log()
