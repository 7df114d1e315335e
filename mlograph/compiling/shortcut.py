"""A problem's derivatives, compiled where that is asked for or pays."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar, final

import torch
from torch import Tensor

from mlograph import trees
from mlograph.compiling.choice import Choice
from mlograph.compiling.names import Names, are_alike
from mlograph.compiling.refusal import reason_of
from mlograph.compiling.region import Backend, Derivative, Inputs, Region
from mlograph.compiling.trial import checked
from mlograph.errors import UsageError
from mlograph.problem import Evaluation, Moment, Problem, Term
from mlograph.randomness import untouched
from mlograph.residual import Residual
from mlograph.trees import Vector
from mlograph.views import View

_Found = TypeVar("_Found")
Slopes = tuple[Evaluation, dict[str, Vector]]

# Batches of more shapes than these are evaluated as they are.
_MOST_FORMS = 3
# Seconds to compile, on a processor that has something else to do as well.
EXPECTED = 30.0
EXPECTED_PRODUCTS = 90.0


@final
class Shortcut:
    """Implements `problem.Shortcut` for one problem.

    Args:
        problem: whose derivatives they are.
        always: compile whatever can be compiled, and raise where that fails; otherwise only what
            pays, and evaluate the rest as it is.
        updates: of the problem in the whole run.
        products: taken of Φ; none where it is not to be compiled.
        back: products taken of the gradient in a recorded step; the same.
        compiler: makes machine code of a graph of torch.
        tell: is told what was chosen.

    Attributes:
        choices: what was measured and chosen, by derivative.
        follows: another process chooses; what it has not chosen yet is evaluated as it is.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        always: bool,
        updates: int,
        products: int,
        back: int,
        compiler: Backend,
        tell: Callable[[str], None],
    ) -> None:
        self._problem = problem
        self._always = always
        self._updates = updates
        self._products = products
        self._back = back
        self._compiler = compiler
        self._tell = tell
        self.follows = False
        self.choices: dict[str, Choice] = {}
        self._regions: dict[str, Region] = {}
        self._names = Names(problem)

    def slopes(
        self,
        plainly: Callable[[], Slopes],
        views: Mapping[str, View],
        moment: Moment,
        wanted: Mapping[str, Mapping[str, Tensor]],
        terms: Sequence[Term] | None,
    ) -> Slopes:
        """∂L by problem: what `plainly` gives, in less time."""
        chosen = self._problem.terms if terms is None else tuple(terms)
        names = {owner: tuple(params) for owner, params in wanted.items()}
        asked = Derivative(self._problem, chosen, names, moment)

        def compiled(region: Region, inputs: Inputs) -> Slopes:
            with torch.no_grad():
                slopes, evaluation = region(inputs)
            return evaluation, {owner: slopes.get(owner, {}) for owner in wanted}

        return self._found("gradient", asked, views, plainly, compiled)

    def recorded(
        self,
        plainly: Callable[[], Slopes],
        views: Mapping[str, View],
        moment: Moment,
        wanted: Mapping[str, Mapping[str, Tensor]],
    ) -> Slopes:
        """∂L by problem, the problem's own with a graph: what `plainly` gives, in less time."""
        problem = self._problem
        if not self._back:
            return plainly()
        names = {owner: tuple(params) for owner, params in wanted.items()}
        asked = Derivative(problem, problem.terms, names, moment, self._back)

        def compiled(region: Region, inputs: Inputs) -> Slopes:
            with torch.enable_grad():
                slopes, evaluation = region(inputs)
            sent = {owner: trees.detached(slopes.get(owner, {})) for owner in wanted}
            return evaluation, {**sent, problem.name: slopes[problem.name]}

        return self._found("recorded", asked, views, plainly, compiled)

    def residual(self, plainly: Callable[[], Residual], moment: Moment) -> Residual:
        """Φ and its products: what `plainly` gives, in less time."""
        problem = self._problem
        if not self._products:
            return plainly()
        names = {problem.name: tuple(problem.model.params)}
        asked = Derivative(problem, problem.terms, names, moment, self._products)

        def compiled(region: Region, inputs: Inputs) -> Residual:
            return _residual(problem, region, inputs, plainly)

        return self._found("products", asked, problem.views(), plainly, compiled)

    def _found(
        self,
        kind: str,
        asked: Derivative,
        views: Mapping[str, View],
        plainly: Callable[[], _Found],
        compiled: Callable[[Region, Inputs], _Found],
    ) -> _Found:
        """A derivative by its region, where there is one; by itself otherwise."""
        key = self._names.name(kind, asked)
        choice = self._choice(key)
        if choice.way == "plain" or (choice.way is None and self.follows):
            return plainly()
        inputs = Inputs.of(views, asked.moment.batch)
        if choice.way is None:
            inputs = inputs.copied()
            found = self._timed(choice, plainly)
            self._decide(key, asked, inputs)
            return found
        region = self._regions.get(key) or self._made(key, asked, inputs)
        if region is None:
            return plainly()
        try:
            return compiled(region, inputs)
        except Exception as error:
            self._refused(key, _what(asked), reason_of(error))
            return plainly()

    def _choice(self, key: str) -> Choice:
        found = self.choices.get(key)
        if found is None:
            alike = sum(are_alike(key, other) for other in self.choices)
            way: Literal["compiled", "plain"] | None = "compiled" if self._always else None
            found = self.choices[key] = Choice("plain" if alike >= _MOST_FORMS else way)
        return found

    def _timed(self, choice: Choice, plainly: Callable[[], _Found]) -> _Found:
        began = _clock(self._problem.device)
        found = plainly()
        choice.took(_clock(self._problem.device) - began, self._problem.updates)
        return found

    def _decide(self, key: str, asked: Derivative, inputs: Inputs) -> None:
        """Settle a choice if enough is known."""
        choice = self.choices[key]
        if not choice.known:
            return
        what, coming = _what(asked), choice.remaining(self._updates)
        weight, expected = 1 + asked.products, EXPECTED_PRODUCTS if asked.products else EXPECTED
        if not choice.worth(self._updates, weight, expected):
            choice.way = "plain"
            self._tell(
                f"{what} is not compiled: {coming:,.0f} more take about "
                f"{coming * weight * choice.best:.2g} s, of which compiling would save a part and "
                f"cost about {expected:.0f} s"
            )
            return
        choice.way = "compiled"
        self._made(key, asked, inputs, coming)

    def _made(
        self, key: str, asked: Derivative, inputs: Inputs, coming: float | None = None
    ) -> Region | None:
        """Compile a region and see whether it gives the same numbers; with `coming`, sooner."""
        what = _what(asked)
        try:
            with untouched(self._problem.device), warnings.catch_warnings():
                # What torch thinks of its own compiler is no news of the graph.
                warnings.simplefilter("ignore")
                found = checked(asked, inputs, self._compiler)
        except Exception as error:
            self._refused(key, what, reason_of(error))
            return None
        times = f"{found.compiled * 1e3:.3g} ms instead of {found.plain * 1e3:.3g} ms"
        if coming is not None and found.compiled >= found.plain:
            self.choices[key].way = "plain"
            self._tell(f"{what} is not compiled: it would take {times}")
            return None
        self._regions[key] = found.region
        saved = (found.plain - found.compiled) * (coming or 0.0)
        rest = f", and {coming:,.0f} more save about {saved:.2g} s" if coming is not None else ""
        self._tell(f"{what} is compiled, which took {found.seconds:.2g} s: {times}{rest}")
        return found.region

    def _refused(self, key: str, what: str, reason: str) -> None:
        self._regions.pop(key, None)
        if self._always:
            raise UsageError(
                f"engine.execution.compile: {what} cannot be compiled: {reason} (write auto or off)"
            )
        self.choices[key].way = "plain"
        self._tell(f"{what} is not compiled: {reason}")


def _what(asked: Derivative) -> str:
    name = asked.problem.name
    return f"the gradient of '{name}'" + (" with its products" if asked.products else "")


def _residual(
    problem: Problem, region: Region, inputs: Inputs, plainly: Callable[[], Residual]
) -> Residual:
    """Φ of a compiled region, whose products are compiled too."""
    with torch.enable_grad():
        slopes, _ = region(inputs)
    value = slopes[problem.name]
    params = {name: problem.model.params[name] for name in value}
    reads = {name: model.params for name, model in problem.others.items()}
    return Residual(value, params, reads, again=plainly)


def _clock(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
