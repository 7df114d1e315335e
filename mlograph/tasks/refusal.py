"""Why something cannot be done for all tasks at once."""

from __future__ import annotations

from typing import final


@final
class NotAtOnceError(Exception):
    """Tasks must be run one by one.

    Attributes:
        reason: in words.
        lasting: it will be so again; otherwise it is only about the present numbers.
        gone: a worker process is not there.
    """

    def __init__(self, reason: str, *, lasting: bool = True, gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting
        self.gone = gone


@final
class GoneError(Exception):
    """A worker process is not there: it could not be started, or has ended.

    Attributes:
        reason: in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
