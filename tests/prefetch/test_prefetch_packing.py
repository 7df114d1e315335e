"""What is sent to another process and comes back is the same to the last bit, and lies the same."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlograph.prefetch.packing import packed, unpacked

WHOLE = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)


@pytest.mark.parametrize(
    "tensor",
    [
        WHOLE,
        WHOLE[1],
        WHOLE[:, 1:, 3],
        WHOLE[..., ::2],
        WHOLE.permute(0, 2, 3, 1),
        WHOLE.to(memory_format=torch.channels_last),
        WHOLE.flatten()[5:17],
        WHOLE[:0],
        torch.tensor(3.0),
        torch.tensor([True, False]),
        torch.randn(3).bfloat16(),
        torch.randn(3, dtype=torch.complex64),
        torch.ones(3).expand(4, 3),
        torch.eye(3).to_sparse(),
    ],
)
def test_tensors_lie_in_memory_as_they_lay(tensor: torch.Tensor):
    again = unpacked(packed((tensor,)))[0]
    assert (again.dtype, again.shape, again.layout) == (tensor.dtype, tensor.shape, tensor.layout)
    if tensor.layout is torch.strided:
        assert torch.equal(again, tensor)
        assert again.stride() == tensor.stride()
        assert (again.data_ptr() - tensor.data_ptr()) % 64 == 0
    else:
        assert torch.equal(again.to_dense(), tensor.to_dense())


def test_a_view_is_sent_without_what_it_is_a_view_of():
    assert len(packed(torch.zeros(1_000_000)[:10])) < 1000


@pytest.mark.parametrize(
    "generator", [torch.default_generator, np.random.mtrand._rand, random._inst]
)
def test_the_global_generators_are_those_of_whoever_unpacks(generator: Any):
    assert unpacked(packed([generator]))[0] is generator


def test_generators_go_on_where_they_were():
    one = torch.Generator().manual_seed(3)
    torch.rand(5, generator=one)
    other = unpacked(packed(one))
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=other))


def test_what_the_run_trains_is_not_copied():
    layer = nn.Linear(2, 2)
    for value in (layer, [layer.weight]):
        with pytest.raises(Exception, match="that the run trains"):
            packed(value, {id(layer), id(layer.weight)})
