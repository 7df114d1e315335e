"""What is measured on data that training never sees."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlograph.batches import checked_batches, moved
from mlograph.data import FullBatch
from mlograph.envs.few_shot import FewShotEnv
from mlograph.envs.protocol import Env, SplitEnv
from mlograph.errors import UsageError, did_you_mean
from mlograph.trial import Trial


@runtime_checkable
class Validator(Protocol):
    """Measures a run from time to time, without leaving a trace in it."""

    def baselines(self, trial: Trial) -> Mapping[str, Mapping[str, float]]:
        """What to compare with, by name; called once, before the first step."""
        ...

    def validate(self, trial: Trial) -> Mapping[str, float]:
        """Metrics by name."""
        ...


_BASELINES = ("untrained", "transfer")


@final
class Adaptation:
    """How well the counted problem adapts to tasks of held-out classes.

    Each task runs the plan's own inner loops, with the graph's own optimiser, steps and losses,
    and judges the result by the counted problem's loss on the task's query.

    Args:
        tasks: tasks of a validation during the run; always the same ones.
        final_tasks: tasks of the validation at the end; as many as `tasks` by default.
        split: of the Env.
        baselines: `untrained` (adapting from the initial weights) and `transfer` (adapting from
            weights trained as an ordinary classifier of the training classes, with a new head;
            where the head is another problem's, the features below it).
        transfer_steps: updates of the transfer baseline's training, on batches of 128.
        seed: of the tasks.
    """

    def __init__(
        self,
        tasks: int = 100,
        *,
        final_tasks: int | None = None,
        split: str = "test",
        baselines: Sequence[str] = ("untrained",),
        transfer_steps: int = 500,
        seed: int = 1_000_003,
    ) -> None:
        for name in baselines:
            if name not in _BASELINES:
                raise UsageError(f"baselines: no '{name}' ({did_you_mean(name, _BASELINES)})")
        self._tasks = tasks
        self._final_tasks = final_tasks or tasks
        self._split = split
        self._baselines = tuple(baselines)
        self._transfer_steps = transfer_steps
        self._seed = seed

    def baselines(self, trial: Trial) -> Mapping[str, Mapping[str, float]]:
        """The baselines that were asked for, measured as at the end of the run."""
        found: dict[str, Mapping[str, float]] = {}
        if "untrained" in self._baselines:
            found["untrained"] = self._measure(trial, self._final_tasks)
        if "transfer" in self._baselines:
            body = self._transfer(trial)
            whole = _starts_loops(trial)
            found["transfer"] = trial.with_module(
                lambda module: _load_body(module, body, whole),
                lambda: self._measure(trial, self._final_tasks),
            )
        return found

    def validate(self, trial: Trial) -> Mapping[str, float]:
        """The metrics, each a mean."""
        return self._measure(trial, self._final_tasks if trial.final else self._tasks)

    def _measure(self, trial: Trial, tasks: int) -> dict[str, float]:
        found = trial.adapt(self._env(trial), tasks)
        means = {name: float(values.mean()) for name, values in found.items()}
        if "accuracy" in found and tasks > 1:
            means["accuracy_ci95"] = 1.96 * float(found["accuracy"].std()) / tasks**0.5
        return means

    def _env(self, trial: Trial) -> Env:
        env = trial.env
        if not isinstance(env, SplitEnv):
            raise UsageError(
                "engine.validate: Adaptation needs an Env with a 'split' method (held-out tasks)"
            )
        return env.split(self._split, seed=self._seed)

    def _transfer(self, trial: Trial) -> nn.Module:
        """The counted problem's network, trained as a plain classifier of all training classes."""
        env = trial.env
        if not isinstance(env, FewShotEnv):
            raise UsageError("baselines: 'transfer' needs a FewShotEnv")
        images, labels = env.examples()
        body = copy.deepcopy(trial.module(trial.counted))
        dtype = next(body.parameters()).dtype
        few, _ = moved((images[:2], labels[:2]), trial.device, dtype)
        if _starts_loops(trial):
            network = _with_new_head(body, int(labels.max()) + 1)
        else:
            network = _with_head_on_top(body, few, int(labels.max()) + 1)
        network.to(trial.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        draw = torch.Generator().manual_seed(self._seed)
        for _ in range(self._transfer_steps):
            index = torch.randint(len(labels), (128,), generator=draw)
            x, y = moved((images[index], labels[index]), trial.device, dtype)
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return body


@final
class Evaluate:
    """A problem's own loss and metrics on other data.

    Args:
        problem: whose loss.
        data: batches: a DataLoader or an iterable that ends, or `mlograph.data.full_batch`.

    Raises:
        UsageError: the data are not batches.
    """

    def __init__(self, problem: str, data: Iterable[Any]) -> None:
        self._problem = problem
        # A full batch goes on for ever; once is enough.
        self._data = (data.batch,) if isinstance(data, FullBatch) else checked_batches(data)

    def baselines(self, trial: Trial) -> Mapping[str, Mapping[str, float]]:
        """The baselines that were asked for, measured as at the end of the run."""
        return {"untrained": self.validate(trial)}

    def validate(self, trial: Trial) -> Mapping[str, float]:
        """The metrics, each a mean."""
        if self._problem not in trial.program.problems:
            hint = did_you_mean(self._problem, trial.program.problems)
            raise UsageError(f"engine.validate.problem: no problem '{self._problem}' ({hint})")
        return trial.evaluate(self._problem, self._data)


def _head(network: nn.Module) -> tuple[str, nn.Linear] | None:
    """The last linear layer and its name."""
    heads = [(n, part) for n, part in network.named_modules() if isinstance(part, nn.Linear)]
    return heads[-1] if heads else None


def _with_new_head(network: nn.Module, outputs: int) -> nn.Module:
    """Give the head `outputs` outputs."""
    found = _head(network)
    if found is None:
        raise UsageError("baselines: 'transfer' needs a module that ends in a torch.nn.Linear")
    name, head = found
    new = nn.Linear(head.in_features, outputs, dtype=head.weight.dtype)
    network.set_submodule(name, new)
    return network


def _with_head_on_top(body: nn.Module, few: Tensor, outputs: int) -> nn.Module:
    """`body` and a linear layer on its features, where no inner loop starts at the body."""
    with torch.no_grad():
        features = body(few).flatten(1)
    head = nn.Linear(features.shape[1], outputs, dtype=features.dtype)
    return nn.Sequential(body, nn.Flatten(), head)


def _starts_loops(trial: Trial) -> bool:
    """Whether inner loops start at the counted problem's network, whose head is its own then."""
    problems = trial.program.problems.values()
    return any(one.spec.start_from == trial.counted for one in problems)


def _load_body(module: nn.Module, trained: nn.Module, whole: bool) -> None:
    """Take over all but the head of a whole network, which starts at zero: it prefers no class."""
    head, _ = (_head(module) if whole else None) or (None, None)
    theirs = {**dict(trained.named_parameters()), **dict(trained.named_buffers())}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if name.rpartition(".")[0] == head:
            tensor.zero_()
        else:
            tensor.copy_(theirs[name])
