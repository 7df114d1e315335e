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
    if not env.get(_VARIABLE):
        home = env.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        env[_VARIABLE] = str(Path(home) / "mlograph" / "compiled")
    return Path(env[_VARIABLE])
