"""Pictures that need more than a module: `engine.pictures`, drawn when a run has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, final, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mlograph.batches import moved
from mlograph.errors import UsageError, did_you_mean
from mlograph.pictures import Picture, Spread
from mlograph.trial import Trial

_BATCH = 500
Transform = Literal["none", "sigmoid", "softplus", "softmax"]


@runtime_checkable
class Painter(Protocol):
    """Draws what a run has learned."""

    def paint(self, trial: Trial) -> Sequence[Picture]:
        """The pictures; called once, at the end, without gradients."""
        ...


@final
class SampleWeights:
    """How the weights of correctly and of wrongly labelled samples are spread.

    Of `data` and `truth`, the same samples in the same order, the labels tell which are wrong.
    With `model`, a sample's weight is what the module of `weights` makes of its cross entropy, as
    in Meta-Weight-Net; without, it is the sample's own entry of the first tensor of `weights`.
    One pass over the data.

    Args:
        weights: the problem that learned them.
        data: the samples as they were trained on: (input, label, …).
        truth: the same with the right labels.
        model: the problem that classifies.
        transform: of an entry to a weight.

    Raises:
        UsageError: an unknown problem or transform, or data that do not fit one another.
    """

    def __init__(
        self,
        weights: str,
        data: Dataset[Any],
        truth: Dataset[Any],
        model: str = "",
        transform: Transform = "none",
    ) -> None:
        if transform not in _TRANSFORMS:
            raise UsageError(
                f"transform: no '{transform}' ({did_you_mean(transform, _TRANSFORMS)})"
            )
        self._weights, self._model, self._transform = weights, model, transform
        self._data, self._truth = data, truth

    def paint(self, trial: Trial) -> Sequence[Picture]:
        """One histogram for the right labels and one for the wrong ones, over the same bins."""
        for name in filter(None, (self._weights, self._model)):
            if name not in trial.program.problems:
                hint = did_you_mean(name, trial.program.problems)
                raise UsageError(f"engine.pictures: no problem '{name}' ({hint})")
        labels, right = _labels(self._data), _labels(self._truth)
        if labels.shape != right.shape:
            raise UsageError(f"data has {len(labels)} labels, and truth {len(right)}")
        values = self._of_losses(trial) if self._model else self._of_entries(trial)
        if len(values) != len(labels):
            raise UsageError(f"there are {len(values)} weights, and {len(labels)} samples")
        groups = {
            "right label": values[labels == right].tolist(),
            "wrong label": values[labels != right].tolist(),
        }
        title = f"{self._weights}: weights of the samples of {self._model or 'the data'}"
        return (Spread.of(title, groups, unit="weight"),)

    def _of_losses(self, trial: Trial) -> Tensor:
        model, weigher = trial.module(self._model), trial.module(self._weights)
        dtype = next(model.parameters()).dtype
        parts = []
        with trial.evaluating(model, weigher):
            for batch in DataLoader(self._data, batch_size=_BATCH):
                x, y, *_ = moved(batch, trial.device, dtype)
                losses = F.cross_entropy(model(x), y, reduction="none")
                parts.append(weigher(losses[:, None]).flatten().cpu())
        return torch.cat(parts)

    def _of_entries(self, trial: Trial) -> Tensor:
        tensor = next(trial.module(self._weights).parameters())
        return _TRANSFORMS[self._transform](tensor.detach().flatten().cpu())


_TRANSFORMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": torch.clone,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "softmax": lambda entries: torch.softmax(entries, 0),
}


def _labels(dataset: Dataset[Any]) -> Tensor:
    return torch.cat([batch[1] for batch in DataLoader(dataset, batch_size=_BATCH)])
