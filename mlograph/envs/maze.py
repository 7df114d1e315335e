"""Walkers in a maze: an Env whose state follows from the actions of those who learn in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Generator, Tensor

from mlograph.envs.protocol import Env
from mlograph.errors import UsageError

Policy = Callable[[Tensor], Tensor]

FOUR_ROOMS = (
    "###########",
    "#....#....#",
    "#....#....#",
    "#.........#",
    "#....#....#",
    "##.####.###",
    "#....#....#",
    "#....#....#",
    "#.........#",
    "#....#...G#",
    "###########",
)

_MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Maze:
    """Cells, numbered row by row, and where each of the four moves leads from them.

    Attributes:
        neighbours: (cells, 4): up, down, left and right; a wall leaves a walker where it is.
        goal: the cell to reach.
    """

    neighbours: Tensor
    goal: int

    @classmethod
    def drawn(cls, lines: Sequence[str]) -> Maze:
        """The maze of a drawing: `.` is a cell, `G` the goal, anything else a wall.

        Raises:
            UsageError: not one goal, nothing else, or cells from which it cannot be reached.
        """
        rows = [str(line) for line in lines]
        cells = [(r, c) for r, row in enumerate(rows) for c, mark in enumerate(row) if mark in ".G"]
        goals = [number for number, (r, c) in enumerate(cells) if rows[r][c] == "G"]
        if len(goals) != 1:
            raise UsageError(f"maze: expected one goal 'G', got {len(goals)}")
        numbers = {cell: number for number, cell in enumerate(cells)}
        neighbours = [
            [numbers.get((r + down, c + right), number) for down, right in _MOVES]
            for number, (r, c) in enumerate(cells)
        ]
        if len(cells) == 1:
            raise UsageError("maze: there is no cell but the goal")
        maze = cls(torch.tensor(neighbours), goals[0])
        if not maze.connected:
            raise UsageError("maze: there are cells from which the goal cannot be reached")
        return maze

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.neighbours)

    def some_cells(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Cells drawn uniformly from all but the goal."""
        cells = torch.randint(self.cells - 1, shape, generator=generator)
        return cells + (cells >= self.goal)

    @property
    def connected(self) -> bool:
        """Whether the goal can be reached from every cell."""
        reached = {self.goal}
        queue = [self.goal]
        for cell in queue:
            # Moves can be taken back, so what the goal reaches reaches the goal.
            new = set(self.neighbours[cell].tolist()) - reached
            reached |= new
            queue += sorted(new)
        return len(reached) == self.cells


@dataclass(frozen=True)
class Walkers:
    """Where walkers stand, and how many moves each has made since it began; both (walkers,)."""

    cells: Tensor
    ages: Tensor


@dataclass(frozen=True)
class Path:
    """What walkers did; all tensors are (moves, walkers).

    Attributes:
        cells: where a walker stood before each move.
        actions: 0 to 3: up, down, left, right.
        reached: where it stood after the move.
        arrived: that was the goal.
        ended: it then began anew, since it had arrived or lost patience.
        end: all walkers after the last move.
    """

    cells: Tensor
    actions: Tensor
    reached: Tensor
    arrived: Tensor
    ended: Tensor
    end: Walkers

    def to(self, device: torch.device) -> Path:
        """The same with what happened on another device."""
        return Path(
            self.cells.to(device),
            self.actions.to(device),
            self.reached.to(device),
            self.arrived.to(device),
            self.ended.to(device),
            self.end,
        )


@final
@dataclass(eq=False)
class Walk:
    """A group of walkers about to walk: a batch of `MazeEnv`.

    All chance is drawn beforehand: a policy walks the same path each time, and two policies differ
    by what they do, not by their luck.

    Attributes:
        maze: where they walk.
        start: where they stand.
        patience: moves after which a walker that has not arrived begins anew; None: it never does.
        seed: of their chance.
        end: where the first policy that walked left them; None before.
    """

    maze: Maze
    start: Walkers
    patience: int | None
    seed: int
    end: Walkers | None = None

    @property
    def left_at(self) -> Walkers:
        """Where the first policy that walked left the walkers; without one, where they stand.

        Those that walk later only try what would have been.
        """
        return self.start if self.end is None else self.end

    def follow(self, policy: Policy, moves: int) -> Path:
        """Let the walkers make `moves` moves each.

        A walker that arrives, or loses patience, begins anew in any cell but the goal.

        Args:
            policy: gives probabilities of the four actions, (n, 4), for cells (n,), on the CPU; it
                is asked once, for all cells.
            moves: how many.
        """
        bounds = policy(torch.arange(self.maze.cells)).detach().float().cumsum(dim=-1)[:, :-1]
        generator = Generator("cpu").manual_seed(self.seed)
        size = (moves, len(self.start.cells))
        chance = torch.rand(size, generator=generator, dtype=torch.float32)
        anew = self.maze.some_cells(size, generator)
        at, rows = self.start, []
        for u, cells in zip(chance, anew, strict=True):
            row, at = self._moved(bounds, at, u, cells)
            rows.append(row)
        if self.end is None:
            self.end = at
        cells, actions, reached, arrived, ended = map(torch.stack, zip(*rows, strict=True))
        return Path(cells, actions, reached, arrived, ended, at)

    def _moved(
        self, bounds: Tensor, at: Walkers, chance: Tensor, anew: Tensor
    ) -> tuple[tuple[Tensor, ...], Walkers]:
        actions = (bounds[at.cells] < chance[:, None]).sum(dim=-1)
        reached = self.maze.neighbours[at.cells, actions]
        arrived, ages = reached == self.maze.goal, at.ages + 1
        ended = arrived if self.patience is None else arrived | (ages >= self.patience)
        after = Walkers(torch.where(ended, anew, reached), torch.where(ended, 0, ages))
        return (at.cells, actions, reached, arrived, ended), after


class MazeEnv:
    """A maze with walkers that go on from where the last policy left them.

    Two batches, both a `Walk`: in `walk` walkers go on from step to step, so that what a learner
    does now is what it learns from next (write `step_every: step`); in `episodes` new walkers
    stand in all cells but the goal, and go on until they arrive.

    Args:
        maze: rows of a drawing: `.` is a cell, `G` the goal, anything else a wall; four rooms
            (Sutton, Precup and Singh, 1999) of 68 cells by default.
        walkers: in `walk`.
        patience: moves after which a walker begins anew elsewhere, where it has not arrived.
        episodes: walkers in `episodes` for each cell.
        seed: a whole number from 0; with the policies, it decides everything.

    Raises:
        UsageError: a maze without a goal, or a number below 1.
    """

    def __init__(
        self,
        maze: Sequence[str] = FOUR_ROOMS,
        walkers: int = 128,
        patience: int = 32,
        episodes: int = 4,
        seed: int = 0,
    ) -> None:
        sizes = {"walkers": walkers, "patience": patience, "episodes": episodes}
        for name, number in sizes.items():
            if number < 1:
                raise UsageError(f"{name}: must be at least 1, got {number}")
        self._drawing = tuple(maze)
        self._maze = Maze.drawn(maze)
        self._patience = patience
        self._episodes = episodes
        self._generator = Generator("cpu").manual_seed(seed)
        self._episode: Walk | None = None
        self._walk = self._waiting(
            Walkers(
                self._maze.some_cells((walkers,), self._generator),
                torch.randint(patience, (walkers,), generator=self._generator),
            )
        )

    @property
    def batches(self) -> tuple[str, ...]:
        """`walk` and `episodes`."""
        return ("walk", "episodes")

    def step(self) -> Mapping[str, Walk]:
        """Go on from where the walkers were left."""
        maze = self._maze
        self._walk = Walk(maze, self._walk.left_at, self._patience, self._drawn())
        cells = torch.arange(maze.cells)
        cells = cells[cells != maze.goal].repeat(self._episodes)
        new = Walkers(cells, torch.zeros_like(cells))
        self._episode = Walk(maze, new, None, self._drawn())
        return {"walk": self._walk, "episodes": self._episode}

    def split(self, name: str, *, seed: int) -> Env:
        """Other walkers in the same maze; the seed is what tells splits apart.

        Raises:
            UsageError: `name` is not `train`, `validation` or `test`.
        """
        if name not in _SPLITS:
            raise UsageError(f"split: there is no '{name}' (known: {', '.join(_SPLITS)})")
        # Mixed, so that no split repeats the walks of another or of this Env.
        mixed = np.random.SeedSequence([seed, _SPLITS.index(name)]).generate_state(1)
        walkers = len(self._walk.left_at.cells)
        return MazeEnv(self._drawing, walkers, self._patience, self._episodes, int(mixed[0]))

    def state_dict(self) -> dict[str, Any]:
        """The walks of the last step, where their walkers were left, and the generator's state."""
        walk, episodes = self._walk, self._episode
        return {
            "walk": _saved(walk),
            "episodes": None if episodes is None else _saved(episodes),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._walk = self._loaded(state["walk"], self._patience)
        episodes = state["episodes"]
        self._episode = None if episodes is None else self._loaded(episodes, None)
        self._generator.set_state(state["generator"].cpu())

    def repeat(self) -> Mapping[str, Walk]:
        """The walks of the last step, the same objects that the next one goes on from."""
        assert self._episode is not None, "there was a step"
        return {"walk": self._walk, "episodes": self._episode}

    def _loaded(self, saved: Mapping[str, Any], patience: int | None) -> Walk:
        start, end = Walkers(*saved["start"]), saved["end"]
        seed = int(saved["seed"])
        return Walk(self._maze, start, patience, seed, None if end is None else Walkers(*end))

    def _waiting(self, walkers: Walkers) -> Walk:
        return Walk(self._maze, walkers, self._patience, seed=0)

    def _drawn(self) -> int:
        return int(torch.randint(2**62, (), generator=self._generator))


def _saved(walk: Walk) -> dict[str, Any]:
    """A walk as plain containers; the maze and its patience are the Env's."""
    end = None if walk.end is None else [walk.end.cells.clone(), walk.end.ages.clone()]
    start = [walk.start.cells.clone(), walk.start.ages.clone()]
    return {"start": start, "end": end, "seed": walk.seed}
