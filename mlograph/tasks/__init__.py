"""Several tasks at once: the inner loops of one accumulation window, vectorised or in processes.

Vectorised: parameters of the lower problem get an axis of tasks, and its loss is vmapped.
Gradients, products, solvers and optimisers stay outside and work on all tasks together; only inner
products know the axis (`trees.dot_each`, `trees.norm_each`). In processes: each runs some of the
loops as this one would, or a share of them at once.
"""

from __future__ import annotations

from mlograph.tasks.runner import Came, TaskRunner

__all__ = ["Came", "TaskRunner"]
