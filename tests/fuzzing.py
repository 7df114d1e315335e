"""Graph files that nobody would write: generated, cut, spliced and blown up, each by its number."""

from __future__ import annotations

import itertools
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mlograph.api import load
from mlograph.diagrams import render
from mlograph.errors import MlographError
from mlograph.terminal import printable

SECONDS = 2.0
MEGABYTES = 300

BASE = """mlograph: 1
name: imaml
description: five-way five-shot
vars: {ways: 5, steps: 3, reg: 0.25, rates: [0.1, 0.2]}
env: {_target_: mlograph.envs.FewShotEnv, ways: "${vars.ways}", shots: 5}
problems:
  outer: &outer
    module: {_target_: mlograph.nn.ConvNet, ways: "${vars.ways}", hidden: 64}
    optimizer: {_target_: torch.optim.AdamW, lr: 3e-4}
    scheduler: {_target_: cosine, T_max: 7500}
    data: env.query
    loss: {_target_: cross_entropy, model: inner}
    gradient_accumulation: 4
  inner:
    module: {copy: outer}
    start_from: outer
    optimizer: {_target_: sgd, lr: "${vars.rates[0]}"}
    data: {x: env.support, y: env.query}
    loss:
      - {_target_: cross_entropy, model: inner}
      - {_target_: proximal, model: inner, anchor: outer, weight: "${vars.reg}"}
    unroll_steps: ${vars.steps}
    hypergradient: {method: cg, iterations: 5, damping: 0.1}
    freeze: ["*.bias"]
edges:
  - u2l: outer -> inner
  - l2u: inner -> outer
engine:
  steps: 100
  of: outer
  seed: 1
  validate: {_target_: mlograph.validation.Adaptation, every: 100, tasks: 5}
  loggers: [{_target_: csv, path: more.csv}]
"""

TOKENS = [
    "&a ", "*a", "<<: *outer", "<<: [*outer, *outer]", "!!python/object/apply:os.system [id]",
    "!!binary aGk=", "!x ", "${vars.ways}", "${env:HOME}", "${env:X,y}", "${", "$${", "${a.b.c}",
    "${vars}", "---\n", "...\n", "%YAML 1.1\n", "%TAG ! x\n", "? ", ": ", "- ", "|\n", ">-\n", "{",
    "}", "[", "]", "'", '"', "\t", "\r", "\x00", "\x1b[2J", "\x85", "\u2028", "\ufeff", "\u202e",
    "é", "\U0001f600", "1e999", "-.inf", ".nan", "0x" + "f" * 60, "9" * 99, "9" * 101, "1" * 5000,
    "os.system", "torch.os.system", "mlograph.__class__", "torch.nn.Linear.__init__.__globals__",
    "mlograph.language.yaml.unsafe_load", "ｔorch.hub.load", "tоrch.nn.Linear",
    "../../x", "/etc/passwd",
    "<script>", "]]>", "-->", '"];', "unroll_steps: 900000", "warmup_steps: 90000000", "null", "~",
    "include: [g.yaml]", "include: /dev/zero", "include: ../x", "copy: inner", "method: unroll",
    "true", "-1", "0", "problems: {}", "edges: []", "hyperparameters: {lr: a.b}",
]  # fmt: skip


def _ladder(rng: Random) -> str:
    problems, width = rng.choice([(30, 2), (60, 3), (200, 2), (500, 1), (1200, 1)])
    names = [f"p{i}" for i in range(problems)]
    text = "mlograph: 1\nname: g\nengine: {of: " + names[-1] + "}\nproblems:\n"
    text += "".join(f"  {x}: {{module: m.A, loss: l.f, optimizer: sgd}}\n" for x in names)
    text += "edges:\n"
    for start in range(0, problems - width, width):
        for low in names[start : start + width]:
            for high in names[start + width : start + 2 * width]:
                text += f"  - l2u: {low} -> {high}\n"
                text += f"  - u2l: {high} -> {low}\n" if rng.random() < 0.7 else ""
    return text


def _dense(rng: Random) -> str:
    count, edges = rng.choice([(20, 60), (100, 800), (500, 3000), (500, 11_000)])
    text = f"mlograph: 1\nname: g\nengine: {{of: p{count - 1}}}\nproblems:\n"
    text += "".join(f"  p{i}: {{module: m.A, loss: l.f, optimizer: sgd}}\n" for i in range(count))
    pairs = {tuple(sorted(rng.sample(range(count), 2))) for _ in range(edges)}
    lines = [f"  - l2u: p{a} -> p{b}\n" for a, b in sorted(pairs)]
    lines += [f"  - u2l: p{b} -> p{a}\n" for a, b in sorted(pairs) if rng.random() < 0.5]
    return text + "edges:\n" + "".join(lines)


def _aliases(rng: Random) -> str:
    """Nine times nine times nine …: lists of lists, or mappings merged from mappings."""
    depth = rng.choice([5, 9, 30])
    if rng.random() < 0.5:
        lines = ["a0: &a0 [x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
        return "vars:\n  " + "\n  ".join(lines) + "\n" + BASE
    lines = ["m0: &m0 {k: 1}"]
    for i in range(1, depth):
        merged = ", ".join([f"*m{i - 1}"] * 9)
        lines.append(f"m{i}: &m{i} {{<<: [{merged}], k{i}: 1}}")
    return "\n".join(lines)


def _bomb(rng: Random) -> str:
    size = rng.choice([70, 1000, 100_000])
    chain = "".join(f"  v{i}: ${{vars.v{i + 1}}}${{vars.v{i + 1}}}\n" for i in range(40))
    bombs = [
        _aliases(rng),
        "vars: " + "[" * size,
        "vars: " + "{a: " * size,
        "- " * size,
        "vars: {x: &x [*x]}\n" + BASE,
        BASE + "x: " + "y" * rng.choice([10**5, 2**20 - 2000, 2**20 + 5]),
        f"mlograph: 1\nname: g\nvars:\n{chain}  v40: xxxxxxxx\n",
        "\n".join(f"k{i}: {i}" for i in range(rng.choice([100, 20_000, 90_000]))),
    ]
    return rng.choice(bombs)


def _mutated(rng: Random) -> str:
    text = BASE if rng.random() < 0.9 else _ladder(Random(0))[:4000]
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        text = _changed_once(text, rng)
    return text


def _changed_once(text: str, rng: Random) -> str:
    at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    near = min(to, at + rng.randrange(30))
    if rng.random() < 0.03:
        return text[:at]
    changes = [
        text[:at] + text[near:],
        text[:at] + rng.choice(TOKENS) + text[at:],
        text[:at] + rng.choice(TOKENS) + text[near:],
        text[:near] + text[at:],
        text[:at] + chr(rng.randrange(0x3000)) + text[at:],
        _line_changed(text, rng),
    ]
    return rng.choice(changes)


def _line_changed(text: str, rng: Random) -> str:
    lines = text.split("\n")
    index = rng.randrange(len(lines))
    head, colon, _ = lines[index].partition(": ")
    lines[index] = head + colon + rng.choice(TOKENS)
    if rng.random() < 0.3:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return "\n".join(lines)


def generated(number: int) -> bytes:
    """The file of this number, always the same."""
    rng = Random(number)
    chance = rng.random()
    if chance < 0.03:
        text = _bomb(rng)
    elif chance < 0.04:
        text = _ladder(rng)
    elif chance < 0.045:
        text = _dense(rng)
    elif chance < 0.05:
        return rng.randbytes(rng.randrange(2000))
    else:
        text = _mutated(rng)
    code = rng.choice(["utf-8"] * 20 + ["utf-16", "utf-32", "latin-1", "utf-8-sig", "cp037"])
    data = text.encode(code, "replace" if code != "utf-8" else "surrogatepass")
    if rng.random() < 0.03 and data:
        broken = bytearray(data)
        for _ in range(3):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        data = bytes(broken)
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.05 else data


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        number: of the file.
        valid: nothing was wrong with it.
        seconds: of processor time that the longest of check, plan and each drawing took.
        wrong: what must not happen and did; empty if nothing.
    """

    number: int
    valid: bool
    seconds: float
    wrong: str = ""


def tried(number: int, file: Path) -> Outcome:
    """Check, plan and draw a file of this number."""
    file.write_bytes(generated(number))
    had_torch = "torch" in sys.modules
    clock, valid, wrong = [time.process_time()], False, ""
    try:
        graph = load(file)
        graph.check()
        clock.append(time.process_time())
        graph.explain()
        for fmt in ("dot", "mermaid", "svg"):
            clock.append(time.process_time())
            render(graph.structure, graph.plan(), fmt, ())
        valid = True
    except MlographError as error:
        if not printable(str(error)).strip():
            wrong = "an error without words"
    except BaseException as error:
        wrong = f"{type(error).__name__}: {error}"[:300]
    clock.append(time.process_time())
    took = max(after - before for before, after in itertools.pairwise(clock))
    if took > SECONDS:
        wrong = wrong or f"took {took:.1f} s"
    if "torch" in sys.modules and not had_torch:
        wrong = wrong or "torch was imported"
    if file.read_bytes() != generated(number) or len(list(file.parent.iterdir())) != 1:
        wrong = wrong or "something was written"
    return Outcome(number, valid, took, wrong)


def many(numbers: Sequence[int]) -> list[Outcome]:
    """All files of these numbers, one after another in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "g.yaml"
        return [_judged(number, file) for number in numbers]


def _judged(number: int, file: Path) -> Outcome:
    """What becomes of a file; one that took too long is tried again, since other work slows it."""
    found = tried(number, file)
    for _ in range(2):
        if found.wrong.startswith("took"):
            found = min(found, tried(number, file), key=lambda one: one.seconds)
    return found


def peak() -> float:
    """The most memory that this process ever held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere a process begins with the peak of the one that started it
        lines = status.read_text().splitlines()
        return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 2**10
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)
