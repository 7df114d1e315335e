"""What of a run is compiled: one shortcut a problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Literal, final

from mlograph.compiling.cache import use_cache
from mlograph.compiling.choice import Choice, Way
from mlograph.compiling.region import Backend, inductor
from mlograph.compiling.shortcut import Shortcut
from mlograph.language.methods.base import Implicit
from mlograph.language.spec import ProblemSpec
from mlograph.plan import Plan
from mlograph.problem import Problem

How = Literal["auto", "on", "off"]
Chosen = Mapping[str, Mapping[str, Way]]


@final
class Compiling:
    """The shortcuts of a run; remembers what was chosen.

    Attributes:
        how: what the graph file asks for.
        shortcuts: by problem; none where nothing shall be compiled.
    """

    def __init__(self, how: How = "off") -> None:
        self.how = how
        self.shortcuts: dict[str, Shortcut] = {}
        self._remarks: list[str] = []

    @classmethod
    def of(
        cls,
        how: How,
        problems: Mapping[str, Problem],
        plan: Plan,
        compiler: Backend = inductor,
    ) -> Compiling:
        """Give every problem its shortcut, as the graph file asks for it."""
        compiling = cls(how)
        if how == "off":
            return compiling
        use_cache()
        for name, problem in problems.items():
            spec, rate = problem.spec, plan.rates[name]
            problem.shortcut = compiling.shortcuts[name] = Shortcut(
                problem,
                always=how == "on",
                updates=spec.warmup_steps + rate.updates * plan.periods,
                products=_products(spec),
                back=spec.hypergradient.back,
                compiler=compiler,
                tell=compiling._remarks.append,
            )
        return compiling

    def follow(self, names: Iterable[str], *, follows: bool) -> None:
        """Let another process choose for some problems, or choose for them here."""
        for name in names:
            if name in self.shortcuts:
                self.shortcuts[name].follows = follows

    def chosen(self) -> Chosen:
        """What was chosen, by problem and derivative, without what was measured."""
        return {
            name: {key: choice.way for key, choice in one.choices.items() if choice.way is not None}
            for name, one in self.shortcuts.items()
        }

    def adopt(self, chosen: Chosen) -> None:
        """Do what another process has chosen where nothing is chosen here."""
        for name, ways in chosen.items():
            choices = self.shortcuts[name].choices
            for key, way in ways.items():
                choices.setdefault(key, Choice(way))
                choices[key].way = choices[key].way or way

    def take_remarks(self) -> list[str]:
        """What the user should know and has not been told yet."""
        taken = [*self._remarks]
        self._remarks.clear()
        return taken

    def state_dict(self) -> dict[str, Any]:
        """What was measured and chosen."""
        choices = {
            name: {key: asdict(choice) for key, choice in one.choices.items()}
            for name, one in self.shortcuts.items()
        }
        return {"choices": choices, "remarks": [*self._remarks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave: what was compiled is compiled again."""
        for name, one in self.shortcuts.items():
            known = state["choices"].get(name, {})
            one.choices = {key: Choice(**choice) for key, choice in known.items()}
        self._remarks[:] = state["remarks"]


def _products(spec: ProblemSpec) -> int:
    """Products that a method takes of Φ; none where these go both ways.

    The derivative of a product by its vector is a second one of the gradient, which what is
    compiled does not have.
    """
    method = spec.hypergradient
    return method.products + 1 if isinstance(method, Implicit) and method.compilable else 0
