"""Which release or commit of a package is installed."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path


def version(file: str | None, distribution: str) -> str:
    """The release of a distribution, or the commit of the clone that hides it.

    Args:
        file: where the module that was imported lies.
        distribution: what a package index calls it.
    """
    assert file is not None, "a package with an __init__.py"
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return _commit(file)
    places = (str(found.locate_file(one)) for one in found.files or ())
    here = Path(file).resolve()
    return found.version if any(Path(one).resolve() == here for one in places) else _commit(file)


def _commit(file: str) -> str:
    """The commit of the clone that a file lies in, if it lies in one."""
    command = ("git", "-C", str(Path(file).parent), "rev-parse", "--short", "HEAD")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "unknown version"
