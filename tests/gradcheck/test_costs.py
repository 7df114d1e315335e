"""Memory and time of a call, and the ends of a spectrum."""

from __future__ import annotations

import time

import pytest
import torch
from cases import numbers, positive

from mlograph.gradcheck.measure import megabytes, seconds
from mlograph.gradcheck.spectrum import spectrum

CPU = torch.device("cpu")
MB = 2**20


def tensor(megabytes: int) -> torch.Tensor:
    return torch.ones(megabytes * MB // 8, dtype=torch.float64, requires_grad=True)


def test_what_a_graph_keeps_is_counted_once():
    x = tensor(1)

    def call() -> None:
        y = x * x  # keeps x twice
        y = y.exp()  # keeps its own output
        y.sum().backward()

    assert megabytes(call, CPU) == pytest.approx(2.0, abs=0.01)


def test_what_a_graph_lets_go_is_not_counted():
    def call() -> None:
        for _ in range(5):
            tensor(1).exp().exp().sum().backward()

    assert megabytes(call, CPU) == pytest.approx(2.0, abs=0.01)


def test_longer_chains_keep_more():
    def call(length: int) -> None:
        x = tensor(1)
        for _ in range(length):
            x = x.exp()
        x.sum().backward()

    assert megabytes(lambda: call(8), CPU) == pytest.approx(8.0, abs=0.01)


def test_second_derivatives_come_out_right_while_memory_is_counted():
    x, seen = torch.tensor(0.7, requires_grad=True), []

    def call() -> None:
        (first,) = torch.autograd.grad(x.exp().sin(), x, create_graph=True)
        seen.append(torch.autograd.grad(first, x)[0])

    call()
    megabytes(call, CPU)
    assert torch.equal(seen[0], seen[1])


def test_a_call_without_a_graph_keeps_nothing():
    assert megabytes(lambda: torch.ones(1000).exp(), CPU) == 0.0


def test_time_is_the_median(monkeypatch: pytest.MonkeyPatch):
    ticks = iter([0.0, 0.1, 10.0, 10.5, 20.0, 20.2])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    assert seconds(lambda: None, 3, CPU) == pytest.approx(0.2)


def test_what_takes_long_is_not_repeated(monkeypatch: pytest.MonkeyPatch):
    ticks = iter([0.0, 11.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    assert seconds(lambda: None, 3, CPU) == 11.0


@pytest.mark.parametrize("size", [1, 2, 10, 100])
def test_both_ends_of_a_spectrum(size: int):
    A = positive(size, seed=1, condition=40.0) - 3.0 * torch.eye(size, dtype=torch.float64)
    values = torch.linalg.eigvalsh(A)
    found = spectrum(lambda v: {"x": A @ v["x"]}, {"x": numbers(size, seed=2)})
    assert found.smallest == pytest.approx(float(values[0]), abs=0.05)
    assert found.largest == pytest.approx(float(values[-1]), abs=0.05)


def test_the_condition_number_knows_of_damping():
    A = torch.diag(torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64))
    found = spectrum(lambda v: {"x": A @ v["x"]}, {"x": numbers(3, seed=2)})
    assert found.condition() == float("inf")
    assert found.condition(1.0) == pytest.approx(5.0)
