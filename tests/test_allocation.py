"""Memory that is kept for what comes next instead of given back each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from mlograph import allocation

WORK = """\
import resource, sys
import torch
from mlograph import allocation

def work():
    # Too large for glibc to keep by itself.
    tensors = [torch.ones(9_000_000) for _ in range(3)]

def size():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

{before}
for _ in range(30):
    work()
begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)
full = size()
allocation.give_back()
print(full - size())
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="of glibc")


def measured(before: str) -> Sequence[float]:
    """Pages that the system gave in ten rounds of 108 MB, and MB that it was given back then."""
    done = subprocess.run(
        [sys.executable, "-c", WORK.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


@linux
def test_no_page_is_given_twice_and_in_the_end_all_are_given_back():
    assert measured("")[0] > 10_000
    pages, back = measured("allocation.keep()")
    assert pages < 1_000
    assert back > 90


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_other_libraries_are_left_as_they_are(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    def missing(_: object) -> None:
        raise error

    monkeypatch.setattr("ctypes.CDLL", missing)
    allocation.keep()
    allocation.give_back()
