"""Functions for `callbacks`: what is done to a problem at moments of its life."""

from __future__ import annotations

from mlograph.problem import Problem

__all__ = ["from_zero"]


def from_zero(problem: Problem) -> None:
    """For `on_inner_loop_start`: every inner loop begins with all parameters at zero.

    A linear head has no preference for any class then, and a policy none for any action. For
    weights to begin with that are learned, say `start_from`.
    """
    for parameter in problem.model.params.values():
        parameter.zero_()
