"""A small graph, and what the language says about changed ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mlograph.errors import GraphError
from mlograph.language import loads

GRAPH = """\
mlograph: 1
name: tiny
vars: {rate: 0.1, list: [1, 2]}
problems:
  upper:
    module: torch.nn.Identity
    loss: {_target_: losses.upper, model: lower}
    optimizer: {_target_: torch.optim.Adam, lr: 1e-3}
  lower:
    module: {copy: upper}
    loss: losses.lower
    optimizer: torch.optim.SGD
    unroll_steps: 5
    hypergradient: {method: cg, iterations: 3}
edges:
  - u2l: upper -> lower
  - l2u: lower -> upper
"""


def complaints(text: str, overrides: Sequence[str] = ()) -> list[str]:
    """The first line of each fault of a text named `g.yaml`."""
    with pytest.raises(GraphError) as caught:
        loads(text, "g.yaml", overrides)
    return [str(fault).split("\n")[0] for fault in caught.value.faults]


def changed(old: str, new: str) -> str:
    """`GRAPH` with one text replaced."""
    assert GRAPH.count(old) == 1, f"{old!r} must stand once in the graph"
    return GRAPH.replace(old, new)


def variables(block: str) -> dict[str, object]:
    """What the variables of a graph are read as; `block` stands under `vars:`, unindented."""
    lines = "".join(f"  {line}\n" for line in block.splitlines())
    return loads(changed("vars: {rate: 0.1, list: [1, 2]}\n", f"vars:\n{lines}")).spec.vars
