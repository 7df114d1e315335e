"""Derivatives of losses as compiled regions (`torch.compile`): never a whole loop.

Two kinds of region: the first derivatives of a loss that nothing differentiates again, and the
recorded gradient of a lower problem with its products. torch cannot differentiate a compiled
function twice, but the gradient itself can be what is compiled; its derivative is then compiled as
well.
"""

from __future__ import annotations

from mlograph.compiling.choice import Choice
from mlograph.compiling.compiling import Chosen, Compiling, How
from mlograph.compiling.shortcut import Shortcut

__all__ = ["Choice", "Chosen", "Compiling", "How", "Shortcut"]
