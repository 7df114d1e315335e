"""An inner loop that is recorded as it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil, sqrt
from typing import Any, final

import torch
from torch import Tensor

from mlograph import trees
from mlograph.language.methods import Forward, Unroll
from mlograph.optimizers import read_options, write_state
from mlograph.problem import Evaluation, Moment, Problem
from mlograph.recording.steps import Making, Pass, Point, Read, copied, with_sent
from mlograph.recording.tapes import Graphs, Replays, Tangents, Tape
from mlograph.trees import Vector


@final
class Recording:
    """θ_T as a function of what the loop started from and of all that its losses read.

    The problem's own parameters and buffers follow each step, without a graph. What the losses read
    is copied, since an optimiser may move the originals before the loop is differentiated: once for
    a problem above, which stands still during the loop, and for every pass for a problem below.

    What is kept of the steps is what the problem's method needs; see `tapes`.

    Args:
        problem: whose loop begins.
        below: the problems that move during it.
        targets: the problems that may be asked for in a pull.
    """

    def __init__(
        self, problem: Problem, below: frozenset[str], targets: Iterable[str] = ()
    ) -> None:
        self._problem = problem
        self._below = below
        self._uppers = {
            name: Read.of(model) for name, model in problem.others.items() if name not in below
        }
        self._targets = tuple(targets)
        self._start = self._point = Point.of(problem)
        self._tape = self._new_tape()
        self._making = self._next_step()
        self._pass: Pass | None = None
        self._own: Vector = {}

    def evaluate(self, moment: Moment) -> tuple[Evaluation, Vector, dict[str, Vector]]:
        """One pass: the loss, ∂L/∂θ, and ∂L of each lower problem that it reads."""
        problem = self._problem
        lower = {n: Read.of(model) for n, model in problem.others.items() if n in self._below}
        self._pass = Pass(moment, copied(problem.model.buffers), lower)
        evaluation, self._own, sent = self._making.evaluate(
            self._pass, problem.model.buffers, lower
        )
        return evaluation, self._own, sent

    def accumulate(self, gradient: Vector) -> None:
        """The pass just made counts, `gradient` being ∂L/∂θ and what lower problems sent."""
        assert self._pass is not None, "a pass was made"
        self._making.accumulate(with_sent(self._pass, gradient, self._own), self._own)
        self._forget_pass()

    def drop(self) -> None:
        """Forget what was accumulated: the update is skipped."""
        self._forget_pass()
        self._making = self._next_step()

    def update(self, size: Tensor | None = None) -> Tensor:
        """One step of the optimiser; the problem itself follows it.

        Args:
            size: ‖∂L/∂θ‖ of the only pass, if it is known.

        Returns:
            ‖gradient‖ before clipping.
        """
        problem = self._problem
        if size is None or any(one.sent for one in self._making.passes):
            size = self._making.size()
        made = self._making.update(read_options(problem.optimizer))
        self._tape.add(made)
        write_state(problem.optimizer, problem.model.params, made.end.state)
        params = problem.model.params
        with torch.no_grad():
            torch._foreach_copy_([*params.values()], [made.end.params[name] for name in params])
        self._point = made.end
        self._making = self._next_step()
        return size

    def pull(self, adjoint: Vector, targets: tuple[str, ...]) -> dict[str, Vector]:
        """(dθ_T/dtarget)ᵀ · adjoint for every target; empty where no derivative reaches it."""
        back, sent = self._tape.pull(adjoint, targets)
        start = self._problem.spec.start_from
        if start in sent:
            begun = self._problem.others[start].params
            share = {name: x for name, x in back.items() if name in begun}
            sent[start] = trees.merge(sent[start], share)
        return sent

    def replay(self, reads: Mapping[str, Vector]) -> Vector:
        """θ_T, had some of the problems that the loop reads stood elsewhere.

        The loop runs again from where it began, without a graph, on the same batches, with the same
        random numbers and the same learning rates. It leaves no trace. With `reads` as they were,
        the result is θ_T to the last bit. What problems below sent back to the steps of this one
        stays as it was.

        Args:
            reads: new parameters by problem, all of its trainable ones or some. Where the loop
                starts from the problem, it starts at these. A problem below, which moved while the
                loop ran, is shifted in every pass by the difference to where it stands now.

        Returns:
            All trainable parameters of the loop's problem.
        """
        problem, tape = self._problem, self._tape
        assert isinstance(tape, Replays), "the method's `records` are inputs"
        uppers = {
            name: replace(read, params=read.params | reads.get(name, {}))
            for name, read in self._uppers.items()
        }
        begun = reads.get(problem.spec.start_from or "", {})
        params = {name: begun.get(name, x).detach() for name, x in self._start.params.items()}
        with torch.no_grad():
            moved = {
                name: {n: x - problem.others[name].params[n] for n, x in vector.items()}
                for name, vector in reads.items()
                if name in self._below
            }
            return tape.rerun(replace(self._start, params=params), uppers, moved).params

    def state_dict(self) -> dict[str, Any]:
        """The loop so far, as inputs of its steps; graphs are made again of these."""
        return {
            "uppers": self._uppers,
            "start": self._start,
            "point": self._point,
            "tape": self._tape.state_dict(),
            "passes": list(self._making.passes),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave, the problem being where it was."""
        self._uppers = state["uppers"]
        self._start, self._point = state["start"], state["point"]
        self._tape = self._new_tape()
        self._tape.load_state_dict(state["tape"])
        self._making = self._next_step()
        for one in state["passes"]:
            with one.moment.random.replayed(self._problem.device):
                self._making.repeat(one)

    def _forget_pass(self) -> None:
        # Its gradient would hold the graph of the whole step.
        self._pass, self._own = None, {}

    def _next_step(self) -> Making:
        return Making(
            self._problem,
            self._point,
            self._uppers,
            passes=self._problem.spec.gradient_accumulation,
            graph=self._tape.graphs,
        )

    def _new_tape(self) -> Tape:
        problem, uppers = self._problem, self._uppers
        match problem.spec.hypergradient:
            case Forward():
                directions = {name: problem.others[name].params for name in sorted(self._targets)}
                return Tangents(self._start, problem.spec.start_from, directions)
            case Unroll(checkpoint="none", truncate=last):
                return Graphs(problem, uppers, last)
            case Unroll(checkpoint=checkpoint, truncate=last):
                length = min(problem.spec.unroll_steps, last or problem.spec.unroll_steps)
                every = 1 if checkpoint == "steps" else ceil(sqrt(length))
                return Replays(problem, uppers, every=every, last=last)
            case _:
                return Replays(problem, uppers)
