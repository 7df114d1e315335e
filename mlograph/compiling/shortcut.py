"""A problem's derivatives, compiled where that is asked for or pays."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar, final

import torch
from torch import Tensor

from mlograph.compiling.choice import Choice
from mlograph.compiling.refusal import reason_of
from mlograph.compiling.region import Backend, Derivative, Inputs, Region, form
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
        products: taken of one recorded gradient; none where it is not to be compiled.
        compiler: makes machine code of a graph of torch.
        tell: is told what was chosen.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        always: bool,
        updates: int,
        products: int,
        compiler: Backend,
        tell: Callable[[str], None],
    ) -> None:
        self._problem = problem
        self._always = always
        self._updates = updates
        self._products = products
        self._compiler = compiler
        self._tell = tell
        self.choices: dict[str, Choice] = {}
        self._regions: dict[str, Region] = {}

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
        key = self._key("gradient", moment, chosen, wanted)
        choice = self._choice(key)
        if choice.way == "plain":
            return plainly()
        names = {owner: tuple(params) for owner, params in wanted.items()}
        asked = Derivative(self._problem, chosen, names, moment)
        if choice.way is None:
            inputs = Inputs.of(views, moment.batch).copied()
            found = self._timed(choice, plainly)
            self._decide(key, asked, inputs)
            return found
        inputs = Inputs.of(views, moment.batch)
        region = self._regions.get(key) or self._made(key, asked, inputs)
        if region is None:
            return plainly()
        try:
            with torch.no_grad():
                slopes, evaluation = region(inputs)
        except Exception as error:
            self._refused(key, _what(asked), reason_of(error))
            return plainly()
        return evaluation, {owner: slopes.get(owner, {}) for owner in wanted}

    def residual(self, plainly: Callable[[], Residual], moment: Moment) -> Residual:
        """Φ and its products: what `plainly` gives, in less time."""
        problem = self._problem
        wanted = {problem.name: problem.model.params}
        key = self._key("products", moment, problem.terms, wanted)
        choice = self._choice(key)
        if choice.way == "plain" or not self._products:
            return plainly()
        names = {problem.name: tuple(problem.model.params)}
        asked = Derivative(problem, problem.terms, names, moment, self._products)
        inputs = Inputs.of(problem.views(), moment.batch)
        if choice.way is None:
            found = self._timed(choice, plainly)
            self._decide(key, asked, inputs)
            return found
        region = self._regions.get(key) or self._made(key, asked, inputs)
        if region is None:
            return plainly()
        try:
            return _residual(problem, region, inputs, plainly)
        except Exception as error:
            self._refused(key, _what(asked), reason_of(error))
            return plainly()

    def _key(
        self,
        kind: str,
        moment: Moment,
        terms: Sequence[Term],
        wanted: Mapping[str, Mapping[str, Tensor]],
    ) -> str:
        """What tells one region from another, and is the same in another process."""
        problem = self._problem
        numbers = [i for i, term in enumerate(problem.terms) if any(term is x for x in terms)]
        modes = [m.module.training for m in (problem.model, *problem.others.values())]
        return f"{kind} by {[*wanted]} of terms {numbers} on {form(moment.batch)}, training {modes}"

    def _choice(self, key: str) -> Choice:
        found = self.choices.get(key)
        if found is None:
            kind = key.partition(" on ")[0]
            alike = sum(other.partition(" on ")[0] == kind for other in self.choices)
            way: Literal["compiled", "plain"] | None = "compiled" if self._always else None
            found = self.choices[key] = Choice("plain" if alike >= _MOST_FORMS else way)
        return found

    def _timed(self, choice: Choice, plainly: Callable[[], _Found]) -> _Found:
        began = self._clock()
        found = plainly()
        choice.took(self._clock() - began, self._problem.updates)
        return found

    def _clock(self) -> float:
        if self._problem.device.type == "cuda":
            torch.cuda.synchronize(self._problem.device)
        return time.perf_counter()

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
