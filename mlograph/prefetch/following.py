"""How a copy of a source comes to stand where the run stands."""

from __future__ import annotations

from typing import Any, final

from mlograph.prefetch.messages import Follow, Followed, Useless
from mlograph.prefetch.process import Helper
from mlograph.prefetch.watch import Watch
from mlograph.readings import fingerprint

# Whoever reads what was read already must come to an end of it.
_MOST_ROUNDS = 50


class NotAheadError(Exception):
    """Nobody can read ahead, for a reason in words."""


@final
class Following:
    """A helper reads what the run reads by itself meanwhile, until it has read it all.

    Args:
        helper: has been sent the source as it was after a batch.
        watch: knows what was read since then.
        waits: the run waits for the helper; otherwise only where it is nearly there.
        nearly: so many batches are.
    """

    def __init__(self, helper: Helper, watch: Watch, nearly: int, *, waits: bool) -> None:
        self._helper = helper
        self._watch = watch
        self._nearly = nearly
        self._waits = waits
        self._asked = True
        self._behind = 0
        self._rounds = 0
        self._batch: Any = None
        watch.owed.clear()

    def tell(self, batch: Any) -> None:
        """The run has read another batch.

        Raises:
            LostError: the helper has ended.
        """
        self._batch = batch
        if not self._asked:
            self._ask()

    def arrived(self) -> bool:
        """Whether the helper stands where the run stands, and has read the same there.

        Raises:
            LostError: it has ended.
            NotAheadError: it cannot read the source, or reads other batches.
        """
        while self._asked and (self._may_wait or self._helper.has_answered):
            answer, self._asked = self._helper.receive(), False
            if isinstance(answer, Useless):
                raise NotAheadError(f"the process that would do so cannot: {answer.reason}")
            if self._rounds >= _MOST_ROUNDS:
                raise NotAheadError("the process that would do so is too slow")
            if self._watch.owed:
                self._ask()
            elif isinstance(answer, Followed):
                if answer.fingerprint != fingerprint(self._batch):
                    raise NotAheadError("another process reads other batches from it")
                return True
        return False

    @property
    def _may_wait(self) -> bool:
        """A few batches behind, it may never be there just when the run looks."""
        near = self._rounds > 0 and self._behind <= self._nearly and not self._watch.owed
        return self._waits or near

    def _ask(self) -> None:
        self._behind = len(self._watch.owed)
        self._helper.send(Follow(tuple(self._watch.owed)))
        self._watch.owed.clear()
        self._asked, self._rounds = True, self._rounds + 1
