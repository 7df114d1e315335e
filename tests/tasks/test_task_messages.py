"""What goes from process to process: messages, and tensors in shared memory."""

from __future__ import annotations

import os
import pickle
import sys
from types import MappingProxyType
from typing import Any

import pytest
import torch

from mlograph.children import CORES, cores
from mlograph.nn import ConvNet
from mlograph.tasks.messages import packed, unpacked
from mlograph.tasks.pool import Pool
from mlograph.tasks.refusal import GoneError
from mlograph.tasks.sharing import Block, Layout


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).view(2, 3).t(),
        torch.tensor(1.5, dtype=torch.float64),
        torch.tensor([True, False]),
        torch.zeros(0, 3),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, requires_grad=True),
        torch.complex(torch.ones(2), torch.ones(2)).conj(),
        torch.eye(2).to_sparse(),
    ],
    ids=["transposed", "number", "bool", "empty", "bf16", "leaf", "conjugate", "sparse"],
)
def test_a_tensor_stays_what_it_is(tensor: torch.Tensor):
    found = unpacked(packed({"x": tensor}))["x"]
    assert found.dtype == tensor.dtype and found.requires_grad == tensor.requires_grad
    assert torch.equal(found.to_dense(), tensor.to_dense())


def test_one_tensor_of_many_batches_is_sent_once():
    batch = torch.zeros(100_000)
    data = packed([batch] * 50)
    assert len(data) < 500_000
    first, *rest = unpacked(data)
    assert all(other is first for other in rest)


def test_read_only_mappings_can_be_sent():
    found = unpacked(packed(MappingProxyType({"a": 1})))
    assert isinstance(found, MappingProxyType) and dict(found) == {"a": 1}


def test_what_only_this_script_knows_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    def fit() -> None: ...

    monkeypatch.setattr(fit, "__module__", "__main__")
    monkeypatch.setattr(fit, "__qualname__", "fit")
    monkeypatch.setattr(sys.modules["__main__"], "fit", fit, raising=False)
    with pytest.raises(pickle.PicklingError) as caught:
        packed(fit)
    assert str(caught.value) == (
        "'fit' is defined in the script that was started; put it in a module of its own"
    )


def test_what_one_writes_into_a_block_another_reads():
    tensors: dict[tuple[str, ...], Any] = {
        ("a", "weight"): torch.zeros(3, 5),
        ("a", "count"): torch.zeros((), dtype=torch.int64),
        ("b", "nothing"): torch.zeros(0),
        ("b", "mask"): torch.zeros(3, dtype=torch.bool),
        ("b", "weight"): torch.zeros(2, dtype=torch.float64),
    }
    layout = Layout.of(tensors)
    one = Block(layout)
    other = Block(unpacked(packed(layout)), one.descriptor)
    for number, tensor in enumerate(one.tensors.values()):
        tensor.fill_(number)
    for key, tensor in other.tensors.items():
        assert tensor.shape == tensors[key].shape and tensor.dtype == tensors[key].dtype
        assert torch.equal(tensor, one.tensors[key])
    assert float(other.tensors["b", "weight"][1]) == 4.0
    one.close()


def test_processes_that_cannot_be_started_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    block = Block(Layout.of({("a",): torch.zeros(1)}))
    with pytest.raises(GoneError, match=r"^a worker process cannot be started: .*/nowhere"):
        Pool(1, block, ())
    block.close()


def test_a_worker_that_ends_by_itself_is_told_with_its_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlograph.children._PROGRAM", "raise SystemExit(7)")
    block = Block(Layout.of({("a",): torch.zeros(1)}))
    pool = Pool(2, block, ())
    with pytest.raises(GoneError, match="worker process 2 of 2 ended with exit code 7"):
        next(pool.listen({1: 1}))
    pool.close()
    block.close()
    assert not len(pool)


def test_there_is_a_core_at_least():
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("share", "found"), [("0", 1), ("1", 1), ("100000", cores())])
def test_a_process_that_shares_the_cores_has_fewer(
    share: str, found: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(CORES, share)
    assert cores() == found


def test_weights_lie_in_a_worker_as_they_lie_here():
    net = ConvNet(3, hidden=4)
    sent = unpacked(packed(net))
    for ours, theirs in zip(net.parameters(), sent.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
    every_other = torch.randn(4, 6)[:, ::2]
    assert torch.equal(unpacked(packed(every_other)), every_other)
    assert unpacked(packed(torch.zeros(0, 3))).shape == (0, 3)
