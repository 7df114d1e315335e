"""Time and memory of activities that lie within one another."""

from __future__ import annotations

import pytest

from mlograph.plan import Backward, Step, Tasks
from mlograph.profiling.memory import Use
from mlograph.profiling.observer import Aside, aside, observed
from mlograph.profiling.stopwatch import Memory, Stopwatch, Timed


class Clock:
    """Tells the seconds that a test lets pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Bytes:
    """A gauge that a test moves."""

    what = "a test"

    def __init__(self) -> None:
        self.now = self.peak = 0

    def use(self, now: int) -> None:
        self.now, self.peak = now, max(self.peak, now)

    def look(self) -> Use:
        use = Use(self.now, self.peak)
        self.peak = self.now
        return use


WINDOW = Tasks("upper", "lower", 2, (Step("lower"), Backward("upper")))


def test_what_lies_within_an_activity_is_not_its_own(clock: Clock):
    found: list[Timed] = []
    watch = Stopwatch([found.append])
    with watch.watching(Aside.RUN):
        clock.wait(1)
        with watch.watching(WINDOW):
            clock.wait(2)
            for _ in range(2):
                with watch.watching(Step("lower")):
                    clock.wait(4)
        clock.wait(8)
    told = [(one.activity, one.depth, one.seconds, one.own) for one in found]
    assert told == [
        (Step("lower"), 2, 4, 4),
        (Step("lower"), 2, 4, 4),
        (WINDOW, 1, 10, 2),
        (Aside.RUN, 0, 19, 9),
    ]


def test_what_telling_takes_is_nobodys_time(clock: Clock):
    found: list[Timed] = []
    watch = Stopwatch([lambda one: clock.wait(100), found.append])
    with watch.watching(Aside.RUN), watch.watching(Step("lower")):
        clock.wait(1)
    assert [one.own for one in found] == [1, 0]


def test_instructions_of_a_validation_are_a_part_of_it(clock: Clock):
    found: list[Timed] = []
    watch = Stopwatch([found.append])
    with watch.watching(Aside.RUN):
        with watch.watching(Aside.VALIDATION), watch.watching(Step("lower")):
            pass
        with watch.watching(Step("lower")):
            pass
    assert [one.aside for one in found] == [
        Aside.VALIDATION,
        Aside.VALIDATION,
        Aside.RUN,
        Aside.RUN,
    ]


def test_each_activity_has_the_peak_of_what_lies_within_it():
    found: list[Timed] = []
    gauge = Bytes()
    watch = Stopwatch([found.append], gauge)
    gauge.use(10)
    with watch.watching(WINDOW):
        gauge.use(50)
        gauge.use(20)
        with watch.watching(Step("lower")):
            gauge.use(60)
            gauge.use(15)
        with watch.watching(Backward("upper")):
            gauge.use(30)
    assert [one.memory for one in found] == [
        Memory(peak=60, growth=40),
        Memory(peak=30, growth=15),
        Memory(peak=60, growth=50),
    ]


def test_an_activity_that_fails_is_measured_all_the_same(clock: Clock):
    found: list[Timed] = []
    watch = Stopwatch([found.append])
    with pytest.raises(ValueError, match="no"), watch.watching(Step("lower")):
        clock.wait(3)
        raise ValueError("no")
    assert [one.seconds for one in found] == [3]


def test_a_device_is_waited_for_before_the_clock_is_read():
    order: list[str] = []
    watch = Stopwatch([], wait=lambda: order.append("wait"))
    with watch.watching(Step("lower")):
        order.append("step")
    assert order[order.index("step") - 1] == order[order.index("step") + 1] == "wait"


def test_nobody_pays_for_an_observer_that_is_not_there():
    def execute(instruction: object) -> None: ...

    assert observed(execute, None) is execute
    with aside(None, Aside.LOG):
        pass
