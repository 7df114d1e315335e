"""On what a run was made: versions, device and threads, but no environment variables."""

from __future__ import annotations

import importlib.metadata
import platform

import torch

# Those whose version can change numbers or files; whatever is not installed is left out.
_PACKAGES = (
    "mlograph",
    "torch",
    "numpy",
    "networkx",
    "pydantic",
    "pyyaml",
    "torchvision",
    "learn2learn",
)


def describe(device: str) -> str:
    """One line for each fact; `device` is what the graph asks for."""
    facts = {
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "device": f"{device} ({_devices()})",
        "threads": str(torch.get_num_threads()),
        **versions(),
    }
    width = max(map(len, facts))
    return "".join(f"{name:<{width}}  {fact}\n" for name, fact in facts.items())


def _devices() -> str:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return f"available: {', '.join(names)}, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        return "available: mps"
    return "available: cpu"


def versions() -> dict[str, str]:
    """By name, the versions of installed packages that can change numbers or files."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
