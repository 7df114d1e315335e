"""States that another version of mlograph has written: told as such, whatever they lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlograph.environment import versions
from mlograph.errors import MlographError, StorageError


@contextmanager
def understood(state: Any) -> Iterator[None]:
    """Inside, a saved state is read; one that cannot be read is told with the two versions.

    What the user's own classes raise has to be caught inside, since it says nothing about the file.

    Args:
        state: what `read` gave.

    Raises:
        StorageError: something is missing in it, or is not what this version writes there.
    """
    try:
        yield
    except MlographError as error:
        then, now = _writer(state), _version(versions())
        if then == now:
            raise
        raise StorageError(f"{error}; mlograph {then} wrote it, this is {now}") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        then, now = _writer(state), _version(versions())
        raise StorageError(
            f"was written by another version of mlograph: {then} wrote it, this is {now}, and "
            f"{_missing(error)}"
        ) from error


def _missing(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no '{error.args[0]}' in it"
    return f"it cannot be read: {error}"


def _writer(state: Any) -> str:
    facts = state.get("machine") if isinstance(state, Mapping) else None
    return _version(facts if isinstance(facts, Mapping) else {})


def _version(found: Mapping[Any, Any]) -> str:
    return str(found.get("mlograph", "one that is not known"))
