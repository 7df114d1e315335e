"""Small graphs to bind and to run, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mlograph import Graph
from mlograph.bind import bind
from mlograph.components import Imports
from mlograph.errors import GraphError, MlographError
from mlograph.program import Program
from mlograph.result import RunResult

Batch = tuple[Tensor, Tensor]


def problem(module: object, loss: object, **rest: Any) -> dict[str, Any]:
    """A problem in float64 on SGD with a rate of 0.1, unless `rest` says otherwise."""
    sgd = {"_target_": "sgd", "lr": 0.1}
    return {"optimizer": sgd, "precision": "float64", **rest, "module": module, "loss": loss}


def pair(upper: Mapping[str, Any], lower: Mapping[str, Any], **rest: Any) -> Graph:
    """A bilevel graph of problems named `upper` and `lower`, with both edges."""
    return graph(
        {"upper": upper, "lower": lower},
        edges=[("u2l", "upper", "lower"), ("l2u", "lower", "upper")],
        **rest,
    )


def graph(problems: Mapping[str, Any], *, steps: int = 1, **rest: Any) -> Graph:
    """A graph that runs on the CPU."""
    engine = {"device": "cpu", "steps": steps, **rest.pop("engine", {})}
    return Graph(problems=problems, engine=engine, **rest)


def bound(declared: Graph, folder: Path | None = None, allow: Sequence[str] = ()) -> Program:
    """The graph with everything in it built, as a run begins."""
    imports = Imports(folder, tuple(allow))
    return bind(declared.structure, declared.plan(), imports)


def complaints(call: Callable[[], object]) -> list[str]:
    """The faults that a call raises, as `path: message (hint)`."""
    with pytest.raises(GraphError) as caught:
        call()
    return [str(fault) for fault in caught.value.faults]


def failure(call: Callable[[], object]) -> str:
    """The message of the error that a call raises."""
    with pytest.raises(MlographError) as caught:
        call()
    return str(caught.value)


def trained(declared: Graph) -> RunResult:
    """The result of a run that shows nothing."""
    return declared.run(quiet=True)


def weights(result: RunResult, name: str) -> list[Tensor]:
    """The parameters of a problem after a run."""
    return [p.detach().clone() for p in result.modules[name].parameters()]


def line(inputs: int = 3, outputs: int = 1, seed: int = 0) -> nn.Linear:
    """A linear layer in float64 with known weights."""
    layer = nn.Linear(inputs, outputs, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in layer.parameters():
            param.copy_(torch.randn(param.shape, generator=generator, dtype=param.dtype))
    return layer


def points(number: int = 8, inputs: int = 3, outputs: int = 1, seed: int = 1) -> Batch:
    """Inputs and targets in float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(number, inputs, generator=generator, dtype=torch.float64)
    return x, torch.randn(number, outputs, generator=generator, dtype=torch.float64)


class Batches:
    """An iterable of ready batches, in order; it counts what was read."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches
        self.read = 0

    def __iter__(self) -> Any:
        for batch in self.batches:
            self.read += 1
            yield batch


class CountingEnv:
    """An Env whose every batch `number` tells how often it stepped, and which can be split."""

    batches = ("number",)

    def __init__(self, seed: int = 0) -> None:
        self.count = seed

    def step(self) -> Mapping[str, Tensor]:
        self.count += 1
        return {"number": torch.tensor([float(self.count)])}

    def split(self, name: str, *, seed: int) -> CountingEnv:
        return CountingEnv(seed)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]
