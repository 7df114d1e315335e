"""How often the device is waited for: each number that Python reads is one such time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mlograph
from mlograph import linear, trees
from mlograph.bind import bind
from mlograph.components import Imports
from mlograph.executor import Executor
from mlograph.linear import System
from mlograph.plan import Backward, EnvStep, Step
from mlograph.program import Program
from mlograph.trees import Vector

GRAPHS = Path(__file__).parents[1] / "graphs"


class Waits(TorchDispatchMode):
    """Counts numbers that are read, and lists of them that are copied at once.

    Args:
        free: tensors whose reads do not count.
    """

    def __init__(self, free: Collection[Tensor] = ()) -> None:
        super().__init__()
        self.reads = 0
        self._free = free

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func._schema.name == "aten::_local_scalar_dense":
            self.reads += all(args[0] is not x for x in self._free)
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Waits:
        plain = torch.Tensor.tolist

        def counted(x: Tensor) -> Any:
            self.reads += 1
            return plain(x)

        # A list of numbers is read past the dispatcher.
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(torch.Tensor, "tolist", counted)
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.undo()
        super().__exit__(*error)


def waits(work: Callable[[], object], free: Collection[Tensor] = ()) -> int:
    with Waits(free) as mode:
        work()
    return mode.reads


SMALL = ["engine.device=cpu", "engine.execution.tasks=sequential"]
# Reads of a period beside the one of each backward pass, which tells whether all is finite.
# Of a solve: the length of its right side, the first numbers, the length of the answer, and
# whether that is finite; and two in each iteration.
AROUND = 4
SHIPPED = {
    "maml_sine.yaml": ([], 0),
    "imaml.yaml": (["problems.outer.module.hidden=4", "vars.meta_batch=1"], AROUND + 2 * 5),
    "hpo.yaml": ([], AROUND + 2 * 20),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_period_waits_once_for_each_backward_pass(name: str):
    overrides, beside = SHIPPED[name]
    graph = mlograph.load(GRAPHS / name, [*SMALL, *overrides])
    plan = graph.plan()
    program = bind(graph.structure, plan, Imports(GRAPHS))
    executor = Executor(program)

    def period() -> int:
        reads = 0
        for instruction in plan.executed:
            if isinstance(instruction, EnvStep):
                executor.execute(instruction)  # what an Env reads lies on the CPU
            else:
                reads += waits(partial(executor.execute, instruction), counters(program))
        return reads

    period()
    looks = sum(isinstance(one, Step | Backward) for one in plan.executed)
    assert period() == looks + beside


def counters(program: Program) -> list[Tensor]:
    """Adam and its like count their steps in tensors of the CPU."""
    states = [s for p in program.problems.values() for s in p.optimizer.state.values()]
    return [state["step"] for state in states if "step" in state]


def spd(size: int = 12) -> Tensor:
    draw = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return draw @ draw.T / size + torch.eye(size, dtype=torch.float64)


MATRIX = spd()
B: Vector = {"x": torch.arange(1.0, 13.0, dtype=torch.float64)}


def product(vector: Vector) -> Vector:
    return {"x": MATRIX @ vector["x"]}


SYSTEM = System(product, product)
# Reads of each iteration.
EACH: dict[str, tuple[Callable[[int], linear.Solution], int]] = {
    "cg": (lambda k: linear.cg(product, B, iterations=k, tol=0.0), 2),
    "normal_cg": (lambda k: linear.normal_cg(SYSTEM, B, iterations=k, tol=0.0), 3),
    "bicgstab": (lambda k: linear.bicgstab(product, B, iterations=k, tol=0.0), 5),
    "neumann": (lambda k: linear.neumann(product, B, iterations=k, alpha=0.1, tol=0.0), 1),
    "gmres": (lambda k: linear.gmres(product, B, iterations=k, restart=k, tol=0.0), 2),
}


@pytest.mark.parametrize("name", EACH)
def test_an_iteration_of_a_solver_waits_so_often(name: str):
    solve, each = EACH[name]
    assert waits(lambda: solve(5)) - waits(lambda: solve(3)) == 2 * each
    assert waits(lambda: solve(3)) - 3 * each <= 6


def test_several_numbers_are_read_at_once():
    ones = [torch.tensor(1.5), torch.tensor(2.5)]
    assert trees.numbers(*ones) == [1.5, 2.5]
    assert waits(lambda: trees.numbers(*ones)) == 1
