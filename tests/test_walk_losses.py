"""Losses of policies that walk in a maze: values by hand, and which gradients there are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mlograph import losses
from mlograph.envs.maze import Maze, Walk, Walkers
from mlograph.nn import Table

RIGHT = 3


def walk(cells: list[int], patience: int | None = None) -> Walk:
    """Through a corridor of cells 0, 1 and the goal, 2."""
    start = Walkers(torch.tensor(cells), torch.zeros(len(cells), dtype=torch.int64))
    return Walk(Maze.drawn(["..G"]), start, patience, seed=1)


def table(rows: Any) -> Any:
    """A view of a table of these numbers."""
    made = Table(len(rows), len(rows[0]))
    with torch.no_grad():
        made.rows.copy_(torch.tensor(rows))
    return View(made)


class View:
    """A module as a loss sees it."""

    def __init__(self, module: Table) -> None:
        self.module = module

    def __call__(self, cells: Tensor) -> Tensor:
        return self.module(cells)

    def parameters(self) -> tuple[Tensor, ...]:
        return tuple(self.module.parameters())

    def gradient(self, loss: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(loss, self.parameters(), retain_graph=True)
        return found


RIGHTWARDS = [[0.0, 0.0, 0.0, 50.0]] * 3
EVEN = [[0.0] * 4] * 3


def test_moves_to_the_goal_are_counted():
    found = losses.moves_to_goal(table(RIGHTWARDS), walk([0, 1, 1]), limit=9)
    assert float(found["loss"]) == pytest.approx((2 + 1 + 1) / 3)
    assert float(found["arrived"]) == 1.0
    assert not found["loss"].requires_grad


def test_who_never_arrives_counts_as_the_limit():
    leftwards = [[0.0, 0.0, 50.0, 0.0]] * 3
    found = losses.moves_to_goal(table(leftwards), walk([0, 1]), limit=9)
    assert float(found["loss"]) == 9.0
    assert float(found["arrived"]) == 0.0


def test_the_gradient_is_that_of_the_expected_reward():
    """One move from beside the goal: J = π(right), and ∂J/∂logits = π(right) (1_right − π)."""
    policy = table([[0.0] * 4, [0.3, -0.2, 0.1, 0.5], [0.0] * 4])
    found = losses.reinforce(policy, walk([1] * 50000), moves=1)
    pi = torch.tensor([0.3, -0.2, 0.1, 0.5]).softmax(0)
    expected = -pi[RIGHT] * (torch.eye(4)[RIGHT] - pi)
    gradient = policy.gradient(found["loss"])
    assert torch.allclose(gradient[1], expected, atol=0.01)
    assert float(gradient[[0, 2]].abs().max()) == 0.0
    assert float(found["arrivals"]) == pytest.approx(float(pi[RIGHT]), abs=0.01)


def test_rewards_count_for_the_moves_before_them_but_not_across_episodes():
    policy = table(EVEN)
    loss = losses.reinforce(policy, walk([0, 1] * 30), moves=2)["loss"]
    path = walk([0, 1] * 30).follow(lambda cells: torch.full((len(cells), 4), 0.25), 2)
    first, second = path.arrived.float()
    assert bool((path.arrived[0] & path.arrived[1]).any())
    G = torch.stack([first + second * ~path.ended[0], second])
    weights = G - G.mean(dim=1, keepdim=True)
    # ∂ log π(a)/∂ logits = 1_a − π.
    score = torch.eye(4)[path.actions] - 0.25
    expected = torch.zeros(3, 4)
    expected.index_put_((path.cells,), -score * weights[..., None] / 60, accumulate=True)
    assert torch.allclose(policy.gradient(loss), expected, atol=1e-6)


def test_a_potential_pays_for_differences_and_is_zero_at_the_goal():
    """With Φ = 1 in all cells but the goal, arriving pays 1 − 1 and everything else nothing."""
    level = table([[1.0], [1.0], [7.0]])
    policy = table(EVEN)
    found = losses.reinforce(policy, walk([0, 1] * 20), potential=level, moves=5)
    assert float(found["arrivals"]) > 0
    assert float(found["loss"].detach()) == 0.0
    assert float(policy.gradient(found["loss"]).abs().max()) == 0.0


def test_a_potential_that_rises_to_the_goal_makes_steps_towards_it_pay():
    policy, rising = table(EVEN), table([[-2.0], [-1.0], [0.0]])
    one_move = losses.reinforce(policy, walk([0] * 1000), potential=rising, moves=1)
    gradient = policy.gradient(one_move["loss"])[0]
    assert int(gradient.argmin()) == RIGHT


def test_the_policys_gradient_depends_on_the_potential():
    policy, potential = table(EVEN), table([[0.0], [0.5], [0.0]])
    loss = losses.reinforce(policy, walk([0, 1] * 20), potential=potential, moves=5)["loss"]
    (gradient,) = torch.autograd.grad(loss, policy.parameters(), create_graph=True)
    cross = potential.gradient(gradient.square().sum())
    assert float(cross[:2].abs().min()) > 0
    assert float(cross[2]) == 0.0
