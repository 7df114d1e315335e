"""The graph of one step, and derivatives by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlograph import trees
from mlograph.optimizers import OptimizerState
from mlograph.trees import Vector


@dataclass(frozen=True)
class Link:
    """The graph of one step, from leaves of its own.

    θ and s are carried from step to step as one vector: parameters by their names, entries of the
    optimiser's state by `state_key`.

    Attributes:
        inputs: (θ, s).
        reads: the parameters of every other problem: one copy of each above, one for every pass of
            each below.
        outputs: (θ', s').
    """

    inputs: Vector
    reads: Mapping[str, tuple[Vector, ...]]
    outputs: Vector

    def vjp(
        self, adjoint: Vector, targets: tuple[str, ...], *, keep: bool, further: bool = True
    ) -> tuple[Vector, dict[str, Vector]]:
        """(∂(θ', s')/∂(θ, s))ᵀ · adjoint, and (∂(θ', s')/∂target)ᵀ · adjoint of every target.

        Names that nothing depends on are left out. Without `keep`, the graph is gone after this.
        The first product is empty, and costs nothing, where it is not to go `further`.
        """
        sent: dict[str, Vector] = {target: {} for target in targets}
        outputs = {n: x for n, x in self.outputs.items() if n in adjoint and x.requires_grad}
        if not outputs:
            return {}, sent
        owners = [(target, copy) for target in targets for copy in self.reads[target]]
        inputs = self.inputs if further else {}
        leaves = [*inputs.values(), *(x for _, copy in owners for x in copy.values())]
        if not leaves:
            return {}, sent
        found = iter(
            torch.autograd.grad(
                [*outputs.values()],
                leaves,
                [adjoint[name] for name in outputs],
                retain_graph=keep,
                allow_unused=True,
            )
        )
        back = {name: x for name in inputs if (x := next(found)) is not None}
        for target, copy in owners:
            share = {name: x for name in copy if (x := next(found)) is not None}
            sent[target] = trees.merge(sent[target], share)
        return back, sent

    def jvp(
        self, carried: Mapping[str, Tensor], reads: Mapping[str, Mapping[str, Tensor]]
    ) -> tuple[Vector, set[tuple[str, str]]]:
        """∂(θ', s')/∂(θ, s) · carried + Σ ∂(θ', s')/∂target · reads, for m directions at once.

        The derivative of w ↦ (∂(θ', s')/∂·)ᵀ w, which is linear in w: one backward pass for the
        map, and one of it for each direction.

        Args:
            carried: by name, of shape (m, …); a name that is left out stands for a zero.
            reads: by target and name, of shape (m, …); all copies of a target move alike.

        Returns:
            By name, of shape (m, …), and what of the targets (θ', s') depends on directly, by
            target and name.
        """
        outputs = {name: x for name, x in self.outputs.items() if x.requires_grad}
        pairs = [
            (self.inputs[name], x, ("", name)) for name, x in carried.items() if name in self.inputs
        ]
        for target, moved in reads.items():
            copies = self.reads[target]
            pairs += [(copy[n], x, (target, n)) for copy in copies for n, x in moved.items()]
        if not outputs or not pairs:
            return {}, set()
        with torch.enable_grad():
            w = {name: torch.zeros_like(x, requires_grad=True) for name, x in outputs.items()}
            rows = torch.autograd.grad(
                [*outputs.values()],
                [leaf for leaf, _, _ in pairs],
                [*w.values()],
                create_graph=True,
                allow_unused=True,
            )
        # A row without a graph is zero for every w: that of a rounded number, or one replaced.
        used = [
            (row, x, key)
            for row, (_, x, key) in zip(rows, pairs, strict=True)
            if row is not None and row.requires_grad
        ]
        if not used:
            return {}, set()
        columns = [
            torch.autograd.grad(
                [row for row, _, _ in used],
                [*w.values()],
                [x[direction] for _, x, _ in used],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for direction in range(len(used[0][1]))
        ]
        stacked = (torch.stack(column) for column in zip(*columns, strict=True))
        return dict(zip(w, stacked, strict=True)), {key for _, _, key in used if key[0]}


# The number of steps and what follows from it alone, and ASGD's average, which moves nothing.
_APART = frozenset({"step", "mu_product", "eta", "mu", "ax"})


def state_key(name: str, entry: str) -> str:
    """What an entry of the optimiser's state is called in a carried vector."""
    return f"{name} | {entry}"


def _is_carried(entry: str, value: object) -> bool:
    return entry not in _APART and isinstance(value, Tensor) and value.is_floating_point()


def carried(params: Vector, state: OptimizerState) -> Vector:
    """(θ, s) as one vector: what a step can be differentiated by."""
    found = dict(params)
    for name, entries in state.items():
        for entry, value in entries.items():
            if _is_carried(entry, value):
                found[state_key(name, entry)] = value
    return found


def differentiable(state: OptimizerState) -> OptimizerState:
    """The same numbers as leaves of a new graph."""

    def leaf(entry: str, value: Any) -> Any:
        return value.detach().requires_grad_() if _is_carried(entry, value) else value

    return {name: {e: leaf(e, x) for e, x in entries.items()} for name, entries in state.items()}
