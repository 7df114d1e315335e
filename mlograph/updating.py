"""What is done with a gradient: shares of it are gathered, then the optimiser makes its step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW

from mlograph import hyperparameters, trees
from mlograph.blame import blame
from mlograph.errors import MlographError, UsageError
from mlograph.problem import Problem, clipped
from mlograph.trees import Vector


def accumulate(problem: Problem, gradient: Vector) -> None:
    """Add a pass's share to the gradients of a problem's parameters.

    Args:
        problem: which takes the mean over `gradient_accumulation` passes.
        gradient: of one of them, by parameter; it belongs to the parameters afterwards.
    """
    passes, params = problem.spec.gradient_accumulation, problem.model.params
    if passes > 1 or not _only_reads(problem, gradient):
        gradient = trees.scale(1.0 / passes, gradient)
    held = {name: old for name in gradient if (old := params[name].grad) is not None}
    with torch.no_grad():
        if held:
            torch._foreach_add_([*held.values()], [gradient[name] for name in held])
        for name, x in gradient.items():
            if name not in held:
                params[name].grad = x.detach() if x.requires_grad else x


def _only_reads(problem: Problem, gradient: Vector) -> bool:
    """Whether nobody writes into gradients, and they lie in memory as a step expects them to.

    autograd can give one tensor for two parameters, or one number for all of a tensor.
    """
    optimizer, params = problem.optimizer, problem.model.params
    return (
        problem.scaler is None
        and problem.callbacks.on_gradient is None
        and type(optimizer) in {SGD, Adam, AdamW}
        and not any(group.get("nesterov") for group in optimizer.param_groups)
        and all(_lie_alike(x, params[name]) for name, x in gradient.items())
    )


def _lie_alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape have the same order in memory.

    Strides of axes of length 1 say nothing of it: a gradient has others than its weight there.
    """
    left, right = one.stride(), other.stride()
    return left == right or all(
        a == b for a, b, size in zip(left, right, one.shape, strict=True) if size > 1
    )


def apply(problem: Problem, size: Tensor | None = None) -> Tensor:
    """A step of the optimiser along what was accumulated, with the user's hook before it.

    Args:
        problem: whose parameters move.
        size: ‖gradient‖ of what was accumulated, if it is known.

    Returns:
        ‖gradient‖ before clipping, a 0-d tensor.
    """
    tell(problem, "on_gradient", problem.callbacks.on_gradient)
    params = {n: p for n, p in problem.model.params.items() if p.grad is not None}
    if problem.scaler is not None:
        for param in params.values():
            assert param.grad is not None
            param.grad.mul_(problem.scaler.get_scale())
        problem.scaler.unscale_(problem.optimizer)
    gradient = {name: p.grad for name, p in params.items() if p.grad is not None}
    if size is None or problem.scaler is not None or problem.callbacks.on_gradient is not None:
        size = trees.norm(gradient)
    largest = problem.spec.gradient_clipping
    if largest is not None:
        for name, tensor in clipped(gradient, largest, size).items():
            params[name].grad = tensor
    with blaming(f"problems.{problem.name}.optimizer"):
        if problem.scaler is not None:
            problem.scaler.step(problem.optimizer)
            problem.scaler.update()
        else:
            hyperparameters.step(problem)
    return size


@contextmanager
def blaming(where: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """What goes wrong inside is told with its place in the graph and in the user's code."""
    try:
        yield
    except MlographError:
        raise
    except kind as error:
        raise UsageError(f"{where}: {blame(error)}") from error


def tell(problem: Problem, name: str, callback: Callable[[Problem], None] | None) -> None:
    """Call a hook of the user's, if there is one."""
    if callback is not None:
        with torch.no_grad(), blaming(f"problems.{problem.name}.callbacks.{name}"):
            callback(problem)
