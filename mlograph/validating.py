"""The validations of a run: when they come, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

from mlograph.blame import blame
from mlograph.errors import MlographError, UsageError
from mlograph.journal import Journal
from mlograph.language.spec import EngineSpec
from mlograph.patience import Patience, best_of
from mlograph.profiling import Aside, Observer, aside
from mlograph.readings import Stateful
from mlograph.snapshot import putting_back
from mlograph.trial import Trial
from mlograph.validation import Validator


@final
class Validations:
    """Validates a run from time to time, and remembers the best value and what is waited for.

    Args:
        validator: measures the run; None where nothing does.
        engine: says how often, which value is the best, and when to stop.
        trial: lends the run, which is `final` once it is over.
        journal: is told what was measured.
        observer: is there meanwhile.

    Attributes:
        improved: a validation found the best value so far, which has not been kept yet.
    """

    def __init__(
        self,
        validator: Validator | None,
        engine: EngineSpec,
        trial: Callable[[bool], Trial],
        journal: Journal,
        observer: Observer | None = None,
    ) -> None:
        self.improved = False
        self._validator = validator
        self._spec = engine.validate_
        early = engine.early_stopping
        self._patience = Patience(early) if early is not None else None
        self._best = best_of(engine)
        self._trial = trial
        self._journal = journal
        self._observer = observer

    def baselines(self) -> None:
        """Measure what to compare with, before the first step."""
        if self._validator is None:
            return
        with aside(self._observer, Aside.VALIDATION), _blaming_validator():
            found = self._validator.baselines(self._trial(False))
        for name, values in found.items():
            self._journal.log("baseline", values, name)

    def after_update(self, step: int) -> str | None:
        """Validate if it is time to; why to stop, if so."""
        spec = self._spec
        if spec is None or spec.every is None or step % spec.every:
            return None
        values = self.validate(final=False)
        if self._patience is not None and self._patience.exhausted(values):
            return f"no improvement for {self._patience.spec.patience} validations"
        return None

    def validate(self, *, final: bool) -> Mapping[str, float]:
        """Measure the run as it is now.

        Raises:
            UsageError: the validator failed, or does not measure what the best value is of.
        """
        if self._validator is None:
            return {}
        with aside(self._observer, Aside.VALIDATION), _blaming_validator():
            values = self._validator.validate(self._trial(final))
        self._journal.log("validation", values)
        best = self._best
        # At the end it is too late to complain of a metric that is not measured.
        if best is not None and not (final and best.name not in values):
            # The last validation repeats one that stopped the run, which nothing has kept yet.
            self.improved |= best.improved(values)
        return values

    def state_dict(self) -> dict[str, Any]:
        """What it waits for, the best value so far, and what the validator remembers."""
        validator, patience = self._validator, self._patience
        return {
            "patience": None if patience is None else patience.state_dict(),
            "best": None if self._best is None else self._best.value,
            "validator": validator.state_dict() if isinstance(validator, Stateful) else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        if self._patience is not None and state["patience"] is not None:
            self._patience.load_state_dict(state["patience"])
        if self._best is not None:
            self._best.value = state["best"]
        if isinstance(self._validator, Stateful) and state["validator"] is not None:
            with putting_back("engine.validate"):
                self._validator.load_state_dict(state["validator"])


@contextmanager
def _blaming_validator() -> Iterator[None]:
    try:
        yield
    except MlographError:
        raise
    except Exception as error:
        raise UsageError(f"engine.validate: {blame(error)}") from error
