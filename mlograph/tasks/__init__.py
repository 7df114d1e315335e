"""Several tasks at once: the inner loops of one accumulation window, vectorised.

Parameters of the lower problem get an axis of tasks, and its loss is vmapped. Gradients, products,
solvers and optimisers stay outside and work on all tasks together; only inner products know the
axis (`trees.dot_each`, `trees.norm_each`).
"""

from __future__ import annotations

from mlograph.tasks.runner import TaskRunner
from mlograph.tasks.window import Outcome, note

__all__ = ["Outcome", "TaskRunner", "note"]
