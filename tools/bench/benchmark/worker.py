"""A library in a process of its own: set up, then a turn of updates each time that it is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

from benchmark import memory, reference
from benchmark.libraries import load
from benchmark.libraries.protocol import Job, Session, UnsupportedError
from benchmark.problems import Problem

# Errors from here on are not rounding.
WRONG = 1e-6
# Seconds of a turn, at least. What ran in between has filled the processor's caches with its own,
# and a short update would mostly show how long it takes to get them back.
TURN = 0.5


@dataclass(frozen=True)
class Order:
    """What a process is started for.

    Attributes:
        library: by name.
        problem: what to do.
        device: `cpu` or `cuda`.
        threads: of torch.
        warmup: updates before the first one that counts.
        shipped: the networks are those that mlograph ships.
    """

    library: str
    problem: Problem
    device: str
    threads: int
    warmup: int
    shipped: bool


@dataclass(frozen=True)
class Checked:
    """How far a library's first hypergradient is from the reference, in float64.

    Attributes:
        version: of the library.
        error: relative to the length of the reference.
        note: why it is not rounding, where that is known.
    """

    version: str
    error: float
    note: str


@dataclass(frozen=True)
class Unable:
    """Why there is nothing to measure.

    Attributes:
        word: what stands in the table.
        reason: below it.
    """

    word: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """An update of a turn, on average.

    Attributes:
        seconds: by the clock.
        cpu: seconds of processor time, of all threads.
        peak: bytes that the process grew by since it was set up, at most.
    """

    seconds: float
    cpu: float
    peak: int


def check(order: Order, pipe: Connection) -> None:
    """Send `Checked`, or `Unable`."""
    torch.set_num_threads(order.threads)
    torch.set_default_dtype(torch.float64)
    pipe.send(_checked(order))


def serve(order: Order, pipe: Connection) -> None:
    """Send a `Sample` for every message, until the other end is closed."""
    torch.set_num_threads(order.threads)
    _preheat(order.device)
    library = load(order.library)
    assert library is not None, "it was there when its hypergradient was checked"
    session = library.session(Job(order.problem, order.device, shipped=order.shipped))
    before = memory.begin(order.device)
    for _ in range(order.warmup):
        session.update()
    pipe.send("ready")
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(_sample(session, order.device, before))


def _checked(order: Order) -> Checked | Unable:
    job = Job(order.problem, order.device, plainly=True, shipped=order.shipped)
    try:
        library = load(order.library)
        if library is None:
            return Unable("not run", "not installed")
        found = _hypergradient(library.session(job))
    except UnsupportedError as error:
        return Unable("cannot", str(error))
    except Exception as error:
        # Whatever a library raises is its answer.
        return Unable("fails", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    expected = reference.hypergradient(job)
    error = float((found - expected).norm() / expected.norm())
    return Checked(library.version, error, "" if error < WRONG else library.remark(job))


def _hypergradient(session: Session) -> Tensor:
    """What the first update moves the upper parameters by."""
    before = _flat(session)
    session.update()
    return before - _flat(session)


def _flat(session: Session) -> Tensor:
    return torch.cat([x.detach().flatten() for x in session.upper])


def _sample(session: Session, device: str, before: int) -> Sample:
    _settle(device)
    began, began_cpu = time.perf_counter(), time.process_time()
    updates, seconds = 0, 0.0
    while seconds < TURN:
        session.update()
        _settle(device)
        updates, seconds = updates + 1, time.perf_counter() - began
    cpu = time.process_time() - began_cpu
    return Sample(seconds / updates, cpu / updates, memory.peak(device) - before)


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _preheat(device: str) -> None:
    """What torch loads when it is first used shall not count as somebody's memory."""
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 2)).to(device)
    inputs = torch.randn(2, 1, 8, 8, device=device)
    params = [*module.parameters()]
    slopes = torch.autograd.grad(module(inputs).square().sum(), params, create_graph=True)
    torch.stack([x.square().sum() for x in slopes]).sum().backward()
    torch.optim.Adam(params).step()
