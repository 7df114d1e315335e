"""How much memory is in use."""

import subprocess
import sys

import pytest
import torch

from mlograph.profiling.memory import HighestMemory, ProcessMemory, gauge_of

_MIB = 1024 * 1024
CPU = torch.device("cpu")


# In a process of its own: whether freed memory is given back depends on what was done before.
TAKEN = """\
import torch
from mlograph.profiling.memory import ProcessMemory

gauge = ProcessMemory()
# Twice, since the highest use of a process only grows unless it is forgotten.
for _ in range(2):
    before = gauge.look()
    block = torch.ones(200 << 20, dtype=torch.uint8)
    del block
    print(gauge.look().peak - before.now)
print(gauge.look().peak - gauge.look().now)
"""


@pytest.mark.skipif(not ProcessMemory.works(), reason="only Linux tells")
def test_a_peak_is_seen_each_time_it_is_reached():
    done = subprocess.run([sys.executable, "-c", TAKEN], capture_output=True, text=True, check=True)
    first, second, left = map(int, done.stdout.split())
    assert all(150 * _MIB < taken < 300 * _MIB for taken in (first, second))
    assert left < 20 * _MIB


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_elsewhere_the_highest_use_so_far_is_known():
    now = HighestMemory().look()
    assert now.peak == now.now > 20 * _MIB


def test_the_processor_has_a_gauge():
    assert gauge_of(CPU) is not None or sys.platform == "win32"


def test_a_device_has_its_own(monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 30)
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: calls.append(str(device))
    )
    gauge = gauge_of(torch.device("cuda:1"))
    assert gauge is not None
    use = gauge.look()
    assert (use.now, use.peak, calls) == (30, 70, ["cuda:1"])
    assert gauge.what == "tensors on cuda:1"
