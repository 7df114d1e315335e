"""What both tools ask of BOAT."""

from __future__ import annotations

import os
from typing import Any

from torch import nn


def shared(upper: nn.Module, lower: nn.Module, operations: list[str]) -> dict[str, Any]:
    """A configuration; what neither tool decides stands as in BOAT's own examples."""
    return {
        "fo_op": None,
        "gm_op": ["NGD"],
        "na_op": operations,
        "lower_level_model": lower,
        "upper_level_model": upper,
        "lower_level_var": list(lower.parameters()),
        "upper_level_var": list(upper.parameters()),
        "loss_log_path": os.devnull,
        "GDA": {"alpha_init": 0.5, "alpha_decay": 0.9},
        "RGT": {"truncate_iter": 0},
    }


def losses(module: str) -> dict[str, Any]:
    """Losses are found by import path."""
    return {
        "lower_level_loss": {"function": f"{module}.lower_loss"},
        "upper_level_loss": {"function": f"{module}.upper_loss"},
    }
