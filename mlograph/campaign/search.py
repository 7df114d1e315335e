"""Where the settings of a sweep come from: a list, or Optuna."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from mlograph.averages import mean
from mlograph.campaign.axes import Axes, Axis
from mlograph.campaign.outcome import Outcome
from mlograph.campaign.settings import Chosen, Run, repeated
from mlograph.campaign.values import Choice
from mlograph.errors import StorageError, UsageError, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Finish = Callable[[Run], Run]

TRIALS = "trials.jsonl"


@final
class Listed:
    """Settings that are known before.

    Args:
        runs: of each setting.
        metric: that every finished run must report; may be empty.
    """

    def __init__(self, runs: Iterable[Sequence[Run]], metric: str = "") -> None:
        self._left = deque(map(tuple, runs))
        self._metric = metric

    def next(self) -> tuple[Run, ...]:
        """The runs of the next setting."""
        return self._left.popleft() if self._left else ()

    def done(self, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> None:
        """Nothing follows from it, but that a metric nobody reports is said early.

        Raises:
            UsageError: a finished run did not report the metric.
        """
        for outcome in outcomes if self._metric else ():
            if outcome.finished:
                require(outcome, self._metric)


@final
class Search:
    """Settings that Optuna chooses, from what the runs of earlier ones came to.

    What it is told of a setting is the mean of the metric over its seeds; a setting with a run
    that did not finish is told as failed. Its samplers are Optuna's own by default (TPE; Akiba et
    al., 2019).

    Args:
        axes: what is varied; drawn numbers as such, listed values as categories.
        trials: settings in all, earlier processes' included.
        metric: what is made better, and `direction`: which way that is.
        direction: min or max.
        seed: of the sampler.
        file: keeps the settings, so that a resumed sweep begins with them.
        finish: completes a run.

    Raises:
        UsageError: Optuna is not installed.
    """

    def __init__(
        self,
        axes: Axes,
        trials: int,
        metric: str,
        direction: Literal["min", "max"],
        seed: int,
        file: Path,
        finish: Finish,
    ) -> None:
        self._axes = axes
        self._trials = trials
        self._metric = metric
        self._file = file
        self._finish = finish
        self._distributions = {axis.path: _distribution(axis) for axis in axes.varied}
        self._study = _study(direction, seed)
        self._asked: dict[int, Trial] = {}
        self._earlier = deque(_settings(file))
        self._parameters: dict[int, dict[str, Any]] = {}
        self._count = 0

    def next(self) -> tuple[Run, ...]:
        """The runs of the next setting: those of an earlier process first."""
        if self._count >= self._trials:
            return ()
        number = self._count
        self._count += 1
        if self._earlier:
            parameters = self._earlier.popleft()
        else:
            trial = self._study.ask(self._distributions)
            self._asked[number] = trial
            parameters = dict(trial.params)
            _append(self._file, parameters)
        self._parameters[number] = parameters
        chosen = {axis.path: _choice(axis, parameters[axis.path]) for axis in self._axes.varied}
        runs = repeated(self._axes, number, chosen, f"{number:03d},")
        return tuple(map(self._finish, runs))

    def done(self, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> None:
        """Tells Optuna what the setting came to.

        Raises:
            UsageError: a finished run did not report the metric.
        """
        from optuna.trial import TrialState, create_trial  # noqa: PLC0415

        number = runs[0].setting
        value = self._value(outcomes)
        trial = self._asked.pop(number, None)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        if trial is not None:
            self._study.tell(trial, value, state)
            return
        self._study.add_trial(
            create_trial(
                state=state,
                params=self._parameters[number],
                distributions=self._distributions,
                value=value,
            )
        )

    def _value(self, outcomes: Sequence[Outcome]) -> float | None:
        """The mean of the metric; None if a run did not finish, or it is not a number."""
        if not all(outcome.finished for outcome in outcomes):
            return None
        found = [require(outcome, self._metric) for outcome in outcomes]
        value = mean(found)
        return value if math.isfinite(value) else None


def require(outcome: Outcome, metric: str) -> float:
    """A number that a finished run reported.

    Raises:
        UsageError: it did not.
    """
    value = outcome.value(metric)
    if value is None:
        known = [*outcome.validation, *outcome.train]
        raise UsageError(f"no run reports '{metric}' ({did_you_mean(metric, known)})")
    return value


def _study(direction: str, seed: int) -> Any:
    try:
        import optuna  # noqa: PLC0415
    except ImportError as error:
        message = "--optuna needs Optuna: pip install 'mlograph[optuna]'"
        raise UsageError(message) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed)
    return optuna.create_study(
        direction="maximize" if direction == "max" else "minimize", sampler=sampler
    )


def _distribution(axis: Axis) -> BaseDistribution:
    try:
        from optuna import distributions  # noqa: PLC0415
    except ImportError as error:
        message = "--optuna needs Optuna: pip install 'mlograph[optuna]'"
        raise UsageError(message) from error
    span = axis.span
    if span is None:
        return distributions.CategoricalDistribution([c.text.strip() for c in axis.choices])
    if span.whole:
        low, high = int(span.low), int(span.high)
        return distributions.IntDistribution(low, high, span.shape == "log", span.step or 1)
    return distributions.FloatDistribution(span.low, span.high, span.shape == "log")


def _choice(axis: Axis, value: Any) -> Choice:
    """The value that Optuna chose, as an override has it."""
    for choice in axis.choices:
        if choice.text.strip() == str(value):
            return choice
    text = axis.span.text(float(value)) if axis.span is not None else str(value)
    return Choice(text, len(axis.key) + 1, verbatim=False)


def as_chosen(axes: Axes) -> Iterable[Chosen]:
    """Settings in which every value that is listed, and every end of what is drawn, is once."""
    most = max((len(axis.choices) or 2 for axis in axes.varied), default=1)
    for index in range(most):
        yield {axis.path: _edge(axis, index) for axis in axes.varied}


def _edge(axis: Axis, index: int) -> Choice:
    if axis.choices:
        return axis.choices[index % len(axis.choices)]
    assert axis.span is not None, "an axis without choices is drawn from its span"
    end = axis.span.high if index % 2 else axis.span.low
    return Choice(axis.span.text(end), len(axis.key) + 1, verbatim=False)


def _settings(file: Path) -> list[dict[str, Any]]:
    """What earlier processes were given."""
    if not file.exists():
        return []
    try:
        return [dict(json.loads(line)) for line in file.read_text("utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{file}: cannot be read: {error}") from error


def _append(file: Path, parameters: dict[str, Any]) -> None:
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(parameters) + "\n")
    except OSError as error:
        raise StorageError(f"{file}: cannot be written: {error.strerror or error}") from error
