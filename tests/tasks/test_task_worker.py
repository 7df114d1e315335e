"""What a worker makes of the jobs that it is given; here it lives in this process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from builders import bound
from task_graphs import tasks

from mlograph.plan import EnvStep, Tasks
from mlograph.problem import Moment
from mlograph.program import Program
from mlograph.randomness import RandomState
from mlograph.tasks.distribution import _dealt, _packed_blueprint, _setting
from mlograph.tasks.drawing import Drawn, draw
from mlograph.tasks.messages import Done, Job, unpacked
from mlograph.tasks.messages import Task as OneTask
from mlograph.tasks.sharing import Block, Layout
from mlograph.worker import Worker


@pytest.fixture
def program() -> Program:
    return bound(tasks("processes", count=4))


@pytest.fixture
def window(program: Program) -> Tasks:
    (window,) = program.plan.tasks
    assert isinstance(window, Tasks)
    return window


@pytest.fixture
def loops(program: Program, window: Tasks) -> list[OneTask]:
    def step() -> None:
        assert program.env is not None
        program.env.step()

    assert EnvStep() in window.body
    both = program.problems[window.lower], program.problems[window.upper]
    return [task for tasks in _dealt(draw(window, *both, step), 2) for task in tasks]


@pytest.fixture
def worker(program: Program) -> Worker:
    tensors = {("upper", name): x for name, x in program.problems["upper"].model.tensors().items()}
    slots = {
        ("gradient", str(number), name): x
        for number in range(4)
        for name, x in program.problems["upper"].model.params.items()
    }
    layout = Layout.of(tensors | slots)
    block = Block(layout)
    with torch.no_grad():
        for key, x in tensors.items():
            block.tensors[key].copy_(x)
    return Worker(unpacked(_packed_blueprint(program, layout)), block)


def done(
    worker: Worker,
    program: Program,
    window: Tasks,
    some: Sequence[OneTask],
    *,
    at_once: bool = False,
) -> list[Done]:
    lower, upper = (_setting(program.problems[name]) for name in (window.lower, window.upper))
    answers = list(worker.answers(Job(window, tuple(some), lower, upper, {}, at_once)))
    assert all(isinstance(answer, Done) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Done)]


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [
        (16, 2, [4, 4, *[1] * 8]),
        (5, 2, [1] * 5),
        (4, 4, [1] * 4),
        (9, 1, [4, *[1] * 5]),
    ],
)
def test_about_half_of_the_loops_are_dealt_first_and_the_others_one_by_one(
    count: int, workers: int, sizes: list[int]
):
    some = Moment(None, 0, RandomState.capture(torch.device("cpu")))
    dealt = _dealt(Drawn(((some,),) * count, (some,) * count), workers)
    assert [len(tasks) for tasks in dealt] == sizes
    assert [task.number for tasks in dealt for task in tasks] == [*range(count)]


def test_who_did_the_first_loop_chooses_for_all_until_the_next_window(
    worker: Worker, program: Program, window: Tasks, loops: list[OneTask]
):
    leads = [done(worker, program, window, some)[0].compiled for some in (loops[:1], loops[2:3])]
    assert leads == [{}, {}]
    program.problems["upper"].updates += 1
    assert done(worker, program, window, loops[1:2])[0].compiled is None


def test_a_loop_gives_the_same_whatever_its_worker_did_before(
    worker: Worker, program: Program, window: Tasks, loops: list[OneTask]
):
    def gradients() -> list[torch.Tensor]:
        return [x.clone() for key, x in worker._tensors.items() if key[:2] == ("gradient", "3")]

    done(worker, program, window, loops[3:])
    alone = gradients()
    done(worker, program, window, loops[:2])
    (last,) = done(worker, program, window, loops[3:])
    assert all(torch.equal(x, y) for x, y in zip(alone, gradients(), strict=True))
    assert any(bool(x.any()) for x in alone)
    assert last.end is not None and last.end.updates == 4 * 3


def test_several_at_once_have_one_answer_with_the_sum_of_their_gradients(
    worker: Worker, program: Program, window: Tasks, loops: list[OneTask]
):
    def gradient(number: int) -> list[torch.Tensor]:
        key = ("gradient", str(number))
        return [x.clone() for name, x in worker._tensors.items() if name[:2] == key]

    each = done(worker, program, window, loops)
    wanted = [sum(parts) for parts in zip(*map(gradient, range(1, 4)), strict=True)]
    (together,) = done(worker, program, window, loops[1:], at_once=True)
    assert together.number == 1
    assert all(torch.allclose(x, y) for x, y in zip(gradient(1), wanted, strict=True))
    (alone,), last = together.lower, each[-1]
    assert alone["counts"]["loss"] == 3 * 3
    sums = [one["sums"].get("loss", 0.0) for answer in each[1:] for one in answer.lower]
    assert float(alone["sums"]["loss"]) == pytest.approx(sum(map(float, sums)))
    assert together.end is not None and last.end is not None
    assert together.end.updates == last.end.updates
    for name, x in last.end.tensors.items():
        assert torch.allclose(x, together.end.tensors[name])
