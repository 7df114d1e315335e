"""What inner loops and hypergradient methods ask of what was built."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import bound, line
from small_graphs import nudge, only, two
from torch import nn


def test_an_inner_loop_starts_only_from_the_same_architecture():
    fault = only(two(lower={"module": line(4), "start_from": "upper"}))
    assert fault == (
        "problems.lower.start_from: 'lower' cannot start from 'upper': their parameters differ in "
        "names or shapes (write 'module: {copy: upper}')"
    )


class Undifferentiable(torch.optim.Optimizer):
    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1})

    def step(self, closure: Any = None) -> None: ...


def test_only_differentiable_optimisers_can_be_unrolled():
    lower = {"optimizer": Undifferentiable, "hypergradient": "unroll"}
    assert only(two(lower=lower)) == (
        "problems.lower.optimizer: torch cannot differentiate a step of Undifferentiable "
        "('unroll' needs an optimiser with 'differentiable', as Adam has it)"
    )
    bound(two(lower={"optimizer": Undifferentiable, "hypergradient": "cg"}))
    bound(two(upper={"optimizer": Undifferentiable}, lower={"hypergradient": "unroll"}))


@pytest.mark.parametrize("method", ["unroll", "es"])
def test_an_fp16_loop_cannot_be_gone_through_again(method: str):
    lower = {"precision": "fp16", "module": nn.Linear(3, 1), "hypergradient": method}
    assert only(two(lower=lower)) == (
        f"problems.lower.precision: '{method}' cannot go through an fp16 inner loop again "
        "(use bf16)"
    )


@pytest.mark.parametrize("method", ["unroll", "es"])
@pytest.mark.parametrize("hook", ["on_gradient", "after_update"])
def test_a_loop_that_is_gone_through_again_has_only_plain_updates(hook: str, method: str):
    fault = only(two(lower={"callbacks": {hook: nudge}, "hypergradient": method}))
    assert fault.startswith(f"problems.lower.callbacks.{hook}: '{hook}' changes what '{method}'")
    begin = {"on_inner_loop_start": nudge}
    bound(two(lower={"callbacks": begin, "hypergradient": method}))
