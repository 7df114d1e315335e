"""Where compiled code is kept between runs."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def use_cache(environment: MutableMapping[str, str] | None = None) -> Path:
    """Let torch keep what it compiles in the user's cache; where the user says so, elsewhere.

    `TORCHINDUCTOR_CACHE_DIR` if it is set, else `mlograph/compiled` in `XDG_CACHE_HOME`, which by
    default is `~/.cache`. Never a run's own folder: another run of the same graph finds it again.
    """
    env = os.environ if environment is None else environment
    given = env.get(_VARIABLE)
    if not given or given == _torchs_own():
        home = env.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        env[_VARIABLE] = str(Path(home) / "mlograph" / "compiled")
    return Path(env[_VARIABLE])


def _torchs_own() -> str:
    """What torch sets the variable to by itself, as soon as an optimiser is made."""
    from torch._inductor.runtime.cache_dir_utils import (  # noqa: PLC0415 (it takes a second)
        default_cache_dir,
    )

    return default_cache_dir()
