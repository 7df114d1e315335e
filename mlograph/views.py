"""What a loss sees of a problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class View(Protocol):
    """A problem's module as a loss may use it: call it like the module.

    The parameters are those that the executor hands over for this evaluation, which need not be
    the module's own: an inner loop's, a perturbed copy's, or one task's slice under `vmap`.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module's `forward` gives with this view's parameters."""
        ...

    def parameters(self) -> tuple[Tensor, ...]:
        """The parameters, in the module's order."""
        ...

    def named_parameters(self) -> Mapping[str, Tensor]:
        """The parameters by the names that the module gives them."""
        ...

    def buffers(self) -> Mapping[str, Tensor]:
        """The buffers by name."""
        ...
