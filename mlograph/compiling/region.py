"""One derivative of a loss as a compiled function of all tensors that the loss reads."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast, final

import torch
from torch import Tensor
from torch._functorch import config as functorch
from torch.utils import _pytree as pytree

from mlograph import trees
from mlograph.compiling.refusal import NotCompiledError
from mlograph.model import Model, ModelView
from mlograph.problem import Evaluation, Moment, Problem, Term
from mlograph.trees import Vector
from mlograph.views import View

Backend = Callable[..., Any]
Tensors = Mapping[str, Mapping[str, Tensor]]

# A loss whose Python state changes is compiled anew for each; that must end.
_MOST_COMPILED = 2


@dataclass(frozen=True)
class Inputs:
    """What a loss is evaluated on.

    Attributes:
        tensors: all parameters, by problem and name.
        buffers: the same of buffers; evaluations may change them.
        batch: the data.
    """

    tensors: Tensors
    buffers: Tensors
    batch: Any

    @classmethod
    def of(cls, views: Mapping[str, View], batch: Any) -> Inputs:
        """What a loss would see through `views`."""
        return cls(
            {name: view.named_parameters() for name, view in views.items()},
            {name: view.buffers() for name, view in views.items()},
            batch,
        )

    def copied(self) -> Inputs:
        """The same, with buffers of its own."""
        buffers = {
            owner: {name: x.detach().clone() for name, x in vector.items()}
            for owner, vector in self.buffers.items()
        }
        return Inputs(self.tensors, buffers, self.batch)

    def split(self, wanted: Mapping[str, Sequence[str]]) -> tuple[dict[str, Vector], Tensors]:
        """The tensors named in `wanted`, and the others."""
        chosen = {o: {n: self.tensors[o][n] for n in names} for o, names in wanted.items()}
        fixed = {
            owner: {n: x for n, x in vector.items() if n not in wanted.get(owner, ())}
            for owner, vector in self.tensors.items()
        }
        return chosen, fixed


@dataclass(frozen=True)
class Derivative:
    """What is to be compiled.

    Attributes:
        problem: whose loss it is.
        terms: of the loss.
        wanted: names of parameters by problem: what the loss is differentiated by.
        moment: what the loss is evaluated on, but for the batch.
        products: how many are taken of it; it is recorded for them if there are any.
    """

    problem: Problem
    terms: Sequence[Term]
    wanted: Mapping[str, Sequence[str]]
    moment: Moment
    products: int = 0


@final
class Region:
    """(∂L/∂wanted, L, metrics) of a problem's loss, compiled.

    Args:
        derivative: what it is.
        names: of its parameters, those on which the loss depends.
        compiler: makes machine code of a graph of torch.
    """

    def __init__(
        self,
        derivative: Derivative,
        names: Mapping[str, Sequence[str]],
        compiler: Backend,
    ) -> None:
        self.wanted = {owner: tuple(found) for owner, found in names.items()}
        self._backend = _Limited(compiler)
        # It works on names alone, in ways that torch cannot follow.
        torch.compiler.assume_constant_result(trees.fitting_names)
        function = _function(derivative)
        self._compiled = torch.compile(
            _apart(function), fullgraph=True, dynamic=False, backend=self._backend
        )

    def __call__(self, inputs: Inputs) -> tuple[dict[str, Vector], Evaluation]:
        """Evaluate it; the gradient has a graph if gradients are recorded and inputs want them."""
        chosen, fixed = inputs.split(self.wanted)
        slopes, loss, metrics = self._compiled(chosen, fixed, inputs.buffers, inputs.batch)
        return slopes, Evaluation(loss.detach(), metrics)


def _function(asked: Derivative) -> FunctionType:
    """(chosen, fixed, buffers, batch) → (∂L/∂chosen, L, metrics)."""
    problem, terms = asked.problem, tuple(asked.terms)
    models: dict[str, Model] = {**problem.others, problem.name: problem.model}
    modules = {owner: model.module for owner, model in models.items()}
    orders = {o: tuple(model.live().named_parameters()) for o, model in models.items()}
    step, random = asked.moment.step, asked.moment.random

    def loss(
        chosen: Tensors, fixed: Tensors, buffers: Tensors, batch: Any
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        views: dict[str, View] = {}
        for owner, module in modules.items():
            tensors = {**fixed[owner], **chosen.get(owner, {})}
            # A view gives its parameters in the module's order.
            ordered = {name: tensors[name] for name in orders[owner]}
            views[owner] = ModelView(module, ordered, buffers[owner], own=False)
        found = problem.evaluate(views, Moment(batch, step, random), terms)
        return found.loss, found.metrics

    def derivative(
        chosen: Tensors, fixed: Tensors, buffers: Tensors, batch: Any
    ) -> tuple[Any, Tensor, Mapping[str, Tensor]]:
        differentiate = torch.func.grad_and_value(loss, has_aux=True)
        slopes, (value, metrics) = differentiate(chosen, fixed, buffers, batch)
        return slopes, value, metrics

    return cast(FunctionType, derivative)


def _apart(function: FunctionType) -> FunctionType:
    """The same function with code of its own: torch counts what it compiles by code."""
    code = function.__code__.replace(co_name=function.__code__.co_name)
    return FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)


@final
class _Limited:
    """A backend of torch.compile that compiles a function anew only so often."""

    def __init__(self, compiler: Backend) -> None:
        self._compiler = compiler
        self._made = 0

    def __call__(self, graph: Any, example: Any) -> Any:
        self._made += 1
        if self._made > _MOST_COMPILED:
            raise NotCompiledError("what it does depends on Python values that change")
        # A recorded gradient is differentiated again and again: nothing of it may be given away.
        with functorch.patch(donated_buffer=False):
            return self._compiler(graph, example)


def inductor(graph: Any, example: Any) -> Any:
    """torch's own compiler of C++ and Triton code."""
    from torch._inductor.compile_fx import compile_fx  # noqa: PLC0415 (it takes a second)

    return compile_fx(graph, example)


def shapes(batch: Any) -> Hashable:
    """What tells the forms of batches apart, in less time than `form` takes."""
    if isinstance(batch, tuple | list) and all(type(x) is Tensor for x in batch):
        return type(batch), *((x.shape, x.dtype) for x in batch)
    return form(batch)


def form(batch: Any) -> str | None:
    """The shapes and types of a batch in words; None where it holds more than tensors."""
    leaves, tree = pytree.tree_flatten(batch)
    if not all(leaf is None or isinstance(leaf, Tensor) for leaf in leaves):
        return None
    shapes = (f"{'×'.join(map(str, x.shape)) or 'one'} {x.dtype}" for x in leaves if x is not None)
    return f"{', '.join(shapes) or 'nothing'} in {tree}"
