"""Memory that is kept for what comes next instead of given back each time."""

from __future__ import annotations

import os
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

def faults():
    for _ in range(30):
        work()
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

before = size()
print(faults())
with allocation.kept():
    with allocation.kept():
        pass
    print(faults())
    full = size()
print(full - size(), size() - before)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="of glibc")


def measured(**environment: str) -> Sequence[float]:
    """Pages given in ten rounds of 108 MB, before and inside; MB given back then, and left."""
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        capture_output=True,
        text=True,
        check=True,
        env={k: x for k, x in os.environ.items() if "MALLOC" not in k} | environment,
    )
    return [float(line) for line in done.stdout.split()]


@linux
def test_no_page_is_given_twice_and_in_the_end_all_are_given_back():
    before, inside, back, left = measured()
    assert before > 10_000
    assert inside < 1_000
    assert back > 90
    assert left < 20


@linux
def test_what_the_environment_says_is_left_as_it_is():
    before, inside, *_ = measured(MALLOC_TRIM_THRESHOLD_="100000")
    assert min(before, inside) > 10_000


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_other_libraries_are_left_as_they_are(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    def missing(_: object) -> None:
        raise error

    monkeypatch.setattr("ctypes.CDLL", missing)
    with allocation.kept():
        allocation.keep()
