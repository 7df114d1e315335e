"""A graph with where it came from: what is wrong with it is told with its place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from mlograph import diagrams, language
from mlograph.checks import examine
from mlograph.components import Imports
from mlograph.errors import Fault, GraphError, NumericError, StorageError, UsageError
from mlograph.explain import explain
from mlograph.graph import ProblemGraph, warnings
from mlograph.language.faults import limited
from mlograph.language.source import Source
from mlograph.language.spec import GraphSpec
from mlograph.plan import Plan
from mlograph.scheduler import schedule


@dataclass(frozen=True)
class Declaration:
    """A graph as somebody declared it.

    Attributes:
        spec: what it says.
        imports: where its components may come from.
        source: the text behind it; None for a graph that was built in Python.
        overrides: changes that were made to the text.
        command: that runs the same again; empty for a graph that was built in Python.
    """

    spec: GraphSpec
    imports: Imports
    source: Source | None = None
    overrides: tuple[str, ...] = ()
    command: str = ""

    @cached_property
    def structure(self) -> ProblemGraph:
        """Which problems there are and who reads whom, checked.

        Raises:
            GraphError: everything that is wrong with what the graph means.
        """
        faults = examine(self.spec)
        if faults:
            raise self.located(GraphError(faults))
        return ProblemGraph(self.spec)

    @cached_property
    def plan(self) -> Plan:
        """What a run executes.

        Raises:
            GraphError: everything that is wrong with what the graph means.
        """
        try:
            return schedule(self.structure)
        except GraphError as error:
            raise self.located(error) from error

    def warnings(self) -> tuple[Fault, ...]:
        """What is allowed but seldom meant, with its place."""
        return tuple(map(self._locate, warnings(self.structure)))

    def yaml(self) -> str:
        """The text of a graph file that says the same and needs no other file.

        Raises:
            GraphError: there are objects in it that no text can stand for.
        """
        return self.source.resolved if self.source is not None else language.dump(self.spec)

    def located(self, error: GraphError) -> GraphError:
        """The same error, each fault with its place, in the order of the text."""
        if self.source is None:
            return GraphError(limited(error.faults))
        faults = (
            replace(f, message=self.hidden(f.message), hint=self.hidden(f.hint))
            for f in error.faults
        )
        return GraphError(self.source.listed(faults))

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Errors inside are told with their places, and without what came from the environment."""
        try:
            yield
        except GraphError as error:
            raise self.located(error) from error
        except (NumericError, StorageError, UsageError) as error:
            text = self.hidden(str(error))
            if text == str(error):
                raise
            raise type(error)(text) from None

    def hidden(self, text: str) -> str:
        """`text` without what came from the environment: what a component says may repeat it."""
        return text if self.source is None else self.source.hidden(text)

    @property
    def shown(self) -> ProblemGraph:
        """The structure as people may see it: what came from the environment may be wrapped."""
        described = {"description": self.hidden(self.spec.description)}
        return replace(self.structure, spec=self.spec.model_copy(update=described))

    def explained(self) -> str:
        """The plan in words.

        Raises:
            GraphError: everything that is wrong with what the graph means.
        """
        return self.hidden(explain(self.shown, self.plan))

    def rendered(self, fmt: str) -> bytes:
        """The diagram in one of the formats `mlograph.diagrams.FORMATS`.

        Raises:
            GraphError: everything that is wrong with what the graph means.
            UsageError: it cannot be drawn here.
        """
        drawing = diagrams.render(self.shown, self.plan, fmt)
        return drawing if b"\0" in drawing else self.hidden(drawing.decode()).encode()

    def _locate(self, fault: Fault) -> Fault:
        return fault if self.source is None else self.source.locate(fault)
