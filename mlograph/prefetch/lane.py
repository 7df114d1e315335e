"""One source of batches, from which another process may read ahead."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, final

from mlograph.errors import MlographError
from mlograph.prefetch.ahead import Ahead, both_draw
from mlograph.prefetch.chance import Chance
from mlograph.prefetch.choice import Choice, Way
from mlograph.prefetch.following import Following, NotAheadError
from mlograph.prefetch.messages import Source
from mlograph.prefetch.packing import packed, unpacked
from mlograph.prefetch.process import Helper, LostError, Process
from mlograph.prefetch.refusal import unfit
from mlograph.prefetch.watch import Seat, Watch


@dataclass(frozen=True)
class Terms:
    """On which terms a lane may have another process.

    Attributes:
        place: of the source in the graph.
        always: it shall; otherwise where that is faster.
        depth: batches that one instruction takes at most: as many are kept ready.
        ours: identities of what the run trains, of which a copy would be something else.
        refusal: why it may not; empty where it may.
        tell: what the user should know.
        start: starts a process for a source, packed.
    """

    place: str
    always: bool
    depth: int
    ours: Collection[int]
    refusal: str
    tell: Callable[[str], None]
    start: Callable[[bytes], Helper] = Process


@final
class Lane:
    """Gives the batches of a source, from another process as soon as that pays.

    The other process has a copy of the source and of all generators of random numbers, and reads
    what this one will want. What it read counts where the generators that it moved stand here as
    they stood there: then the batch, and the generators after it, are what reading it here would
    have made of them. Where they do not, this process goes on by itself from where the last batch
    that counted left the source, and reads alone from then on.

    Args:
        seat: where batches are read for.
        terms: on which it may have a process.
        left: batches that the rest of the run takes.

    Attributes:
        terms: these.
        choice: what was measured and chosen.
        state: where the source stands after the last batch that was read ahead, packed; None where
            it stands there itself.
    """

    def __init__(self, seat: Seat, terms: Terms, left: int) -> None:
        self.terms = terms
        self.choice = Choice(terms.depth)
        self.state: bytes | None = None
        self._seat = seat
        self._left = left
        self._chance = Chance(seat.source if seat.position is not None else None)
        self._watch = Watch(seat, self._chance, self.choice)
        self._process: Helper | None = None
        self._following: Following | None = None
        self._ahead: Ahead | None = None
        self._settled = True

    @property
    def process(self) -> int | None:
        """The id of the process that reads ahead, if there is one."""
        return None if self._process is None else self._process.number

    def draw(self) -> Any:
        """The next batch.

        Raises:
            MlographError: the source failed in the other process, as it would have here.
        """
        self._left -= 1
        try:
            if self._following is not None and self._following.arrived():
                assert self._process is not None, "it is what has arrived"
                self._ahead = Ahead(self._process, self._chance, self.terms.depth)
                self._following = None
            if self._ahead is not None:
                drawn = self._ahead.take()
                self.state, self._settled = drawn.state, False
                self._judge(self._ahead.seconds)
                return drawn.batch
        except NotAheadError as error:
            self._stop(str(error))
        except LostError as error:
            self._stop(f"the process that did so {error}")
        except MlographError:
            self._stop("")
            raise
        return self._read_here() if self.choice.way == "here" else self._watched()

    def standing(self) -> dict[str, Any] | None:
        """Where the source stands for the run, if it does not stand there itself."""
        return None if self.state is None else unpacked(self.state)

    def settle(self) -> None:
        """Let the source itself stand where the run has read to."""
        if self.state is not None and not self._settled:
            self._seat.go_to(unpacked(self.state))
            self._settled = True

    def resume(self, way: Way | None) -> None:
        """Go on with what was chosen."""
        self.choice.way = way
        if way == "ahead":
            self.terms = replace(self.terms, always=True)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
        self._process = self._following = self._ahead = None

    def _read_here(self) -> Any:
        self.settle()
        self.state = None
        return self._seat.here()

    def _stop(self, reason: str) -> None:
        """Read here from now on."""
        self.close()
        self.choice.way = "here"
        if reason:
            self.terms.tell(f"{self.terms.place} is not read ahead: {reason}")

    def _watched(self) -> Any:
        """A batch read here, which the process reads as well, so that it stands at the same place.

        Whether there shall be one is decided by what the batches took so far.
        """
        batch = self._watch.read()
        try:
            if self._following is not None:
                self._following.tell(batch)
            elif self.terms.always or self.choice.known:
                wanted = self.terms.always or self.choice.worth(self._left)
                if wanted:
                    self._start(batch)
                else:
                    self._stop("")
        except LostError as error:
            self._stop(f"the process that would do so {error}")
        return batch

    def _start(self, batch: Any) -> None:
        source, terms = self._seat.source, self.terms
        reason = terms.refusal or unfit(source, batch) or both_draw(self._watch.shared)
        if reason:
            self._stop(reason)
            return
        try:
            blob = packed(Source(source, self._seat.position, terms.place), terms.ours)
        except Exception as error:
            self._stop(f"no copy of it can be sent to a process: {error}")
            return
        self._process = terms.start(blob)
        self._following = Following(self._process, self._watch, 2 * terms.depth, waits=terms.always)

    def _judge(self, seconds: float) -> None:
        """Go on reading ahead if that is faster, once there is enough to tell."""
        if self.terms.always or self.choice.way is not None:
            return
        self.choice.ahead.append(seconds)
        if self.choice.tried:
            faster = self.choice.there < self.choice.here
            self.choice.way = "ahead" if faster else None
            said = self.choice.words(self.terms.place)
            if not faster:
                self._stop("")
            self.terms.tell(said)
