"""Words that an argument may be."""

from __future__ import annotations

from mlograph.errors import UsageError, did_you_mean


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """See that `value` is one of `known`.

    Raises:
        UsageError: it is not.
    """
    if value not in known:
        raise UsageError(f"{name}: unknown '{value}' ({did_you_mean(value, known)})")
