"""How long a check may take, and what is said meanwhile."""

from __future__ import annotations

import io
from math import inf

import pytest
import torch

from mlograph.gradcheck import Progress
from mlograph.gradcheck.clock import Clock, OutOfTimeError


class Ticks:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class TestClock:
    def test_it_counts_down_to_nothing(self):
        ticks = Ticks()
        clock = Clock(10.0, now=ticks)
        ticks.now += 4.0
        assert clock.left == 6.0
        ticks.now += 40.0
        assert clock.left == 0.0
        assert Clock(inf, now=ticks).left == inf

    def test_a_share_of_what_is_left_is_a_clock_of_its_own(self):
        ticks = Ticks()
        clock = Clock(10.0, now=ticks)
        ticks.now += 4.0
        part = clock.share(3)
        assert part.left == 2.0
        ticks.now += 1.0
        assert (part.left, clock.left) == (1.0, 5.0)

    def test_derivatives_are_stopped_when_time_is_up(self):
        ticks, done = Ticks(), []
        x = torch.ones(2, requires_grad=True)
        with (
            pytest.raises(OutOfTimeError, match="not done within 5 s; --budget gives more time"),
            Clock(60.0, now=ticks).at_most(5.0),
        ):
            for _ in range(10):
                torch.autograd.grad((x * x).sum(), x)
                done.append(ticks.now)
                ticks.now += 2.0
        assert done == [100.0, 102.0, 104.0]
        assert (x * x).sum() == 2.0

    def test_the_nearer_of_two_ends_counts(self):
        ticks = Ticks()
        clock = Clock(60.0, now=ticks)
        with (
            pytest.raises(OutOfTimeError, match="within 3 s"),
            clock.at_most(3.0),
            clock.at_most(50.0),
        ):
            ticks.now += 10.0
            torch.ones(1, requires_grad=True).exp().backward()

    def test_nothing_else_is_stopped_lest_something_is_not_put_back(self):
        ticks = Ticks()
        with Clock(60.0, now=ticks).at_most(3.0), torch.no_grad():
            ticks.now += 10.0
            torch.ones(1).exp()
        assert torch.is_grad_enabled()

    def test_without_a_limit_nothing_looks_at_the_clock(self):
        ticks = Ticks()
        with Clock(60.0, now=ticks).at_most(inf):
            ticks.now += 1e9
            torch.ones(1).exp()

    def test_derivatives_of_all_kinds_come_out_the_same(self):
        def function(x: torch.Tensor) -> torch.Tensor:
            return (x.sin() * x).sum()

        def numbers() -> list[torch.Tensor]:
            x = torch.arange(3.0)
            return [
                torch.func.grad(function)(x),
                torch.func.jacrev(torch.func.grad(function))(x),
                torch.vmap(torch.func.grad(function))(torch.eye(3)),
            ]

        before = numbers()
        with Clock(60.0).at_most(60.0):
            after = numbers()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


class TestProgress:
    def test_a_terminal_has_one_line_that_is_written_over(self):
        ticks, screen = Ticks(), Screen()
        progress = Progress(screen, now=ticks)
        progress("outer: cg")
        ticks.now += 7.0
        progress("outer: \x1b[31munroll")
        progress.end()
        assert screen.getvalue() == (
            "\r   0 s  outer: cg\x1b[K\r   7 s  outer: \\x1b[31munroll\x1b[K\r\x1b[K"
        )

    def test_a_file_has_a_line_now_and_then(self):
        ticks, file = Ticks(), io.StringIO()
        progress = Progress(file, now=ticks)
        for number in range(6):
            progress(f"step {number}")
            ticks.now += 6.0
        progress.end()
        assert file.getvalue() == "  12 s  step 2\n  24 s  step 4\n"
