"""Everything that is wrong with what a graph means, in one pass.

Each check knows what is at fault already, be it in the graph's form or in what an earlier check
looked at, and says only what is certain all the same. A new check is a function in one of these
modules, and a name in `CHECKS`.
"""

from collections.abc import Callable, Iterable

from mlograph.checks.certainty import Certainty
from mlograph.checks.names import edge_faults, reference_faults
from mlograph.checks.rates import loop_faults, period_faults, rate_faults
from mlograph.checks.ways import cycle_faults, return_faults, start_faults, top_faults
from mlograph.errors import Fault
from mlograph.language.doubts import Doubts
from mlograph.language.spec import GraphSpec
from mlograph.language.validation import Draft

__all__ = ["CHECKS", "examine", "faults_of"]

# What a check needs to be certain of is looked at by those before it.
CHECKS: tuple[Callable[[Certainty], Iterable[Fault]], ...] = (
    edge_faults,
    reference_faults,
    cycle_faults,
    return_faults,
    start_faults,
    top_faults,
    loop_faults,
    rate_faults,
    period_faults,
)


def examine(spec: GraphSpec, doubts: Doubts | None = None) -> list[Fault]:
    """All that is certainly wrong with what a graph means, less what only follows from it.

    Args:
        spec: what the graph says, as far as it is understood.
        doubts: what in it cannot be relied on; by default, nothing.
    """
    known = Certainty(spec, doubts or Doubts())
    found: list[Fault] = []
    for check in CHECKS:
        new = list(check(known))
        if new:
            known = known.less(new)
            found += new
    return found


def faults_of(draft: Draft) -> list[Fault]:
    """All that is wrong with the form of a graph, and certainly with its meaning."""
    if draft.spec is None:
        return list(draft.faults)
    return [*draft.faults, *examine(draft.spec, draft.doubts)]
