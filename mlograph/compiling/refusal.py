"""Why something is not compiled."""

from __future__ import annotations


class NotCompiledError(Exception):
    """It is evaluated as it is; the reason is in words for its user."""


def reason_of(error: BaseException) -> str:
    """What went wrong while compiling: the first sentence, since torch goes on for pages."""
    chain: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and now not in chain:
        chain.append(now)
        now = now.__cause__ or now.__context__
    if any(type(one).__name__ == "InvalidCxxCompiler" for one in chain):
        return "there is no C++ compiler (g++ or clang++; the environment's CXX names another)"
    refused = next((one for one in chain if isinstance(one, NotCompiledError)), None)
    if refused is not None:
        return str(refused)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else ""
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
