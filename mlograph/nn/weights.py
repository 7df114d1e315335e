"""Modules whose parameters begin as somebody says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn

from mlograph.errors import UsageError, did_you_mean


def filled(module: nn.Module, value: float) -> nn.Module:
    """A module with `value` for every entry of every parameter: one number for each of another's.

    Args:
        module: gives names and shapes, such as the module of the problem whose rates these are.
        value: of all entries.
    """
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def loaded(
    module: nn.Module, weights: Mapping[str, Tensor], missing: Sequence[str] = ()
) -> nn.Module:
    """A module whose parameters and buffers begin as `weights` say, such as another run's.

    Args:
        module: the architecture.
        weights: by name, such as `mlograph.data.learned` gives; what `module` lacks is an error.
        missing: globs over names that `weights` need not give; these stay as they are.

    Raises:
        UsageError: names or shapes do not fit.
    """
    ours = module.state_dict()
    for name, tensor in weights.items():
        if name not in ours:
            raise UsageError(f"weights: the module has no '{name}' ({did_you_mean(name, ours)})")
        if ours[name].shape != tensor.shape:
            raise UsageError(
                f"weights: '{name}' has shape {tuple(tensor.shape)}, and {tuple(ours[name].shape)} "
                "in the module"
            )
    for name in ours.keys() - weights.keys():
        if not any(fnmatchcase(name, pattern) for pattern in missing):
            raise UsageError(f"weights: give no '{name}' (list it as missing if it may be new)")
    module.load_state_dict(dict(weights), strict=False)
    return module
