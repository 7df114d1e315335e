"""Graphs that the tests of diagrams and of the printed plan share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlograph.graph import ProblemGraph
from mlograph.language.spec import GraphSpec
from mlograph.plan import Plan
from mlograph.scheduler import schedule


def compiled(spec: dict[str, Any]) -> tuple[ProblemGraph, Plan]:
    graph = ProblemGraph(GraphSpec.model_validate({"mlograph": 1, **spec}))
    return graph, schedule(graph)


def problem(**given: Any) -> dict[str, Any]:
    return {
        "module": "torch.nn.Linear",
        "loss": "losses.loss",
        "optimizer": "torch.optim.SGD",
    } | given


def edges(*pairs: str) -> list[dict[str, str]]:
    return [{kind: ends.strip()} for kind, ends in (pair.split(":") for pair in pairs)]


def imaml() -> dict[str, Any]:
    return {
        "name": "imaml",
        "description": "Implicit MAML (Rajeswaran et al., 2019): 5-way 5-shot characters.",
        "env": {"_target_": "mlograph.envs.FewShotEnv", "ways": 5},
        "problems": {
            "outer": problem(
                module={"_target_": "mlograph.nn.ConvNet", "hidden": 64},
                optimizer={"_target_": "torch.optim.AdamW", "lr": 3e-4},
                data="env.query",
                gradient_accumulation=16,
            ),
            "inner": problem(
                module={"copy": "outer"},
                start_from="outer",
                data="env.support",
                unroll_steps=5,
                hypergradient={"method": "cg", "iterations": 5},
            ),
        },
        "edges": edges("u2l: outer -> inner", "l2u: inner -> outer"),
        "engine": {"steps": 7500, "of": "outer"},
    }


def single() -> dict[str, Any]:
    return {"name": "single", "problems": {"only": problem(gradient_accumulation=4)}}


def trilevel() -> dict[str, Any]:
    return {
        "name": "trilevel",
        "problems": {
            "top": problem(optimizer="adamw"),
            "mid": problem(unroll_steps=2, hypergradient="neumann"),
            "leaf": problem(unroll_steps=3, hypergradient={"method": "darts", "scale": "lr"}),
        },
        "edges": edges(
            "u2l: top -> mid", "u2l: mid -> leaf", "l2u: leaf -> mid", "l2u: mid -> top"
        ),
    }


def diamond() -> dict[str, Any]:
    return {
        "name": "diamond",
        "problems": {
            "top": problem(module="mlograph.nn.Weigher", optimizer="torch.optim.Adam"),
            "left": problem(unroll_steps=2),
            "right": problem(unroll_steps=2, hypergradient="exact"),
            "base": problem(unroll_steps=3, hypergradient={"method": "cg", "iterations": 20}),
        },
        "edges": edges(
            "u2l: top -> base",
            "l2u: base -> left",
            "l2u: base -> right",
            "l2u: left -> top",
            "l2u: right -> top",
        ),
    }


def hidden_path() -> dict[str, Any]:
    """`first` moves `between` moves `last`, which only then stands in the loss of `first`."""
    return {
        "name": "hidden-path",
        "problems": {"first": problem(), "between": problem(), "last": problem()},
        "edges": edges("u2l: first -> between", "u2l: between -> last", "l2u: last -> first"),
        "engine": {"of": "first", "steps": 10},
    }


def warmup() -> dict[str, Any]:
    return {
        "name": "warm-up",
        "env": "gym.make",
        "problems": {
            "weigher": problem(data={"clean": "env.clean", "more": "loaders.more"}),
            "classifier": problem(
                data="env.noisy",
                unroll_steps=2,
                gradient_accumulation=3,
                warmup_steps=100,
                hypergradient="first_order",
            ),
        },
        "edges": edges("u2l: weigher -> classifier", "l2u: classifier -> weigher"),
        "engine": {"steps": 1000},
    }


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "imaml": imaml,
    "single": single,
    "trilevel": trilevel,
    "diamond": diamond,
    "hidden-path": hidden_path,
    "warm-up": warmup,
}
