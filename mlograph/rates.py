"""Functions for `hyperparameters`: learning rates and the like from an upper problem's parameters.

The upper problem holds free numbers; what is made of them has the sign that a rate must have.
"""

from __future__ import annotations

from torch import Tensor

from mlograph.errors import UsageError, did_you_mean
from mlograph.views import View

__all__ = ["fraction", "per_parameter", "positive", "schedule"]


def positive(rates: View, scale: float = 1.0, name: str | None = None) -> Tensor:
    """scale · exp(x), for the one number x of `rates`.

    Args:
        rates: such as `mlograph.nn.Tensors(lr=[])`, where x starts at 0 and the rate at `scale`.
        scale: what x = 0 stands for.
        name: of the parameter, where `rates` has several.

    Raises:
        UsageError: it is no single number.
    """
    return scale * _number(rates, "positive", name).exp()


def fraction(rates: View, name: str | None = None) -> Tensor:
    """1 / (1 + exp(−x)), for the one number x of `rates`: between 0 and 1, such as a momentum.

    Raises:
        UsageError: it is no single number.
    """
    return _number(rates, "fraction", name).sigmoid()


def schedule(rates: View, step: int, scale: float = 1.0, name: str | None = None) -> Tensor:
    """scale · exp(x_t), with x_t the entry for step t; the last one stays.

    Args:
        rates: such as `mlograph.nn.Tensors(log_rates=[20])`.
        step: t.
        scale: what x = 0 stands for.
        name: of the parameter, where `rates` has several.

    Raises:
        UsageError: it is no row of numbers.
    """
    row = _tensor(rates, "schedule", name)
    if row.dim() != 1 or not len(row):
        raise UsageError(f"schedule: expected a row of numbers, got shape {tuple(row.shape)}")
    return scale * row[min(step, len(row) - 1)].exp()


def per_parameter(rates: View, scale: float = 1.0) -> dict[str, Tensor]:
    """scale · exp(x) for every number of every parameter, by name (Meta-SGD; Li et al., 2017).

    Args:
        rates: a module with the parameters of the lower one, such as `mlograph.nn.filled` makes.
        scale: what x = 0 stands for.
    """
    return {name: scale * x.exp() for name, x in rates.named_parameters().items()}


def _number(rates: View, what: str, name: str | None) -> Tensor:
    tensor = _tensor(rates, what, name)
    if tensor.numel() != 1:
        raise UsageError(f"{what}: expected a single number, got shape {tuple(tensor.shape)}")
    return tensor.reshape(())


def _tensor(rates: View, what: str, name: str | None) -> Tensor:
    tensors = rates.named_parameters()
    if name is None:
        if len(tensors) != 1:
            raise UsageError(f"{what}: name the parameter; candidates: {', '.join(tensors)}")
        return next(iter(tensors.values()))
    if name not in tensors:
        raise UsageError(f"{what}: no parameter '{name}' ({did_you_mean(name, tensors)})")
    return tensors[name]
