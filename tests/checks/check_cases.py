"""Graphs for the checks, and what these say of them."""

from __future__ import annotations

from typing import Any

from random_graphs import unchecked

from mlograph.checks import examine, faults_of
from mlograph.language import reads

PAIR = ["u2l: outer -> inner", "l2u: inner -> outer"]
DIAMOND = ["l2u: base -> left", "l2u: base -> right", "l2u: left -> top", "l2u: right -> top"]

# Sound: every kind of problem, edge and reference is in it, each apart from the others.
GRAPH = """\
mlograph: 1
name: whole
vars: {rate: 0.1}
env: {_target_: mlograph.envs.SineEnv}
problems:
  meta:
    module: torch.nn.Identity
    loss: mse
    optimizer: adam
    precision: float32
  task:
    module: {copy: meta}
    start_from: meta
    warmup_steps: 0
    data: env.support
    loss: mse
    optimizer: {_target_: sgd, lr: "${vars.rate}"}
    freeze: bias
  judge: {module: m, loss: l, optimizer: o}
  clerk: {module: m, loss: l, optimizer: o, unroll_steps: 4}
  guard:
    module: m
    loss: l
    optimizer: o
    unroll_steps: 4
  boss: {module: m, loss: l, optimizer: o, unequal_unroll: true}
  left: {module: m, loss: l, optimizer: o, unroll_steps: 2}
  right: {module: m, loss: l, optimizer: o, unroll_steps: 2}
  base: {module: m, loss: l, optimizer: o}
  hen: {module: m, loss: l, optimizer: o}
  egg: {module: m, loss: l, optimizer: o}
  tutor: {module: m, loss: l, optimizer: o}
  pupil: {module: m, loss: l, optimizer: o}
  slow: {module: m, loss: l, optimizer: o}
  fast: {module: m, loss: l, optimizer: o, unroll_steps: 9}
edges:
  - u2l: meta -> task
  - l2u: task -> meta
  - l2u: clerk -> judge
  - u2l: judge -> guard
  - l2u: guard -> judge
  - u2l: boss -> base
  - l2u: base -> left
  - l2u: base -> right
  - l2u: left -> boss
  - l2u: right -> boss
  - u2l: hen -> egg
  - l2u: egg -> hen
  - l2u: fast -> slow
  - u2l: tutor -> pupil
  # another edge
  # and another
  - l2u: pupil -> tutor
engine:
  steps: 100
  of: meta
"""


def plain(*names: str) -> dict[str, dict[str, Any]]:
    return {name: {} for name in names}


def complaints(problems: dict[str, dict[str, Any]], edges: list[str], **more: Any) -> list[str]:
    """All faults of a graph of the right form, as `path: message (hint)`.

    A problem is given by what it does not share with all others; the first one is counted.
    """
    return list(map(str, examine(unchecked(problems, edges, **more).spec)))


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """The text with some texts replaced, each of which stands in it once."""
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} must stand once in the graph"
        text = text.replace(old, new)
    return text


def told(text: str, *overrides: str) -> list[str]:
    """All faults of a text, as `line:column: path: message (hint)`; those of overrides after it."""
    reading = reads(text, "g", overrides)
    listed = reading.source.listed(faults_of(reading.draft))
    return [str(fault).split("\n")[0].removeprefix("g:") for fault in listed]


def places(text: str, *overrides: str) -> list[str]:
    """Only `line:column` of each fault."""
    return [fault.split(": ")[0] for fault in told(text, *overrides)]
