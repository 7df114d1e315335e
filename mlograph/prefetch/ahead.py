"""Batches that were read ahead, as far as they count."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from typing import final

from mlograph.errors import MlographError
from mlograph.prefetch.chance import Chance, same, words
from mlograph.prefetch.following import NotAheadError
from mlograph.prefetch.messages import Drawn, Ended, Failed, Go, More
from mlograph.prefetch.packing import unpacked
from mlograph.prefetch.process import Helper


@final
class Ahead:
    """A helper that stands where the run stands, and reads on from there.

    A batch counts where the generators that reading it moved stand here as they stood there.

    Args:
        helper: has read what the run has read.
        chance: the generators.
        depth: batches that are kept ready.

    Attributes:
        seconds: from one batch to the next, the last time.

    Raises:
        LostError: the helper has ended.
    """

    def __init__(self, helper: Helper, chance: Chance, depth: int) -> None:
        self.seconds = 0.0
        self._helper = helper
        self._chance = chance
        self._depth = depth
        self._when = time.perf_counter()
        self._go()

    def take(self) -> Drawn:
        """The next batch; the generators are as after reading it here.

        Raises:
            LostError: the helper has ended.
            NotAheadError: the batch does not count, or there is none.
            MlographError: the source failed there, as it would have here.
        """
        answer = self._helper.receive()
        if isinstance(answer, Ended):
            # The next epoch begins with the numbers that there are now.
            self._go()
            answer = self._helper.receive()
        assert isinstance(answer, Drawn | Failed | Ended), "it says nothing else while it goes"
        if isinstance(answer, Ended):
            raise NotAheadError
        strange = _strangers(answer, self._chance)
        # A failure that says nothing has to be found out here.
        if strange or (isinstance(answer, Failed) and answer.error is None):
            raise NotAheadError(both_draw(strange))
        if isinstance(answer, Drawn):
            # Before the batch counts: if nobody is there to be told, it is read again here.
            self._helper.send(More())
        self._chance.set({number: after for number, (_, after) in answer.moved.items()})
        for stream, text in zip((sys.stdout, sys.stderr), answer.printed, strict=True):
            stream.write(text)
        if isinstance(answer, Failed):
            raise _error(answer)
        now = time.perf_counter()
        self.seconds, self._when = now - self._when, now
        return answer

    def _go(self) -> None:
        self._helper.send(Go(dict(enumerate(self._chance.states())), self._depth))


def both_draw(numbers: Collection[int]) -> str:
    """Why nothing can be read ahead where the run moves these generators, too; empty if none."""
    if not numbers:
        return ""
    return f"it draws random numbers from {words(frozenset(numbers))}, as others of the run do"


def _strangers(answer: Drawn | Failed, chance: Chance) -> frozenset[int]:
    """The generators that moved there, and stand elsewhere here."""
    now, moved = chance.states(), answer.moved.items()
    return frozenset(n for n, (before, _) in moved if not same(before, now[n]))


def _error(failed: Failed) -> MlographError:
    assert failed.error is not None, "there is something to say"
    error = unpacked(failed.error)
    assert isinstance(error, MlographError), "it is for the user"
    return error
