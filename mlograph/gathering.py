"""Faults of what is built piece by piece, so that one mistake does not hide the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from mlograph.errors import Fault, GraphError, MlographError, Path


@final
class Gathering:
    """Gathers what is wrong.

    Attributes:
        faults: what was found so far, in order.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    @contextmanager
    def piece(self, path: Path | None = None) -> Iterator[None]:
        """One piece is built inside; its faults end it, and nothing else.

        Args:
            path: of the piece, which mistakes without a place are faults of; without a path,
                these are raised.
        """
        try:
            yield
        except GraphError as error:
            self.faults.extend(fault for fault in error.faults if fault not in self.faults)
        except MlographError as error:
            if path is None:
                raise
            self.faults.append(Fault(path, str(error)))
