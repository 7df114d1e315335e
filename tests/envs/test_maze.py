"""Walkers in a maze: what they do decides where the next walk begins."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import mlograph
from mlograph.envs import MazeEnv, SplitEnv
from mlograph.envs.maze import FOUR_ROOMS, Maze, Path, Walk, Walkers
from mlograph.errors import UsageError

CORRIDOR = ("#####", "#..G#", "#####")
UP, DOWN, LEFT, RIGHT = range(4)


def standing(env: MazeEnv):
    """Where the walkers stand."""
    walk = env.state_dict()["walk"]
    return (walk["end"] or walk["start"])[0]


def always(action: int) -> Any:
    """The policy that always does the same."""
    return lambda cells: torch.eye(4)[action].expand(len(cells), 4)


def at_random(cells: Tensor) -> Tensor:
    return torch.full((len(cells), 4), 0.25)


def walk(cells: Sequence[int], patience: int | None = None, maze: Sequence[str] = CORRIDOR) -> Walk:
    start = Walkers(torch.tensor(cells), torch.zeros(len(cells), dtype=torch.int64))
    return Walk(Maze.drawn(maze), start, patience, seed=1)


def alike(left: Path, right: Path) -> bool:
    return left.actions.shape == right.actions.shape and all(
        torch.equal(*pair)
        for pair in (
            (left.cells, right.cells),
            (left.actions, right.actions),
            (left.reached, right.reached),
            (left.arrived, right.arrived),
            (left.ended, right.ended),
        )
    )


def same(left: Walkers, right: Walkers) -> bool:
    return torch.equal(left.cells, right.cells) and torch.equal(left.ages, right.ages)


def test_cells_are_numbered_row_by_row_and_walls_hold():
    maze = Maze.drawn(["..", "#G"])
    assert (maze.cells, maze.goal) == (3, 2)
    assert maze.neighbours.tolist() == [[0, 0, 0, 1], [1, 2, 0, 1], [1, 2, 2, 2]]


def test_four_rooms_have_68_cells():
    maze = Maze.drawn(FOUR_ROOMS)
    assert maze.cells == 68
    cells = torch.arange(68)
    for forth, back in ((RIGHT, LEFT), (DOWN, UP)):
        there = maze.neighbours[:, forth]
        free = there != cells
        assert 50 < int(free.sum()) < 68
        assert torch.equal(maze.neighbours[there, back][free], cells[free])


@pytest.mark.parametrize(
    ("maze", "message"),
    [
        (["..", ".."], "maze: expected one goal 'G', got 0"),
        (["GG"], "maze: expected one goal 'G', got 2"),
        ([".#G"], "maze: there are cells from which the goal cannot be reached"),
        (["G"], "maze: there is no cell but the goal"),
    ],
)
def test_a_maze_must_have_a_goal_to_go_to(maze: list[str], message: str):
    with pytest.raises(UsageError) as caught:
        MazeEnv(maze)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["walkers", "patience", "episodes"])
def test_numbers_below_one_are_refused(name: str):
    with pytest.raises(UsageError, match=f"{name}: must be at least 1, got 0"):
        MazeEnv(**{name: 0})


def test_actions_move_walkers():
    path = walk([0, 1]).follow(always(RIGHT), 1)
    assert path.cells.tolist() == [[0, 1]]
    assert path.actions.tolist() == [[RIGHT, RIGHT]]
    assert path.reached.tolist() == [[1, 2]]
    assert path.arrived.tolist() == [[False, True]]
    assert path.ended.tolist() == [[False, True]]
    assert path.end.ages.tolist() == [1, 0]


def test_who_arrives_or_loses_patience_begins_anew_but_not_at_the_goal():
    path = walk([0] * 200, patience=3).follow(always(LEFT), 3)
    assert path.ended.tolist() == [[False] * 200, [False] * 200, [True] * 200]
    assert not path.arrived.any()
    assert path.end.ages.tolist() == [0] * 200
    assert sorted(set(path.end.cells.tolist())) == [0, 1]
    in_the_middle = walk([0] * 200, patience=1, maze=[".G."]).follow(always(LEFT), 1)
    assert sorted(set(in_the_middle.end.cells.tolist())) == [0, 2]
    assert not walk([0]).follow(always(LEFT), 50).ended.any()


def test_actions_follow_the_probabilities():
    chances = torch.tensor([0.1, 0.2, 0.3, 0.4])
    path = walk([0] * 20000).follow(lambda cells: chances.expand(len(cells), 4), 1)
    shares = torch.bincount(path.actions.flatten(), minlength=4) / 20000
    assert torch.allclose(shares, chances, atol=0.015)


def test_probabilities_that_sum_to_a_little_less_than_one_will_do():
    path = walk([0] * 1000).follow(lambda cells: torch.full((len(cells), 4), 0.2), 1)
    assert int(path.actions.max()) == 3


def test_a_policy_walks_the_same_path_each_time():
    steps = MazeEnv(seed=3).step()["walk"]
    path = steps.follow(at_random, 20)
    torch.rand(3)
    assert alike(steps.follow(at_random, 20), path)


def test_the_next_walk_begins_where_the_first_policy_ended():
    env = MazeEnv(seed=3)
    first = env.step()["walk"]
    path = first.follow(always(LEFT), 4)
    # What is tried out afterwards changes nothing.
    first.follow(always(RIGHT), 4)
    assert same(first.left_at, path.end)
    again = env.step()["walk"].follow(always(UP), 1)
    assert torch.equal(again.cells[0], path.end.cells)


def test_other_actions_lead_to_another_state():
    states = []
    for action in (UP, DOWN):
        env = MazeEnv(seed=3)
        env.step()["walk"].follow(always(action), 4)
        states.append(standing(env))
    assert not torch.equal(*states)


def test_nobody_moves_where_nobody_walks():
    env = MazeEnv(seed=3)
    before = standing(env)
    env.step()
    env.step()["episodes"].follow(at_random, 5)
    assert torch.equal(standing(env), before)


def test_episodes_begin_in_every_cell_but_the_goal():
    path: Path = MazeEnv(CORRIDOR, episodes=2).step()["episodes"].follow(at_random, 200)
    assert path.cells[0].tolist() == [0, 1, 0, 1]
    assert path.arrived.any(dim=0).all()


def test_it_continues_from_a_saved_state():
    env = MazeEnv(seed=4)
    env.step()["walk"].follow(at_random, 7)
    saved = io.BytesIO()
    torch.save(env.state_dict(), saved)
    expected = [env.step()[name].follow(at_random, 9) for name in env.batches]
    saved.seek(0)
    restored = MazeEnv(seed=0)
    restored.load_state_dict(torch.load(saved, weights_only=True))
    found = [restored.step()[name].follow(at_random, 9) for name in env.batches]
    assert all(map(alike, found, expected))


def test_splits_are_other_walkers_in_the_same_maze():
    env = MazeEnv(CORRIDOR, walkers=50, seed=1)
    assert isinstance(env, SplitEnv)
    envs = [env, *(env.split(name, seed=1) for name in ("train", "validation", "test"))]
    envs.append(env.split("test", seed=2))
    actions = [one.step()["walk"].follow(at_random, 8).actions for one in envs]
    assert len({tuple(a.flatten().tolist()) for a in actions}) == len(envs)
    again = env.split("test", seed=1).step()["walk"].follow(at_random, 8).actions
    assert torch.equal(again, actions[3])
    with pytest.raises(UsageError, match="there is no 'dev'"):
        env.split("dev", seed=0)


SHAPING = pathlib.Path(__file__).parents[2] / "graphs" / "shaping.yaml"
SMALL = [
    "engine.steps=3",
    "env.walkers=16",
    "+env.episodes=1",
    "problems.policy.unroll_steps=2",
    "problems.policy.hypergradient.samples=2",
    "problems.potential.loss.limit=10",
    "~engine.validate",
]


def test_the_shipped_graph_runs_and_its_seed_decides_everything():
    first, again = (mlograph.load(SHAPING, SMALL).run(quiet=True) for _ in range(2))
    other = mlograph.load(SHAPING, [*SMALL, "engine.seed=1"]).run(quiet=True)
    tables = [run.modules["potential"].rows.detach() for run in (first, again, other)]
    assert float(tables[0].abs().max()) > 0
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])
