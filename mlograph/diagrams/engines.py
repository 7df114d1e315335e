"""Programs that lay DOT text out: Graphviz's own `dot`, or graphviz-pure in its place."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from mlograph.errors import MlographError

SECONDS = 8.0

Target = Literal["svg", "png"]


class EngineError(MlographError):
    """An engine made no picture."""


class TooSlowError(EngineError):
    """An engine took too long."""


class Engine(Protocol):
    """Turns DOT text into a picture."""

    def run(self, dot: str, target: Target) -> bytes:
        """The picture.

        Raises:
            EngineError: there is none.
        """
        ...


@dataclass(frozen=True)
class Program:
    """An executable that understands the command line of `dot`.

    Attributes:
        command: path of the executable.
        seconds: how long it may take.
        options: put before everything else.
    """

    command: str
    seconds: float = SECONDS
    options: tuple[str, ...] = ()

    def run(self, dot: str, target: Target) -> bytes:
        """The picture that the program writes to its output."""
        sharp = ["-Gdpi=144"] if target == "png" else []
        try:
            done = subprocess.run(
                [self.command, *self.options, *sharp, f"-T{target}"],
                input=dot.encode(),
                capture_output=True,
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TooSlowError(f"'{self.command}' took longer than {self.seconds:g} s") from None
        except OSError as error:
            raise EngineError(f"'{self.command}' did not start: {error}") from None
        if done.returncode != 0 or not done.stdout:
            said = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
            raise EngineError(f"'{self.command}' failed: {said[:300]}")
        return done.stdout


def installed() -> tuple[Engine, ...]:
    """The engines of this machine, best first."""
    # An environment's scripts are not on PATH where its Python is called by path.
    beside = str(Path(sys.executable).parent)
    found = (
        shutil.which("dot"),
        shutil.which("graphviz-pure"),
        shutil.which("graphviz-pure", path=beside),
    )
    return tuple(Program(command) for command in dict.fromkeys(found) if command is not None)


def first_picture(engines: Sequence[Engine], dot: str, target: Target) -> bytes:
    """The picture of the first engine that makes one.

    Raises:
        EngineError: none of them does, or there are none.
    """
    failures = []
    for engine in engines:
        try:
            return engine.run(dot, target)
        except TooSlowError:
            # The others do the same work, so they would take as long again.
            raise
        except EngineError as error:
            failures.append(str(error))
    raise EngineError("; ".join(failures) or "neither 'dot' nor 'graphviz-pure' is installed")
