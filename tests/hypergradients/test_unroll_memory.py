"""How memory grows with the length of an unrolled loop, as the operating system sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The activations of one step take 1 MB, its parameters 20 kB.
MEASURE = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from builders import graph, problem
from cases import Point, bound, numbers
from mlograph.executor import Executor

torch.set_num_threads(1)
steps, checkpoint = int(sys.argv[1]), sys.argv[2]
data = numbers(2600, 50, seed=1)

def follow(inner, outer):
    return (data @ inner().reshape(50, 50)).tanh().square().mean() + (inner() * outer()).mean()

def lead(inner):
    return inner().square().sum()

declared = graph(
    {{
        "outer": problem(Point(numbers(2500, seed=3)), lead),
        "inner": problem(
            Point(numbers(2500, seed=4)),
            follow,
            unroll_steps=steps,
            hypergradient={{"method": "unroll", "checkpoint": checkpoint}},
        ),
    }},
    edges=[("u2l", "outer", "inner"), ("l2u", "inner", "outer")],
    engine={{"of": "outer"}},
)
program = bound(declared)
executor = Executor(program)
def megabytes(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))
Path("/proc/self/clear_refs").write_text("5")  # forget the peak
before = megabytes("VmRSS:")
for instruction in program.plan.period:
    executor.execute(instruction)
print(json.dumps(megabytes("VmHWM:") - before))
"""


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the system does not tell"
)


def growth(steps: int, checkpoint: str) -> float:
    """Megabytes that a period of a process of its own adds to its peak."""
    code = MEASURE.format(tests=str(Path(__file__).parents[1]))
    done = subprocess.run(
        [sys.executable, "-c", code, str(steps), checkpoint],
        capture_output=True,
        text=True,
        check=True,
        # Else the allocator puts what is freed again between what is kept.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def test_whole_graphs_grow_with_the_loop():
    assert growth(50, "none") - growth(5, "none") > 45


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["steps", "sqrt"])
def test_replayed_steps_do_not(checkpoint: str):
    few = growth(5, checkpoint)
    assert growth(50, checkpoint) < few + 4
    # The points that are kept are 500 times 20 kB, or 45 times.
    assert growth(500, checkpoint) < few + (20 if checkpoint == "steps" else 5)
