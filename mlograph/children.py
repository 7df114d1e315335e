"""Python processes that help a run: how they are started, and end when it does."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

# Nothing of the script that was started is run again in a child, and no file in the present
# folder can stand in for a module.
_PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from {module} import main
main(*map(int, sys.argv[2:]))
"""

# A variable of the environment: cores that a process may use, where it shares them with others.
CORES = "MLOGRAPH_CORES"

# How modules of files beside a graph are called.
_LOCAL = "mlograph_graph_"

_SECONDS_BETWEEN_LOOKS = 0.5


def started(
    module: str, descriptors: Iterable[int], environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], Connection]:
    """A process that calls `main` of a module, and a connection to it.

    A terminal's Ctrl-C does not reach it.

    Args:
        module: whose `main` gets this process's id, the descriptor of a socket to this process,
            and `descriptors`.
        descriptors: of files that it shall have as well.
        environment: variables that are others there.

    Raises:
        OSError: it cannot be started.
    """
    here, there = socket.socketpair()
    with here, there:
        inherited = (there.fileno(), *descriptors)
        words = [json.dumps(sys.path), str(os.getpid()), *map(str, inherited)]
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM.format(module=module), *words],
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        return process, Connection(here.detach())


def cores() -> int:
    """How many processor cores this process may use."""
    most = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(most, max(1, int(os.environ.get(CORES, most))))


def leave_with(parent: int) -> None:
    """Ends this process when its parent has ended, however busy it is; for a thread of its own."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(0)


def local_files() -> dict[str, str]:
    """The modules of files beside a graph, which no import path leads to, and these files."""
    return {
        name: str(module.__file__)
        for name, module in list(sys.modules.items())
        if name.startswith(_LOCAL) and module.__file__
    }


def import_local(name: str, file: str) -> None:
    """Import such a file in a child."""
    spec = importlib.util.spec_from_file_location(name, Path(file))
    assert spec is not None and spec.loader is not None, "the run has imported it by the same way"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def ended(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "does not answer"
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"
