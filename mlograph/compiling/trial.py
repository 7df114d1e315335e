"""A region compiled and compared with what it stands for: no other numbers, and in what time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlograph.compiling.refusal import NotCompiledError
from mlograph.compiling.region import Backend, Derivative, Inputs, Region, form
from mlograph.model import ModelView
from mlograph.problem import Evaluation, Moment, Problem, Term, gradients
from mlograph.randomness import RandomState
from mlograph.trees import Vector

_REPEATED = 3
# Rounding errors are others where operations are fused; anything above this is no rounding error.
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}


@dataclass(frozen=True)
class Checked:
    """A region that gives the right numbers.

    Attributes:
        region: it.
        seconds: to compile.
        plain: seconds of an evaluation as it is, products included.
        compiled: the same of the region.
    """

    region: Region
    seconds: float
    plain: float
    compiled: float


def checked(derivative: Derivative, inputs: Inputs, compiler: Backend) -> Checked:
    """Compile a derivative at `inputs`, which it leaves as they are.

    Raises:
        NotCompiledError: it cannot be compiled, or gives other numbers.
        Exception: whatever the compiler says.
    """
    problem, recorded = derivative.problem, bool(derivative.products)
    _check_problem(problem, derivative.terms, derivative.moment)
    plain = _Plain(derivative)
    expected = _drawing_nothing(problem, lambda: plain(inputs.copied()))
    names = {owner: tuple(vector) for owner, vector in expected.slopes.items() if vector}
    if not names:
        raise NotCompiledError("there is no gradient")
    region = Region(derivative, names, compiler)
    compiled = _Compiled(region, recorded)
    began = time.perf_counter()
    found = _drawing_nothing(problem, lambda: compiled(inputs.copied()))
    again = _drawing_nothing(problem, lambda: plain(inputs.copied()))
    _compare(found, again, problem, recorded=recorded)
    seconds = time.perf_counter() - began
    plainly, sooner = _least((plain, compiled), inputs, derivative)
    return Checked(region, seconds, plainly, sooner)


def _check_problem(problem: Problem, terms: Sequence[Term], moment: Moment) -> None:
    precision = problem.spec.precision
    if precision not in {"float32", "float64"}:
        raise NotCompiledError(f"in {precision}, fused operations would round differently")
    if any("step" in term.wants for term in terms):
        raise NotCompiledError("the loss asks for its step")
    if form(moment.batch) is None:
        raise NotCompiledError("a batch holds more than tensors")


@dataclass(frozen=True)
class _Found:
    """∂L by problem, what the loss gave, and the buffers that it left."""

    slopes: dict[str, Vector]
    evaluation: Evaluation
    inputs: Inputs


@dataclass(frozen=True)
class _Compiled:
    region: Region
    recorded: bool

    def __call__(self, inputs: Inputs) -> _Found:
        with torch.set_grad_enabled(self.recorded):
            slopes, evaluation = self.region(inputs)
        return _Found(slopes, evaluation, inputs)


@dataclass(frozen=True)
class _Plain:
    """The same by autograd."""

    derivative: Derivative

    def __call__(self, inputs: Inputs) -> _Found:
        asked, problem = self.derivative, self.derivative.problem
        modules = {o: m.module for o, m in problem.others.items()}
        modules[problem.name] = problem.model.module
        views = {
            owner: ModelView(module, inputs.tensors[owner], inputs.buffers[owner], own=False)
            for owner, module in modules.items()
        }
        chosen = {o: {n: inputs.tensors[o][n] for n in names} for o, names in asked.wanted.items()}
        with torch.enable_grad():
            evaluation = problem.evaluate(views, asked.moment, asked.terms)
        if evaluation.field is not None:
            raise NotCompiledError("the loss gives a field")
        slopes = {
            owner: gradients(evaluation.loss, params, create_graph=bool(asked.products), keep=True)
            for owner, params in chosen.items()
        }
        return _Found(slopes, evaluation, inputs)


def _drawing_nothing(problem: Problem, evaluate: Callable[[], _Found]) -> _Found:
    """What an evaluation gives, if it draws no random numbers."""
    before = RandomState.capture(problem.device)
    found = evaluate()
    if not before.same(RandomState.capture(problem.device)):
        raise NotCompiledError("the loss draws random numbers, which would be others")
    return found


def _compare(found: _Found, expected: _Found, problem: Problem, *, recorded: bool) -> None:
    """See that all numbers agree up to rounding errors.

    Raises:
        NotCompiledError: they do not.
    """
    value = float(expected.evaluation.loss.detach().abs())
    pairs: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor], float]] = [
        ({"loss": found.evaluation.loss}, {"loss": expected.evaluation.loss}, 0.0),
        (found.evaluation.metrics, expected.evaluation.metrics, value),
    ]
    # Sums that cancel leave rounding errors of what was summed.
    pairs += [(found.slopes.get(o, {}), x, 1e-3 * value) for o, x in expected.slopes.items()]
    pairs += [(found.inputs.buffers[o], x, 0.0) for o, x in expected.inputs.buffers.items()]
    if recorded:
        pairs.append((_product(found, problem), _product(expected, problem), 1e-3 * value))
    if not all(_close(*pair) for pair in pairs):
        raise NotCompiledError("compiled, it gives other numbers")


def _product(found: _Found, problem: Problem) -> Vector:
    """(∂Φ/∂·)ᵀ Φ for all parameters that Φ may depend on, by a name that tells them apart."""
    tensors = found.inputs.tensors
    leaves = {
        f"{o} {n}": x for o, named in tensors.items() for n, x in named.items() if x.requires_grad
    }
    values = [x for x in found.slopes[problem.name].values() if x.requires_grad]
    if not values:
        return {}
    got: Any = torch.autograd.grad(
        values,
        [*leaves.values()],
        [x.detach() for x in values],
        retain_graph=True,
        allow_unused=True,
    )
    # Where nothing depends on a leaf, zeros and nothing are the same here.
    pairs = zip(leaves.items(), got, strict=True)
    return {name: torch.zeros_like(leaf) if x is None else x for (name, leaf), x in pairs}


def _close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], more: float) -> bool:
    """Whether two vectors agree up to rounding errors of their own size and `more`."""
    if one.keys() != other.keys():
        return False
    pairs = [(one[name], x) for name, x in other.items()]
    if any(x.shape != y.shape or x.dtype != y.dtype for x, y in pairs):
        return False
    size = sum(float(y.detach().double().square().sum()) for _, y in pairs) ** 0.5 + more
    away = (float(torch.linalg.vector_norm((x - y).detach().double())) for x, y in pairs)
    allowed = (_TOLERANCE.get(y.dtype, 0.0) * size for _, y in pairs)
    return all(distance <= least for distance, least in zip(away, allowed, strict=True))


def _least(
    ways: Sequence[Callable[[Inputs], _Found]], inputs: Inputs, asked: Derivative
) -> list[float]:
    """Seconds that each way of evaluating takes with its products, the least of some, in turn."""
    least = [float("inf")] * len(ways)
    for _ in range(_REPEATED):
        for number, evaluate in enumerate(ways):
            copied = inputs.copied()
            began = _now(asked.problem)
            found = evaluate(copied)
            seconds = _now(asked.problem) - began
            if asked.products:
                began = _now(asked.problem)
                _product(found, asked.problem)
                seconds += asked.products * (_now(asked.problem) - began)
            least[number] = min(least[number], seconds)
    return least


def _now(problem: Problem) -> float:
    if problem.device.type == "cuda":
        torch.cuda.synchronize(problem.device)
    return time.perf_counter()
