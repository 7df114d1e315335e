"""The left side of a problem's optimality condition, and products with its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from mlograph import trees
from mlograph.trees import Vector

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Residual:
    """The left side of a problem's condition Φ(θ, u) = 0 with its graph.

    Attributes:
        value: Φ = dL/dθ, or a field; parameters that the loss never touches are left out.
        params: θ, the same names.
        reads: parameters of the other problems that the loss reads, by problem.
        again: the same with a graph of autograd's, where this one is compiled: what is compiled
            can be differentiated once, and has zeros where autograd knows that nothing depends.
    """

    value: Vector
    params: Vector
    reads: Mapping[str, Vector]
    again: Callable[[], Residual] | None = None

    def vjp(self, vector: Vector) -> Vector:
        """(∂Φ/∂θ)ᵀ · vector, from the recorded graph: a Hessian product where Φ is a gradient."""
        return filled(self._pull(vector, self.params), self.params)

    def jvp(self, vector: Vector) -> Vector:
        """(∂Φ/∂θ) · vector: the derivative of w ↦ (∂Φ/∂θ)ᵀ w, which is linear in w."""
        if self.again is not None:
            return self.again().jvp(vector)
        outputs = {name: g for name, g in self.value.items() if g.requires_grad}
        if not outputs:
            return trees.zeros_like(self.params)
        with torch.enable_grad():
            w = {name: torch.zeros_like(g, requires_grad=True) for name, g in outputs.items()}
            rows = torch.autograd.grad(
                list(outputs.values()),
                list(self.params.values()),
                list(w.values()),
                create_graph=True,
                allow_unused=True,
            )
            # A row without a graph is zero for every w.
            pairs = [
                (row, vector[name])
                for name, row in zip(self.params, rows, strict=True)
                if row is not None and row.requires_grad
            ]
            if not pairs:
                return trees.zeros_like(self.params)
            product = torch.stack([(row * x).sum() for row, x in pairs]).sum()
            found = torch.autograd.grad(
                product, list(w.values()), retain_graph=True, allow_unused=True
            )
        pushed = {name: x for name, x in zip(w, found, strict=True) if x is not None}
        return filled(pushed, self.params)

    def cross(self, vector: Vector, targets: Iterable[str]) -> dict[str, Vector]:
        """(∂Φ/∂target)ᵀ · vector by target; without the parameters that Φ does not depend on.

        One backward pass, through those terms of the loss alone that read a target.
        """
        flat = {(t, name): x for t in targets for name, x in self.reads[t].items()}
        found: dict[str, Vector] = {target: {} for target in targets}
        for (target, name), x in self._pull(vector, flat).items():
            found[target][name] = x
        return found

    def reaches(self, target: str, names: Iterable[str]) -> bool:
        """Whether moving `target` can move one of the parameters `names`, whatever the numbers are.

        It can if Φ of one of them depends on it, or Φ of another on which theirs depends, and so
        on: J⁻ᵀ connects what J connects.
        """
        if self.again is not None:
            return self.again().reaches(target, names)
        seen, new = set[str](), set(names) & self.value.keys()
        while new:
            seen |= new
            new = depends_on({name: self.value[name] for name in new}, self.params) - seen
        return bool(depends_on({name: self.value[name] for name in seen}, self.reads[target]))

    def _pull(self, vector: Vector, wrt: Mapping[_Key, Tensor]) -> dict[_Key, Tensor]:
        outputs = {name: g for name, g in self.value.items() if g.requires_grad}
        if not outputs:
            return {}
        found = torch.autograd.grad(
            list(outputs.values()),
            list(wrt.values()),
            [vector[name] for name in outputs],
            retain_graph=True,
            allow_unused=True,
        )
        return {name: x for name, x in zip(wrt, found, strict=True) if x is not None}


def depends_on(values: Vector, params: Vector) -> set[str]:
    """The names of `params` by which the derivative of `values` is not zero for its form alone.

    The product of w with a derivative is linear in w; where it is zero for every w, as it is for
    numbers that were rounded or compared, it has no graph that leads to w.
    """
    outputs = {name: x for name, x in values.items() if x.requires_grad}
    if not outputs:
        return set()
    with torch.enable_grad():
        w = [torch.zeros_like(x, requires_grad=True) for x in outputs.values()]
        found = torch.autograd.grad(
            [*outputs.values()], [*params.values()], w, create_graph=True, allow_unused=True
        )
    pairs = zip(params, found, strict=True)
    return {name for name, x in pairs if x is not None and x.requires_grad}


def filled(vector: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Vector:
    """`vector` with zeros for the names of `like` that it lacks."""
    return {
        name: vector[name] if name in vector else torch.zeros_like(tensor)
        for name, tensor in like.items()
    }
