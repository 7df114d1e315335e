"""What a run and its worker processes tell each other."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlograph.compiling import Chosen, How
from mlograph.components import Imports
from mlograph.hypergradients import HypergradientMethod
from mlograph.language.spec import ProblemSpec
from mlograph.plan import Plan, Tasks
from mlograph.problem import Problem, Term
from mlograph.randomness import mixed
from mlograph.state import ProblemState
from mlograph.tasks.sharing import Layout


@dataclass(frozen=True)
class Part:
    """What a problem is made of, its data left out.

    Attributes:
        spec: without what has been built.
        module: as it is.
        terms: of the loss.
        hyperparameters: options of the optimiser.
        reads: the other problems that the loss reads.
    """

    spec: ProblemSpec
    module: nn.Module
    terms: Sequence[Term]
    hyperparameters: Mapping[str, Term]
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Blueprint:
    """All that a worker needs to make the same program.

    Attributes:
        plan: of the run.
        parts: of its problems.
        methods: by problem.
        below: the problems below each.
        seed: of the run.
        imports: where optimisers and schedulers come from.
        layout: of the shared memory.
        precision: of products of float32 matrices.
        deterministic: whether torch may only use algorithms that always give the same.
        dtype: of new tensors.
        compile: whether derivatives of losses are compiled.
    """

    plan: Plan
    parts: Mapping[str, Part]
    methods: Mapping[str, HypergradientMethod]
    below: Mapping[str, frozenset[str]]
    seed: int
    imports: Imports
    layout: Layout
    precision: str
    deterministic: bool
    dtype: torch.dtype
    compile: How


@dataclass(frozen=True)
class Setting:
    """What of a problem may change between two windows, its tensors left out."""

    groups: Sequence[Mapping[str, Any]]
    schedule: Mapping[str, Any]
    modes: Mapping[str, bool]
    updates: int


@dataclass(frozen=True)
class Task:
    """One inner loop.

    Attributes:
        number: in its window.
        lower: a batch for each pass of the loop.
        upper: that of the pass above it.
    """

    number: int
    lower: tuple[Any, ...]
    upper: Any


@dataclass(frozen=True)
class Job:
    """What one worker does of a window, before it may be given more.

    Attributes:
        window: whose loops they are.
        tasks: one after another.
        lower: the problem below, as it is when the window begins.
        upper: the one above.
        compiled: what was chosen to be compiled, and what not.
        at_once: the tasks are run at once, and have one answer.
    """

    window: Tasks
    tasks: tuple[Task, ...]
    lower: Setting
    upper: Setting
    compiled: Chosen
    at_once: bool = False

    @property
    def answers(self) -> int:
        """How many there will be."""
        return 1 if self.at_once else len(self.tasks)


Measured = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Done:
    """What came of one inner loop, or of several at once; the gradient lies in the shared memory.

    Attributes:
        number: of the task, or the first one of several.
        gradient: names of the parameters above that it has a gradient for.
        lower: what was measured in each instruction, of the problem below.
        upper: the same of the one above.
        remarks: what the user should know.
        printed: what the user's code printed, to the standard output and error.
        drew: random numbers were drawn.
        end: the problem below after the last task of the window.
        compiled: what the worker of the first task has chosen by then.
        told: what it has to say of that.
    """

    number: int
    gradient: tuple[str, ...]
    lower: tuple[Measured, ...]
    upper: tuple[Measured, ...]
    remarks: tuple[str, ...]
    printed: tuple[str, str]
    drew: bool
    end: ProblemState | None = None
    compiled: Chosen | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """Why a worker could not do what it was told.

    Attributes:
        reason: in words.
        lasting: it will be so again; otherwise it is only about the present numbers.
    """

    reason: str
    lasting: bool


def seed_of(seed: int, upper: Problem, number: int) -> int:
    """Of the random numbers of one loop of the present window, whoever does it, and after whatever.

    Args:
        seed: of the run.
        upper: the problem above, before its update.
        number: of the task.
    """
    return mixed(seed, "task", upper.name, upper.updates, number)


def packed(message: object) -> bytes:
    """A message as bytes; tensors that are the same object stay so.

    Raises:
        Exception: something in it cannot be sent; there are as many kinds as objects.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(message)
    return buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """The message, from a process of the same run."""
    return pickle.loads(data)


class _Pickler(pickle.Pickler):
    """Writes plain tensors as arrays, which takes a tenth of the time."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FunctionType | type) and obj.__module__ == "__main__":
            name = obj.__qualname__
            raise pickle.PicklingError(
                f"'{name}' is defined in the script that was started; put it in a module of its own"
            )
        if type(obj) is MappingProxyType:
            return _read_only, (dict(obj),)
        if type(obj) is Tensor and _is_plain(obj):
            # An array that is not in C's order comes out of a pickle in it, and a convolution whose
            # weights lie in another order gives other last bits, and takes another time.
            if _is_in_order(obj):
                return _tensor, (obj.numpy(), None)
            if _is_dense(obj):
                flat = obj.as_strided((obj.numel(),), (1,))
                return _tensor, (flat.numpy(), (obj.shape, obj.stride()))
        return NotImplemented


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and not tensor.requires_grad
        and not tensor.is_conj()
        and not tensor.is_neg()
        and tensor.dtype is not torch.bfloat16
        and not tensor.is_quantized
    )


def _read_only(entries: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(entries)


def _is_in_order(tensor: Tensor) -> bool:
    """Whether its strides are the usual ones, those of axes of length 1 among them."""
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if stride != expected:
            return False
        expected *= max(size, 1)
    return True


def _is_dense(tensor: Tensor) -> bool:
    """Whether its numbers fill a piece of memory, in whatever order."""
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda axis: (-strides[axis], axis))
    return tensor.permute(order).is_contiguous()


def _tensor(
    array: np.ndarray[Any, Any], order: tuple[Sequence[int], Sequence[int]] | None
) -> Tensor:
    found = torch.from_numpy(array)
    return found if order is None else found.as_strided(*order)
