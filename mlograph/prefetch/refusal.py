"""Sources from which nobody can read ahead, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from mlograph.data import FullBatch
from mlograph.envs.protocol import Env, RepeatingEnv
from mlograph.readings import Stateful

_PLAIN = (Tensor, np.ndarray, np.generic, bool, int, float, str, bytes, type(None))


def unfit(source: object, batch: Any) -> str:
    """Why reading ahead from a source would gain nothing, or change numbers; empty where neither.

    Args:
        source: an Env or an iterable.
        batch: one of it.
    """
    reasons = (
        (isinstance(source, RepeatingEnv), "its next step follows from what is done with this one"),
        (isinstance(source, DataLoader) and source.num_workers, "its own workers read ahead"),
        (isinstance(source, FullBatch | list | tuple), "its batches are in memory"),
        (isinstance(source, Iterator), "an iterator can be read only once"),
        (
            isinstance(source, Stateful) and not isinstance(source, Env),
            "it keeps its position itself",
        ),
    )
    for holds, reason in reasons:
        if holds:
            return reason
    strange = [leaf for leaf in pytree.tree_leaves(batch) if not isinstance(leaf, _PLAIN)]
    if strange:
        kind = type(strange[0]).__name__
        return f"a batch holds a {kind}, through which the run may change what comes next"
    return ""
