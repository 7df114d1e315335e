"""A problem at run time: the only place where a loss is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, Protocol, final

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from mlograph import trees
from mlograph.batches import Feed, Placed
from mlograph.blame import blame
from mlograph.errors import MlographError, UsageError
from mlograph.language.spec import ProblemSpec
from mlograph.model import Model
from mlograph.randomness import RandomState
from mlograph.residual import Residual
from mlograph.returned import Returned, read
from mlograph.schedulers import LearningRate
from mlograph.trees import Vector
from mlograph.views import View

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Term:
    """One summand of a loss.

    Attributes:
        function: the loss function.
        constants: arguments from the graph file.
        views: which problem's view stands for which argument.
        wants: which of `batch` and `step` the function takes.
    """

    function: Callable[..., Any]
    constants: Mapping[str, Any]
    views: Mapping[str, str]
    wants: frozenset[str]

    @property
    def reads(self) -> frozenset[str]:
        """The problems whose parameters the term may depend on."""
        return frozenset(self.views.values())


@dataclass(frozen=True)
class Moment:
    """What a loss was evaluated on, so that it can be evaluated on the same again.

    Attributes:
        batch: the problem's data, on its device.
        step: updates that the problem had made.
        random: the state of all generators just before the evaluation (dropout masks and the like
            follow from it).
    """

    batch: Any
    step: int
    random: RandomState


@dataclass(frozen=True)
class Evaluation:
    """The terms of a loss, added up, with their graph.

    Attributes:
        loss: Σ of all terms. Those that give a field stand in it without a graph: what they say
            of the parameters is their field.
        metrics: what the terms measured, without a graph.
        field: Σ of the fields that terms give in place of their gradients, for all trainable
            parameters; None where no term gives one.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]
    field: Vector | None = None


@dataclass(frozen=True)
class Callbacks:
    """Functions called at moments of a problem's life; None where there is none."""

    on_inner_loop_start: Callable[[Problem], None] | None = None
    on_gradient: Callable[[Problem], None] | None = None
    after_update: Callable[[Problem], None] | None = None


class Shortcut(Protocol):
    """Derivatives of a problem's loss in less time; the numbers are those of doing it `plainly`."""

    def slopes(
        self,
        plainly: Callable[[], tuple[Evaluation, dict[str, Vector]]],
        views: Mapping[str, View],
        moment: Moment,
        wanted: Mapping[str, Mapping[str, Tensor]],
        terms: Sequence[Term] | None,
    ) -> tuple[Evaluation, dict[str, Vector]]:
        """See `Problem.slopes`."""
        ...

    def residual(self, plainly: Callable[[], Residual], moment: Moment) -> Residual:
        """See `Problem.residual`."""
        ...

    def recorded(
        self,
        plainly: Callable[[], tuple[Evaluation, dict[str, Vector]]],
        views: Mapping[str, View],
        moment: Moment,
        wanted: Mapping[str, Mapping[str, Tensor]],
    ) -> tuple[Evaluation, dict[str, Vector]]:
        """The same as `slopes`; the problem's own can be differentiated again, but once."""
        ...


@final
@dataclass(eq=False)
class Problem:
    """One problem of a running graph.

    Attributes:
        name: its name in the graph.
        spec: what the graph file says of it.
        model: its module and trainable parameters.
        others: the models of the problems that its loss reads.
        optimizer: torch's own; steps the module's own parameters in place.
        learning_rate: the scheduler, or one that does nothing.
        terms: the loss is their sum.
        feed: gives the batches.
        device: where everything lies.
        callbacks: the user's hooks.
        scaler: for fp16 only.
        hyperparameters: functions that give options of the optimiser before each step.
        updates: how many updates have been made.
        began: how many had been made when the present loop started anew (`start_from`).
        moment: what the loss was last evaluated on in a step of its own.
        shortcut: takes derivatives of the loss, if there is one.
    """

    name: str
    spec: ProblemSpec
    model: Model
    others: Mapping[str, Model]
    optimizer: Optimizer
    learning_rate: LearningRate
    terms: Sequence[Term]
    feed: Feed
    device: torch.device
    callbacks: Callbacks = field(default_factory=Callbacks)
    scaler: GradScaler | None = None
    hyperparameters: Mapping[str, Term] = field(default_factory=dict)
    updates: int = 0
    began: int = 0
    moment: Moment | None = None
    shortcut: Shortcut | None = None
    _placed: Placed | None = field(default=None, init=False, repr=False)

    def next_moment(self) -> Moment:
        """Draw the next batch and note the random state: the moment of the next own step."""
        dtype = torch.float64 if self.spec.precision == "float64" else None
        self._placed = Placed.of(self.feed.next(), self.device, dtype, self._placed)
        random = RandomState.capture(self.device)
        if self.moment is not None:
            random = random.since(self.moment.random)
        self.moment = Moment(self._placed.batch, self.updates, random)
        return self.moment

    def views(self, replaced: Mapping[str, View] | None = None) -> dict[str, View]:
        """Views of this problem and of all that it reads, at their present parameters.

        Calls through them change no buffer; `replaced` overrides some of them.
        """
        views: dict[str, View] = {name: model.still() for name, model in self.others.items()}
        views[self.name] = self.model.still()
        views.update(replaced or {})
        return views

    def evaluate(
        self, views: Mapping[str, View], moment: Moment, terms: Iterable[Term] | None = None
    ) -> Evaluation:
        """The loss Σ terms at the parameters that the views hold.

        Raises:
            UsageError: a term gives something that is not a scalar, has no `loss`, or has a
                `field` that is not one tensor for each trainable parameter.
        """
        with self._autocast():
            found = [self._call(t, views, moment) for t in (self.terms if terms is None else terms)]
        assert len(found) > 0, "a loss has at least one term"
        loss = found[0].loss
        for one in found[1:]:
            loss = loss + one.loss
        metrics = {name: value for one in found for name, value in one.metrics.items()}
        fields = [one.field for one in found if one.field is not None]
        return Evaluation(loss, metrics, reduce(trees.merge, fields) if fields else None)

    def terms_reading(self, names: Iterable[str]) -> tuple[Term, ...]:
        """The terms that may depend on one of the problems `names`."""
        wanted = frozenset(names)
        return tuple(term for term in self.terms if term.reads & wanted)

    def slopes(
        self,
        views: Mapping[str, View],
        moment: Moment,
        wanted: Mapping[str, Mapping[str, Tensor]],
        terms: Sequence[Term] | None = None,
    ) -> tuple[Evaluation, dict[str, Vector]]:
        """The loss, and ∂L/∂wanted by problem, which nothing differentiates again.

        Args:
            views: what the loss sees.
            moment: what it is evaluated on.
            wanted: parameters as the views hold them, by problem and name. Those that the loss does
                not depend on are left out of the result.
            terms: all by default.
        """

        def plainly() -> tuple[Evaluation, dict[str, Vector]]:
            evaluation = self.evaluate(views, moment, terms)
            return evaluation, gradients_by_owner(evaluation.loss, wanted)

        if self.shortcut is None:
            return plainly()
        return self.shortcut.slopes(plainly, views, moment, wanted, terms)

    def residual(self, moment: Moment) -> Residual:
        """Φ, which is ∂L/∂θ or a field, at the present parameters, recorded to be differentiated.

        The loss is evaluated once, with the random numbers of `moment` and copied buffers.
        """
        plainly = partial(self._recorded, moment)
        return plainly() if self.shortcut is None else self.shortcut.residual(plainly, moment)

    def _recorded(self, moment: Moment) -> Residual:
        with moment.random.replayed(self.device):
            evaluation = self.evaluate(self.views(), moment)
        gradient = own_gradient(evaluation, self.model.params, create_graph=True)
        params = {name: self.model.params[name] for name in gradient}
        return Residual(gradient, params, {n: m.params for n, m in self.others.items()})

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST.get(self.spec.precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)

    def _call(self, term: Term, views: Mapping[str, View], moment: Moment) -> Returned:
        arguments: dict[str, Any] = dict(term.constants)
        arguments.update({name: views[problem] for name, problem in term.views.items()})
        if "batch" in term.wants:
            arguments["batch"] = moment.batch
        if "step" in term.wants:
            arguments["step"] = moment.step
        place = f"problems.{self.name}.loss"
        try:
            value = term.function(**arguments)
        except MlographError:
            raise
        except Exception as error:
            raise UsageError(f"{place}: {blame(error)}") from error
        return read(value, place, self.model.params)


def own_gradient(
    evaluation: Evaluation,
    params: Mapping[str, Tensor],
    *,
    create_graph: bool = False,
    keep: bool = False,
) -> Vector:
    """What a problem descends: ∂L/∂θ, with a term's field in place of its gradient if it has one.

    Args:
        evaluation: of the problem's loss.
        params: θ as it was evaluated, by name.
        create_graph: the result can be differentiated.
        keep: the evaluation's graph is needed again.

    Returns:
        By name; parameters that the loss does not depend on are left out.
    """
    gradient = gradients(evaluation.loss, params, create_graph=create_graph, keep=keep)
    return with_field(gradient, evaluation, create_graph=create_graph)


def with_field(gradient: Vector, evaluation: Evaluation, *, create_graph: bool = False) -> Vector:
    """∂L/∂θ, and the fields of the terms that have no part in it."""
    if evaluation.field is None:
        return gradient
    field = evaluation.field if create_graph else trees.detached(evaluation.field)
    return trees.merge(gradient, field)


def gradients(
    loss: Tensor, params: Mapping[str, Tensor], *, create_graph: bool = False, keep: bool = False
) -> Vector:
    """∂loss/∂params by name; parameters that the loss does not depend on are left out."""
    if not loss.requires_grad:
        return {}
    found = torch.autograd.grad(
        loss,
        list(params.values()),
        create_graph=create_graph,
        retain_graph=create_graph or keep,
        allow_unused=True,
    )
    return {name: g for name, g in zip(params, found, strict=True) if g is not None}


def gradients_by_owner(
    loss: Tensor, params: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Vector]:
    """∂loss/∂params of several problems in one backward pass, by problem and then by name."""
    flat = {(owner, name): p for owner, named in params.items() for name, p in named.items()}
    by_owner: dict[str, Vector] = {owner: {} for owner in params}
    if not loss.requires_grad:
        return by_owner
    found = torch.autograd.grad(loss, list(flat.values()), allow_unused=True)
    for (owner, name), gradient in zip(flat, found, strict=True):
        if gradient is not None:
            by_owner[owner][name] = gradient
    return by_owner


def clipped(gradient: Vector, largest: float | None, size: Tensor | None = None) -> Vector:
    """gradient · min(1, largest / ‖gradient‖), as clip_grad_norm_ has it; differentiable.

    `size` is ‖gradient‖ where it is known already.
    """
    if largest is None or not gradient:
        return gradient
    factor = (largest / ((trees.norm(gradient) if size is None else size) + 1e-6)).clamp(max=1.0)
    return {name: tensor * factor for name, tensor in gradient.items()}
