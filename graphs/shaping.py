"""What shaping.yaml needs beside its losses."""

from mlograph.problem import Problem


def forget(problem: Problem) -> None:
    """Every inner loop begins with a policy that prefers no action."""
    for parameter in problem.model.params.values():
        parameter.zero_()
