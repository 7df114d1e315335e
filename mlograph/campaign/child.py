"""The process of one run of a sweep: `python -m mlograph.campaign.child JOB`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from mlograph.api import Graph, load
from mlograph.campaign.job import Job
from mlograph.campaign.outcome import Outcome, gathered, write_outcome
from mlograph.errors import BusyError, Interruption, MlographError
from mlograph.language import read
from mlograph.loggers.memory import Memory

if TYPE_CHECKING:
    from mlograph.result import RunResult

# Of errors that are not mlograph's: Python's own exit code.
_CRASH = 1


def main(text: str) -> int:
    """Runs the job that `text` tells; the exit code is that of `mlograph run`."""
    _end_with_parent()
    return carry_out(Job.of(text))


def carry_out(job: Job) -> int:
    """Runs the job, prints what stopped it, and writes how it ended unless it can go on."""
    memory = Memory()
    began = time.monotonic()
    try:
        result = _run(load(job.graph, job.overrides, job.allow), Path(job.folder), memory)
    except Interruption as stopped:
        print(stopped, flush=True)
        return stopped.exit_code
    except BusyError as error:
        # How the run ends is told by the process that works on it.
        print(f"error: {error}", flush=True)
        return error.exit_code
    except MlographError as error:
        print(f"error: {error}", flush=True)
        outcome = _outcome(error.exit_code, str(error), memory, time.monotonic() - began)
    except Exception as error:
        # What came from the environment is written nowhere.
        hidden = read(job.graph, job.overrides).source.hidden
        print(hidden(traceback.format_exc()), flush=True)
        words = hidden(f"{type(error).__name__}: {error}")
        outcome = _outcome(_CRASH, words, memory, time.monotonic() - began)
    else:
        outcome = _outcome(0, result.ended, memory, result.seconds)
    write_outcome(Path(job.outcome), outcome)
    return outcome.code


def _run(graph: Graph, folder: Path, memory: Memory) -> RunResult:
    """Begins the run, or goes on with it."""
    # Written after everything else that a resumed run needs.
    if (folder / "plan.txt").exists():
        return graph.resume(folder, [memory], quiet=True, tell=_tell, ends_process=True)
    shutil.rmtree(folder, ignore_errors=True)
    return graph.run(folder, [memory], quiet=True, exact=True, ends_process=True)


def _tell(remark: str) -> None:
    print(f"warning: {remark}", flush=True)


def _outcome(code: int, ended: str, memory: Memory, seconds: float) -> Outcome:
    validation, train = gathered(memory.records)
    return Outcome(code, ended, memory.step, memory.total or 0, seconds, validation, train)


def _end_with_parent() -> None:
    """Asks the run to save itself and end if whoever started this process is gone.

    Standard input is a pipe whose other end nobody else holds: it ends with its owner.
    """
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def wait() -> None:
        # Read without a buffer, whose lock would be held when Python ends.
        while os.read(pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
