"""TorchOpt: implicit solvers and meta-optimisers, composed by autograd."""

from __future__ import annotations

from typing import Any, final

import torch
import torchopt
from cases import RATE, Point
from installed import version
from torch import Tensor
from torchopt.diff.implicit import custom_root
from torchopt.linear_solve import solve_cg, solve_inv, solve_normal_cg

from comparison.libraries.protocol import Parameters, UnsupportedError, gradient, parameters
from comparison.methods import (
    ConjugateGradient,
    Exact,
    Method,
    Neumann,
    NormalConjugateGradient,
    Unroll,
)
from comparison.trials import Trial, View, evaluate, reads, view


@final
class TorchOpt:
    """Each lower problem in turn becomes a differentiable function of the problems that it reads.

    So chains and diamonds are compositions. A problem that constrains one it reads is none: the
    optimality function would contain another solver, which functorch cannot differentiate.
    """

    @property
    def version(self) -> str:
        return version(torchopt.__file__, "torchopt")

    def hypergradient(self, trial: Trial) -> Tensor:
        case = trial.case
        if isinstance(trial.method, Unroll):
            return _unrolled(trial)
        solve = _solver(trial.method)
        if case.nested:
            raise UnsupportedError("a solver inside an optimality function")
        solved: dict[str, Parameters] = {case.upper: parameters(case.points[case.upper])}
        for name in trial.lowers:
            solved[name] = _implicit(trial, name, solved, solve)
        views = {name: view(parts) for name, parts in solved.items()}
        return gradient(evaluate(case, case.upper, views), solved[case.upper])

    def remark(self, trial: Trial) -> str:
        if isinstance(trial.method, Exact):
            return "`solve_inv` inverts the diagonal blocks of H, one for each parameter tensor"
        return ""


def _solver(method: Method) -> Any:
    match method:
        case Exact():
            return solve_inv()
        case ConjugateGradient(iterations=iterations):
            return solve_cg(maxiter=iterations, rtol=1e-10)
        case NormalConjugateGradient(iterations=iterations):
            return solve_normal_cg(maxiter=iterations, rtol=1e-10)
        case Neumann(iterations=iterations, alpha=alpha):
            return solve_inv(ns=True, maxiter=iterations, alpha=alpha)
        case _:
            raise UnsupportedError("no such method")


def _implicit(trial: Trial, name: str, solved: dict[str, Parameters], solve: Any) -> Parameters:
    """The solution of a problem; all that it reads is solved already."""
    others = [read for read in reads(trial.case, name) if read != name]

    def objective(own: Parameters, *read: Parameters) -> Tensor:
        views = {other: view(parts) for other, parts in zip(others, read, strict=True)}
        return evaluate(trial.case, name, {**views, name: view(own)})

    optimality = torch.func.grad(objective)

    @custom_root(optimality, argnums=tuple(range(1, len(others) + 1)), solve=solve)
    def solution(own: Parameters, *read: Parameters) -> Parameters:
        for _ in range(trial.steps):
            slopes = optimality(own, *read)
            own = tuple(x - RATE * slope for x, slope in zip(own, slopes, strict=True))
        return own

    start: Parameters = solution(parameters(trial.case.points[name]), *map(solved.get, others))
    return start


def _unrolled(trial: Trial) -> Tensor:
    """Through `MetaSGD`, which replaces a module's parameters by the results of its steps."""
    case = trial.case
    modules = {name: Point(point) for name, point in case.points.items()}
    upper = tuple(modules[case.upper].parameters())
    views: dict[str, View] = dict(modules)
    if trial.maml is not None:
        views["outer"] = view(upper)
        views["inner"] = modules["inner"] = modules["outer"]
    for name in trial.lowers:
        optimizer = torchopt.MetaSGD(modules[name], lr=RATE)
        for _ in range(trial.steps):
            optimizer.step(evaluate(case, name, views))
    return gradient(evaluate(case, case.upper, views), upper)


LIBRARY = TorchOpt()
