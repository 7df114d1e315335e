"""The same graph with other numbers or other methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlograph.bind import bind
from mlograph.components import Imports
from mlograph.declaration import Declaration
from mlograph.errors import UsageError
from mlograph.graph import ProblemGraph
from mlograph.language.methods import Method
from mlograph.language.spec import GraphSpec
from mlograph.plan import Plan
from mlograph.program import Program


@dataclass(frozen=True)
class Variant:
    """A graph with its plan.

    Attributes:
        graph: checked.
        plan: its schedule.
        imports: where its components may come from.
    """

    graph: ProblemGraph
    plan: Plan
    imports: Imports

    @classmethod
    def of(cls, spec: GraphSpec, imports: Imports) -> Variant:
        """The graph of a spec.

        Raises:
            GraphError: it has no meaning.
        """
        declaration = Declaration(spec, imports)
        return cls(declaration.structure, declaration.plan, imports)

    def with_methods(self, methods: Mapping[str, Method]) -> Variant:
        """The same with other hypergradient methods for some problems.

        Raises:
            GraphError: one of them cannot be had there.
        """
        updates = {name: {"hypergradient": method} for name, method in methods.items()}
        return Variant.of(_updated(self.graph.spec, updates), self.imports)

    def bound(self) -> Program:
        """Everything built.

        Raises:
            GraphError: with everything that was found wrong.
        """
        return bind(self.graph, self.plan, self.imports)

    def bound_without_data(self) -> Program:
        """Everything built but the Env and the data, which may take long; loops cannot be run.

        Raises:
            GraphError: with everything that was found wrong.
        """
        spec = _updated(self.graph.spec, {name: {"data": None} for name in self.graph.problems})
        bare = ProblemGraph(spec.model_copy(update={"env": None}))
        return bind(bare, self.plan, self.imports)


def apart(spec: GraphSpec, precision: str) -> GraphSpec:
    """A graph that shares no module with `spec`, so that the objects of its user stay as they are.

    Args:
        spec: the graph.
        precision: in which all problems are computed; `graph` leaves it as it is.

    Raises:
        UsageError: a module that was given as an object cannot be copied.
    """
    kept = {name: (x.module, x.optimizer, x.scheduler) for name, x in spec.problems.items()}
    try:
        # At once: an optimiser that was given as an object holds the parameters of its module.
        copies = copy.deepcopy(kept)
    except (TypeError, RuntimeError, ValueError) as error:
        raise UsageError(f"a module or an optimiser cannot be copied: {error}") from error
    numbers = {} if precision == "graph" else {"precision": precision}
    updates = {
        name: {"module": module, "optimizer": optimizer, "scheduler": scheduler, **numbers}
        for name, (module, optimizer, scheduler) in copies.items()
    }
    return _updated(spec, updates)


def _updated(spec: GraphSpec, updates: Mapping[str, Mapping[str, Any]]) -> GraphSpec:
    problems = {
        name: problem.model_copy(update=dict(updates.get(name, {})))
        for name, problem in spec.problems.items()
    }
    return spec.model_copy(update={"problems": problems})
