"""What holds for a problem that descends a field: a vector that is the gradient of nothing.

The players of a game descend (∂_x f, −∂_y f), a fixed point θ = g(θ, u) is where θ − g(θ, u)
vanishes. Such a problem rests where its field does, and its solution moves with what the field
reads, by the same implicit function theorem; only, the Jacobian of the field is not symmetric.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from mlograph.errors import UsageError
from mlograph.problem import Evaluation, Problem


def scalar(problem: Problem, evaluation: Evaluation) -> Tensor:
    """The loss, for a method that differentiates it instead of what the problem descends.

    Raises:
        UsageError: a field stands in the place of its gradient.
    """
    if evaluation.field is not None:
        method = problem.spec.hypergradient.method
        raise UsageError(
            f"problems.{problem.name}.hypergradient: '{method}' differentiates a scalar loss, but "
            f"the loss of '{problem.name}' gives a 'field' in place of its gradient "
            "(use gmres or another method that solves a linear system, or unroll)"
        )
    return evaluation.loss


def check_answers(problem: Problem, evaluation: Evaluation, answers: Collection[str]) -> None:
    """A field is all that its problem descends: nothing comes back to it from below.

    Raises:
        UsageError: some problems answer to the one with a field.
    """
    if evaluation.field is not None and answers:
        name, names = problem.name, ", ".join(f"'{answer}'" for answer in sorted(answers))
        raise UsageError(
            f"problems.{name}.loss: a 'field' cannot take into account how {names} "
            f"{'answers' if len(answers) == 1 else 'answer'} to '{name}': "
            f"give a loss alone, or let no problem below '{name}' depend on it"
        )


def doubt(problem: Problem, evaluation: Evaluation) -> str:
    """What its user should know of a hypergradient through a field; empty if nothing."""
    method = problem.spec.hypergradient
    if evaluation.field is None or not method.needs_symmetry:
        return ""
    return (
        f"the loss of '{problem.name}' gives a 'field', whose Jacobian '{method.method}' takes for "
        "symmetric (gmres, bicgstab and normal_cg do not)"
    )
