"""Values as plain containers that are loaded without being trusted."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mlograph.checkpoints import Packer, Unpacker

Pair = namedtuple("Pair", ["left", "right"])


@dataclass(eq=False)
class Node:
    value: Any
    other: Any = None


KNOWN = {"Node": Node}


def through(value: Any, alive: dict[str, Any] | None = None) -> Any:
    """A value that was packed, saved, loaded and unpacked."""
    packer = Packer(KNOWN, alive)
    file = io.BytesIO()
    torch.save(packer.pack(value, "here"), file)
    assert packer.lost == []
    file.seek(0)
    unpacker = Unpacker(KNOWN)
    unpacker.alive = alive or {}
    return unpacker.unpack(torch.load(file, weights_only=True))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**70,
        0.1,
        1j,
        "text",
        b"bytes",
        [1, [2]],
        (),
        (1, (2, [3])),
        {"a": {1: "b"}},
        {("a", "b"): 1, None: 2},
        {1, 2},
        frozenset({"x"}),
        OrderedDict([("b", 1), ("a", 2)]),
        Counter("hello"),
        deque([1, 2], maxlen=3),
        PurePath("a/b"),
        torch.Size([1, 2]),
        torch.float16,
        torch.device("cpu"),
        np.float32(0.5),
        np.int64(3),
    ],
    ids=repr,
)
def test_a_value_comes_back_as_it_was(value: Any):
    found = through(value)
    assert type(found) is type(value) or isinstance(value, PurePath)
    assert found == value


def test_a_deque_keeps_its_limit():
    assert through(deque([1], maxlen=3)).maxlen == 3


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=np.uint32).reshape(2, 3), np.zeros((0, 2)), np.array(["a", "bc"])],
    ids=["uint32", "empty", "text"],
)
def test_an_array_comes_back_with_its_type_and_shape(array: Any):
    found = through(array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.array_equal(found, array)
    assert found.flags.writeable


def test_a_named_tuple_keeps_its_names():
    found = through(Pair(torch.ones(1), "b"))
    assert (float(found.left), found.right) == (1.0, "b")
    assert type(found).__name__ == "Pair"


def test_a_generator_goes_on():
    generator = torch.Generator().manual_seed(5)
    torch.rand(3, generator=generator)
    found = through(generator)
    assert torch.rand((), generator=found) == torch.rand((), generator=generator)


def test_an_object_that_is_met_twice_is_one_object():
    node = Node(1)
    left, right = through([node, Node(2, node)])
    assert right.other is left


def test_what_is_alive_is_the_same_object():
    walk = object()
    assert through([walk], {"env.walk": walk})[0] is walk


def test_a_slice_of_a_large_tensor_brings_only_itself():
    large = torch.arange(1_000_000).reshape(1000, 1000)
    column = large[3:5, ::7]
    packed: Tensor = Packer({}).pack(column, "here")
    assert torch.equal(packed, column)
    assert packed.stride() == column.stride()
    assert packed.untyped_storage().nbytes() < 20_000


def test_a_tensor_that_overlaps_itself_is_not_copied():
    row = torch.arange(4).expand(3, 4)
    assert torch.equal(through(row), row)


def test_what_cannot_be_packed_is_named():
    packer = Packer({})
    assert packer.pack([1, object(), object()], "problems.a.data") == [1, None, None]
    assert packer.lost == ["problems.a.data holds a builtins.object"]


@pytest.mark.parametrize(
    "packed", [("exec", "x"), ("record", 0, "Popen", {}), ("again", 7), ("numpy",)]
)
def test_what_no_packer_gives_is_refused(packed: Any):
    with pytest.raises(ValueError, match=r"unknown tag|cannot be read"):
        Unpacker(KNOWN).unpack(packed)
