"""One reverse sweep over the problems below an upper one.

For an upper problem u with lower solutions z*, in the order that the plan gives:

    v_j = ∂_j L_u + Σ_k (dz_k*/dz_j)ᵀ v_k      (k: problems visited before j whose loss reads j)
    h   = ∂_u L_u + Σ_k (dz_k*/du)ᵀ v_k        (k: problems whose loss reads u)

Every problem is visited once, however many paths lead through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlograph import trees
from mlograph.errors import NumericError
from mlograph.plan import Sweep, Visit
from mlograph.trees import Vector

Pull = Callable[[Visit, Vector], Mapping[str, Vector]]


def hypergradient(
    sweep: Sweep,
    direct: Mapping[str, Vector],
    pull: Pull,
    evaluated: frozenset[str] = frozenset(),
) -> Vector:
    """h = dL_u/du.

    Args:
        sweep: the order of visits, and who sends to whom.
        direct: ∂L_u by problem: u itself and the lower problems that its loss reads.
        evaluated: lower problems for which `pull` evaluates L_u instead: their v_j is without
            ∂_j L_u, which need not exist.
        pull: (dz_k*/dtarget)ᵀ · v for the targets of a visit. A target that the method leaves
            out by design is missing; one that no derivative reaches has an empty vector.

    Raises:
        NumericError: a hypergradient is zero by structure: no derivative ever arrives.
    """
    for name, vector in direct.items():
        if not vector and name != sweep.upper and name not in evaluated:
            raise NumericError(
                f"no gradient of the loss of '{sweep.upper}' reaches the parameters of '{name}', "
                f"so the edge 'l2u: {name} -> {sweep.upper}' has no effect (for a loss without a "
                f"gradient, such as a return or a count, give '{name}' "
                "'hypergradient: {method: es, estimate: objective}')"
            )
    adjoints = {n: {} if n in evaluated else dict(vector) for n, vector in direct.items()}
    for visit in sweep.visits:
        adjoint = adjoints.pop(visit.problem, None)
        if adjoint is None:
            continue
        for target, vector in pull(visit, adjoint).items():
            if not vector:
                raise NumericError(
                    f"no derivative comes back from '{visit.problem}' to '{target}': the gradient "
                    f"of '{visit.problem}' does not depend on '{target}' where others look at it, "
                    f"so the edge '{target} -> {visit.problem}' has no effect"
                )
            adjoints[target] = trees.merge(adjoints.get(target, {}), vector)
    return adjoints.get(sweep.upper, {})
