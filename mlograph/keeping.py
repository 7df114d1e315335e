"""When a run is saved, and where."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from mlograph.checkpoints import EXIT_CODES, Signals, Store
from mlograph.errors import Interruption
from mlograph.language.spec import CheckpointSpec
from mlograph.profiling import Aside, Observer, aside
from mlograph.snapshot import Snapshot


@dataclass(frozen=True)
class Moment:
    """Where a run is, between two instructions.

    Attributes:
        executed: instructions since its beginning.
        step: updates of the counted problem.
        counted: the last instruction was one of these.
        best: a validation has just found the best value so far.
        ended: the run is over.
    """

    executed: int
    step: int
    counted: bool = False
    best: bool = False
    ended: bool = False


@final
class Keeper:
    """Saves a run from time to time.

    Args:
        folder: for checkpoints; it exists.
        spec: when.
        signals: whether the run shall end.
        observer: is there when it is saved.
    """

    def __init__(
        self,
        folder: Path,
        spec: CheckpointSpec,
        signals: Signals,
        observer: Observer | None = None,
    ) -> None:
        self.store = Store(folder, spec.keep)
        self._spec = spec
        self._signals = signals
        self._observer = observer
        self._saved_at = time.monotonic()

    def keep(self, moment: Moment, take: Callable[[], Snapshot]) -> tuple[str, ...]:
        """Save the run if it is time to.

        Args:
            moment: where it is.
            take: gives its state.

        Returns:
            What could not be saved, if anything was.

        Raises:
            Interruption: a signal came; the run has been saved.
            StorageError: it cannot be saved.
        """
        lost: tuple[str, ...] = ()
        asked = self._signals.asked is not None
        if self._is_due(moment) or asked or moment.best:
            with aside(self._observer, Aside.CHECKPOINT):
                lost = self._save(moment, take(), due=self._is_due(moment) or asked)
        if not moment.ended:
            self.leave_if_asked(f"after {moment.step} updates")
        return lost

    def _save(self, moment: Moment, snapshot: Snapshot, *, due: bool) -> tuple[str, ...]:
        if moment.best:
            self.store.save_best(snapshot.state)
        if due:
            self.store.save(snapshot.state, moment.step, moment.executed)
            self._saved_at = time.monotonic()
        return snapshot.lost

    def leave_if_asked(self, where: str) -> None:
        """End the run if a signal came.

        Raises:
            Interruption: one did.
        """
        asked = self._signals.asked
        if asked is None:
            return
        again = shlex.join(["mlograph", "resume", str(self.store.folder.parent)])
        message = f"stopped by {asked.name} {where}; go on with: {again}"
        raise Interruption(message, EXIT_CODES[asked])

    def _is_due(self, moment: Moment) -> bool:
        if moment.ended:
            return True
        spec = self._spec
        # The first tells at once whether the run can be saved at all.
        if moment.counted and (moment.step == 1 or (spec.every and moment.step % spec.every == 0)):
            return True
        waited = time.monotonic() - self._saved_at
        return spec.minutes is not None and waited >= 60 * spec.minutes
