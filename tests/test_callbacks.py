"""What the callbacks of the library do to a problem."""

from __future__ import annotations

from typing import Any

from builders import Batches, line, pair, points, problem, trained
from torch import Tensor

from mlograph.views import View


def test_every_inner_loop_begins_at_zero():
    seen: list[float] = []

    def watched(lower: View, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        seen.append(sum(float(p.detach().abs().sum()) for p in lower.parameters()))
        return (lower(x) - y).square().mean()

    data: dict[str, Any] = {"data": Batches(points())}
    upper = problem(line(), {"_target_": "mse", "model": "lower"}, **data)
    lower = problem(
        line(seed=3),
        watched,
        unroll_steps=2,
        hypergradient="unroll",
        callbacks={"on_inner_loop_start": "mlograph.callbacks.from_zero"},
        **data,
    )
    upper["loss"] = [upper["loss"], {"_target_": "l2", "model": "upper"}]
    lower["loss"] = [watched, {"_target_": "proximal", "model": "lower", "anchor": "upper"}]
    trained(pair(upper, lower, steps=2))
    assert [value == 0 for value in seen] == [True, False, True, False]
