"""What else decides the bits of a run: versions, threads, the processor and torch's switches."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping

import torch

from mlograph.environment import versions

Facts = dict[str, str]


def facts(device: torch.device) -> Facts:
    """By name, what two runs must share to be the same to the last bit."""
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device.type,
        "instruction set": str(torch.backends.cpu.get_cpu_capability()),
        "threads": str(torch.get_num_threads()),
        "precision of float32 products": torch.get_float32_matmul_precision(),
        "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        **versions(),
    }
    if device.type == "cuda":
        found["graphics card"] = torch.cuda.get_device_name(device)
        found["CUDA"] = str(torch.version.cuda)
    return found


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """In words, what differs between the machine of a checkpoint and this one."""
    for name in sorted(then.keys() | now.keys()):
        before, here = then.get(name, "none"), now.get(name, "none")
        if before != here:
            yield f"{name}: {before} when it was saved, {here} now"
