"""No silent zero: whether what comes back along an edge could ever be anything else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, final

from mlograph.condition import Condition
from mlograph.errors import NumericError
from mlograph.hypergradients import Response
from mlograph.problem import Moment, Problem
from mlograph.residual import depends_on
from mlograph.trees import Vector


@final
class Effects:
    """Finds edges without an effect, at the first step; what is known to have one is not looked at.

    "Without an effect" is meant by structure: a loss that multiplies by a number that is zero today
    has one.
    """

    def __init__(self) -> None:
        self._conditions: set[str] = set()
        self._direct: set[tuple[str, str]] = set()
        self._sent: set[tuple[str, str, str]] = set()

    def state_dict(self) -> dict[str, Any]:
        """What is known to have an effect."""
        return {
            "conditions": sorted(self._conditions),
            "direct": sorted(self._direct),
            "sent": sorted(self._sent),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._conditions, self._sent = set(state["conditions"]), set(state["sent"])
        self._direct = set(state["direct"])

    def direct(
        self,
        upper: Problem,
        moment: Moment,
        found: Mapping[str, Vector],
        but: Collection[str] = (),
    ) -> dict[str, Vector]:
        """∂L of an upper problem by problem, emptied where it is zero for the form of L alone.

        Args:
            upper: whose loss it is.
            moment: of its present pass.
            found: ∂L by problem, the upper one's own among them.
            but: problems of which no derivative is asked for.
        """
        checked = dict(found)
        for name, vector in found.items():
            key = (upper.name, name)
            if name == upper.name or name in but or not vector or key in self._direct:
                continue
            if any(bool(x.any()) for x in vector.values()) or _looks_at(upper, moment, name):
                self._direct.add(key)
            else:
                checked[name] = {}
        return checked

    def check(self, condition: Condition) -> None:
        """Look at every edge into a condition that holds through what answers to it.

        What comes back through it is a sum over several edges, and a dead one among live ones
        leaves no gap. Edges into other conditions show for themselves.

        Raises:
            NumericError: one has no effect.
        """
        name = condition.problem.name
        if name in self._conditions:
            return
        for other, problem in condition.dead_edges():
            raise NumericError(
                f"the derivatives of the loss of '{problem}' do not depend on '{other}', "
                f"so the edge '{other} -> {problem}' has no effect"
            )
        self._conditions.add(name)

    def real(
        self,
        upper: str,
        response: Response,
        sent: Mapping[str, Vector],
        seen: Iterable[str],
        *,
        total: bool,
    ) -> dict[str, Vector]:
        """What was sent, emptied where it is zero and could not be anything else.

        Many methods give a zero vector as soon as a loss has any gradient with respect to a target,
        of whatever it is made. Where nothing but zeros ever came, second derivatives tell.

        Args:
            upper: for whom.
            response: of the lower problem.
            sent: what its method gave, by target.
            seen: the parameters of the lower problem at which others look.
            total: its condition holds through what answers to it.
        """
        found: dict[str, Vector] = {}
        for target, vector in sent.items():
            key = (upper, response.problem.name, target)
            found[target] = vector
            if key in self._sent or not vector:
                continue
            is_zero = not any(bool(x.any()) for x in vector.values())
            if is_zero and not _can_reach(response, target, seen, total=total):
                found[target] = {}
            else:
                self._sent.add(key)
        return found


def _looks_at(upper: Problem, moment: Moment, name: str) -> bool:
    with moment.random.replayed(upper.device):
        loss = upper.evaluate(upper.views(), moment).loss
    try:
        return bool(depends_on({"loss": loss}, upper.others[name].params))
    except RuntimeError:
        # A loss that cannot be differentiated twice cannot be asked.
        return True


def _can_reach(response: Response, target: str, seen: Iterable[str], *, total: bool) -> bool:
    problem = response.problem
    is_read = total or bool(problem.terms_reading((target,)))
    if target == problem.spec.start_from or not is_read:
        # It acts through more than the condition: where a loop starts, or how it steps.
        return True
    try:
        return response.residual().reaches(target, seen)
    except RuntimeError:
        # A loss that cannot be differentiated twice, or has no room for it, cannot be asked.
        return True
