"""A run, lent to a validator: everything that happens in a trial is undone at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mlograph.batches import moved
from mlograph.envs.protocol import Env
from mlograph.errors import UsageError
from mlograph.executor import Executor
from mlograph.problem import Evaluation, Moment, Problem
from mlograph.program import Program
from mlograph.randomness import RandomState, untouched
from mlograph.readings import undisturbed
from mlograph.state import preserved


@final
@dataclass(frozen=True)
class Trial:
    """What a validator may ask of a run.

    Attributes:
        program: the problems of the run.
        executor: carries out instructions.
        counted: the problem whose updates are counted.
        final: the run is over, so this validation may take its time.
    """

    program: Program
    executor: Executor
    counted: str
    final: bool

    @property
    def env(self) -> Env:
        """The Env of the run.

        Raises:
            UsageError: there is none.
        """
        if self.program.env is None:
            raise UsageError("engine.validate: the validator needs an 'env', and there is none")
        return self.program.env.env

    @property
    def device(self) -> torch.device:
        """Where the run computes."""
        return self._problem(self.counted).device

    def module(self, name: str) -> nn.Module:
        """The module of a problem, to be read or, within `preserved`, changed."""
        return self._problem(name).model.module

    def adapt(self, env: Env, tasks: int) -> dict[str, Tensor]:
        """Run the inner loops anew on `tasks` tasks of `env`, and judge each result.

        For every task: what the plan does up to a backward pass of the counted problem, then
        that problem's loss, in evaluation mode and without gradients.

        Returns:
            The loss and the metrics by name, each of shape (tasks,), on the CPU.
        """
        found: dict[str, list[Tensor]] = {}
        judge = self._problem(self.counted)
        below = [self._problem(name) for name in self.program.below[self.counted]]
        assert self.program.env is not None, "there is an Env to take the place of"
        with self.preserved(*below, judge), self.program.env.replaced(env):
            for _ in range(tasks):
                # A loop that does not start anew must not go on from the last task's result.
                with preserved(problem for problem in below if problem.spec.start_from is None):
                    for instruction in self.program.plan.inner:
                        self.executor.execute(instruction)
                    evaluation = self._judge(judge, judge.feed.next())
                for name, value in self._named(evaluation).items():
                    found.setdefault(name, []).append(value)
        return {name: torch.stack(values).float().cpu() for name, values in found.items()}

    def evaluate(self, name: str, batches: Iterable[Any]) -> dict[str, float]:
        """The mean loss and metrics of a problem over all `batches`, weighted by their sizes."""
        problem = self._problem(name)
        sums: dict[str, float] = {}
        total = 0
        # Shuffled data come in the same order each time: sums depend on it in their last bits.
        with self.preserved(), undisturbed(batches):
            for batch in batches:
                size = _size(batch)
                for key, value in self._named(self._judge(problem, batch)).items():
                    sums[key] = sums.get(key, 0.0) + size * float(value)
                total += size
        if not total:
            raise UsageError("engine.validate: the data gave no batch, or can be read only once")
        return {key: value / total for key, value in sums.items()}

    @contextmanager
    def preserved(self, *problems: Problem) -> Iterator[None]:
        """Random numbers, records, data and the given problems are as before when this ends."""
        with ExitStack() as stack:
            stack.enter_context(untouched(self.device))
            stack.enter_context(preserved(problems))
            stack.enter_context(self.executor.aside(self.counted))
            for problem in problems:
                stack.enter_context(problem.feed.aside())
            yield

    @contextmanager
    def evaluating(self, *modules: nn.Module) -> Iterator[None]:
        """Modules in evaluation mode, without gradients; random numbers are as before after it."""
        with self.preserved(), torch.no_grad(), _evaluation_mode(modules):
            yield

    def with_module(self, change: Callable[[nn.Module], None], then: Callable[[], Any]) -> Any:
        """What `then` gives while the counted problem's module is as `change` makes it."""
        problem = self._problem(self.counted)
        with preserved([problem]):
            with torch.no_grad():
                change(problem.model.module)
            return then()

    def _problem(self, name: str) -> Problem:
        return self.program.problems[name]

    def _judge(self, problem: Problem, batch: Any) -> Evaluation:
        dtype = torch.float64 if problem.spec.precision == "float64" else None
        moment = Moment(
            moved(batch, self.device, dtype),
            problem.updates,
            RandomState.capture(self.device),
        )
        modules = [problem.model.module, *(model.module for model in problem.others.values())]
        with torch.no_grad(), _evaluation_mode(modules):
            return problem.evaluate(problem.views(), moment)

    def _named(self, evaluation: Evaluation) -> dict[str, Tensor]:
        return {"loss": evaluation.loss, **evaluation.metrics}


@contextmanager
def _evaluation_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    flags = [(part, part.training) for module in modules for part in module.modules()]
    for part, _ in flags:
        part.training = False
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training


def _size(batch: Any) -> int:
    """The number of samples of a batch: the length of its first tensor."""
    tensors = (leaf for leaf in pytree.tree_leaves(batch) if isinstance(leaf, Tensor))
    first = next(tensors, None)
    return 1 if first is None or not first.dim() else len(first)
