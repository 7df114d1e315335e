"""Which revision of a folder's code a run used, as git knows it."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

LARGEST_DIFF = 1 << 20
_SECONDS = 10.0

# Neither a diff driver nor a file-system monitor that the repository configures is started.
_GIT = ("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "color.ui=false")
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")


def diff(folder: Path, limit: int = LARGEST_DIFF) -> str:
    """Revision, untracked files and changes of `folder` since that revision, as a patch.

    Args:
        folder: any folder of a repository.
        limit: bytes after which the patch is cut off, which it then says.

    Returns:
        Empty where there is no git, no repository, no commit, or no answer within ten seconds.
    """
    revision = _git(folder, "rev-parse", "HEAD", limit=100)
    if revision is None:
        return ""
    untracked = _git(folder, "ls-files", "--others", "--exclude-standard", "--", ".", limit=limit)
    patch = _git(folder, *_DIFF, "HEAD", "--", ".", limit=limit) or ""
    lines = [f"# revision {revision.strip()}"]
    lines += [f"# untracked {name}" for name in (untracked or "").splitlines()]
    if len(patch.encode()) >= limit:
        patch += f"\n# cut off after {limit} bytes\n"
    return "\n".join([*lines, patch])


def _git(folder: Path, *arguments: str, limit: int) -> str | None:
    """At most `limit` bytes of what git prints; None where it fails."""
    # Without optional locks git only reads: it does not refresh the index on the way.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        process = subprocess.Popen(
            [*_GIT, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    timer = threading.Timer(_SECONDS, process.kill)
    timer.start()
    try:
        with process:
            assert process.stdout is not None
            output = process.stdout.read(limit)
            cut = len(output) == limit
            if cut:
                process.kill()
    finally:
        timer.cancel()
    return output.decode(errors="replace") if cut or process.returncode == 0 else None
