"""Small graphs to compile, and ways to do so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from builders import Batches, bound, graph, pair, points, problem
from torch import Tensor, nn

from mlograph import Graph
from mlograph.compiling import Compiling
from mlograph.compiling.region import Backend
from mlograph.executor import Executor
from mlograph.program import Program
from mlograph.randomness import seed_everything

CROSS_ENTROPY = {"_target_": "cross_entropy", "model": "lower"}
MSE = {"_target_": "mse", "model": "lower"}


def traced(graph: Any, example: Any) -> Any:
    """All that a compiler does but machine code: traced, differentiated and run operation-wise."""
    from torch._dynamo.backends.debugging import aot_eager

    return aot_eager(graph, example)


def alone(module: nn.Module | None = None, **rest: Any) -> Graph:
    """One problem, `lower`: a classifier of 8 points."""
    mlp = {"_target_": "mlograph.nn.MLP", "sizes": [4, 5, 3]}
    data = Batches((points(8, 4)[0], torch.arange(8) % 3))
    settings = {"data": data, "loss": CROSS_ENTROPY, **rest}
    return graph({"lower": problem(module or mlp, **settings)}, steps=4)


def reweighting(hypergradient: object = "darts", **lower: Any) -> Graph:
    """Learning to weigh samples (Meta-Weight-Net), very small."""
    x, _ = points(12, 4)
    labels = torch.arange(12) % 3
    batch = Batches((x, labels), (x[:7].flip(0), labels[:7]))
    mlp: dict[str, Any] = {"_target_": "mlograph.nn.MLP", "sizes": [4, 5, 3]}
    weigher: dict[str, Any] = {"_target_": "mlograph.nn.Weigher", "hidden": 3}
    loss = {
        "_target_": "mlograph.losses.reweighted_cross_entropy",
        "classifier": "lower",
        "weigher": "upper",
        "normalize": True,
    }
    rest = {"data": batch, "hypergradient": hypergradient, "unroll_steps": 2, **lower}
    return pair(
        problem(weigher, CROSS_ENTROPY, data=batch),
        problem(rest.pop("module", mlp), rest.pop("loss", loss), **rest),
        steps=4,
    )


def penalties() -> Graph:
    """A penalty for each weight of a regression, by conjugate gradients."""
    upper = {"_target_": "mlograph.nn.Tensors", "log_penalty": [3], "init": -1.0}
    lower = {"_target_": "mlograph.nn.MLP", "sizes": [3, 1]}
    penalty = {"_target_": "mlograph.losses.weighted_l2", "model": "lower", "penalties": "upper"}
    rest = {"hypergradient": {"method": "cg", "iterations": 4}, "unroll_steps": 3}
    return pair(
        problem(upper, MSE, data=Batches(points(8, seed=2))),
        problem(lower, [MSE, penalty], data=Batches(points(8)), **rest),
        steps=4,
    )


class Normed(nn.Module):
    """A network with an affine batch normalisation that keeps statistics."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.layers = nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Softplus(), nn.Linear(4, 1)
        )
        with torch.no_grad():
            for param in self.parameters():
                param.copy_(0.5 * torch.randn(param.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def implicit_maml(hypergradient: object) -> Graph:
    """Inner loops near an outer network whose batch normalisation keeps statistics."""
    held = {"_target_": "proximal", "model": "lower", "anchor": "upper", "weight": 2.0}
    rest = {"hypergradient": hypergradient, "unroll_steps": 2, "start_from": "upper"}
    return pair(
        problem(Normed().double(), MSE, data=Batches(points(6, seed=4))),
        problem(
            Normed().double(),
            [MSE, {**held, "only": "layers.0.*"}, held],
            data=Batches(points(6)),
            **rest,
        ),
        steps=3,
    )


def stepped(
    declared: Graph,
    how: Any = "off",
    compiler: Backend = traced,
    periods: int = 2,
    after: Callable[[Program], None] = lambda program: None,
) -> tuple[Program, Compiling]:
    """A program after some periods of its plan, with what was compiled of it."""
    seed_everything(0)
    program = bound(declared)
    compiling = Compiling.of(how, program.problems, program.plan, compiler)
    executor = Executor(program)
    for instruction in program.plan.prologue:
        executor.execute(instruction)
    for _ in range(periods):
        for instruction in program.plan.executed:
            executor.execute(instruction)
        after(program)
    return program, compiling


def state(program: Program) -> Mapping[str, Tensor]:
    """All parameters and buffers."""
    return {
        f"{name}.{key}": x.detach().clone()
        for name, one in program.problems.items()
        for key, x in one.model.tensors().items()
    }


def assert_same(one: Program, other: Program, tolerance: float = 1e-9) -> None:
    """All parameters and buffers agree."""
    expected = state(other)
    for name, x in state(one).items():
        torch.testing.assert_close(x, expected[name], rtol=tolerance, atol=tolerance)
