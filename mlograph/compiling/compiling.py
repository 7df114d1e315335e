"""What of a run is compiled: one shortcut a problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, final

from mlograph.compiling.cache import use_cache
from mlograph.compiling.choice import Choice
from mlograph.compiling.region import Backend, inductor
from mlograph.compiling.shortcut import Shortcut
from mlograph.language.methods.base import Implicit
from mlograph.language.spec import ProblemSpec
from mlograph.plan import Plan
from mlograph.problem import Problem


@final
class Compiling:
    """The shortcuts of a run; remembers what was chosen.

    Attributes:
        shortcuts: by problem; none where nothing shall be compiled.
    """

    def __init__(self) -> None:
        self.shortcuts: dict[str, Shortcut] = {}
        self._remarks: list[str] = []

    @classmethod
    def of(
        cls,
        how: Literal["auto", "on", "off"],
        problems: Mapping[str, Problem],
        plan: Plan,
        compiler: Backend = inductor,
    ) -> Compiling:
        """Give every problem its shortcut, as the graph file asks for it."""
        compiling = cls()
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
                compiler=compiler,
                tell=compiling._remarks.append,
            )
        return compiling

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
    """Products that a method takes of a recorded gradient; none where these go both ways.

    The derivative of a product by its vector is a second one of the gradient, which what is
    compiled does not have.
    """
    method = spec.hypergradient
    return method.products + 1 if isinstance(method, Implicit) and method.compilable else 0
