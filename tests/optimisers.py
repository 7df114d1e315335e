"""Every torch optimiser whose update can be differentiated, in all the ways it can be set up."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

VARIANTS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.1}),
    "SGD weight decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3}),
    "SGD momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "SGD nesterov": (
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3},
    ),
    "SGD dampening": (
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.3},
    ),
    "SGD maximize": (
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.3, "maximize": True},
    ),
    "Adam": (torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.2}),
    "Adam amsgrad": (torch.optim.Adam, {"lr": 0.1, "amsgrad": True, "maximize": True}),
    "Adam decoupled": (
        torch.optim.Adam,
        {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "AdamW": (torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.2}),
    "AdamW amsgrad": (torch.optim.AdamW, {"lr": 0.1, "amsgrad": True, "betas": (0.8, 0.9)}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.1, "weight_decay": 0.2}),
    "RMSprop centered": (torch.optim.RMSprop, {"lr": 0.1, "centered": True, "momentum": 0.5}),
    "Adagrad": (torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.2}),
    "Adagrad from one": (torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 1.0}),
    "Adadelta": (torch.optim.Adadelta, {"lr": 0.1, "weight_decay": 0.2}),
    "Adamax": (torch.optim.Adamax, {"lr": 0.1, "weight_decay": 0.2}),
    "NAdam": (torch.optim.NAdam, {"lr": 0.1, "weight_decay": 0.2}),
    "NAdam decoupled": (
        torch.optim.NAdam,
        {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "RAdam": (torch.optim.RAdam, {"lr": 0.1}),
    # After five steps with β₂ = 0.9 the variance is rectified.
    "RAdam rectified": (torch.optim.RAdam, {"lr": 0.1, "betas": (0.9, 0.9), "weight_decay": 0.2}),
    "RAdam decoupled": (
        torch.optim.RAdam,
        {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "ASGD": (torch.optim.ASGD, {"lr": 0.1, "t0": 2, "lambd": 0.1, "weight_decay": 0.2}),
    "Rprop": (torch.optim.Rprop, {"lr": 0.1}),
}
