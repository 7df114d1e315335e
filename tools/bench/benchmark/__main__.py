"""`tools/bench/run` runs this."""

from __future__ import annotations

import json
import os
import platform
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from benchmark.libraries import LIBRARIES
from benchmark.measure import Result, measured
from benchmark.problems import PROBLEMS, Problem, chosen, tiny
from benchmark.table import markdown, plain, versions
from benchmark.worker import Order


def main() -> None:
    """Print a table, and write it where asked."""
    options = _options()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        # Read by the processes when they begin.
        os.environ[name] = str(options.threads)
    results: dict[str, dict[str, Result]] = {}
    for name in options.problem:
        print(f"{name} …", file=sys.stderr, flush=True)
        problem = tiny(PROBLEMS[name]) if options.quick else PROBLEMS[name]
        orders = {library: _order(library, problem, options) for library in options.libraries}
        results[name] = measured(orders, options.rounds)
        # A run takes long: what was measured stays if it is ended early.
        _write(results, options)
    print(_text(results, options), end="")


def _order(library: str, problem: Problem, options: Namespace) -> Order:
    shipped = options.network == "shipped" or LIBRARIES[library][0] == "mlograph"
    return Order(library, problem, options.device, options.threads, options.warmup, shipped)


def _write(results: Mapping[str, Mapping[str, Result]], options: Namespace) -> None:
    if options.output is not None:
        options.output.write_text(_text(results, options), encoding="utf-8")
    if options.json is not None:
        options.json.write_text(json.dumps(plain(results), indent=1), encoding="utf-8")


def _text(results: Mapping[str, Mapping[str, Result]], options: Namespace) -> str:
    return f"{markdown(results)}\n\n{_about(options)}\nVersions: {versions(results)}.\n"


def _options() -> Namespace:
    parser = ArgumentParser(prog="tools/bench/run")
    add = parser.add_argument
    add("--problem", nargs="+", default=[], metavar="NAME", help=f"or its beginning: {_NAMES}")
    add("--libraries", nargs="+", default=[*LIBRARIES], choices=[*LIBRARIES], metavar="LIBRARY",
        help=f"of {', '.join(LIBRARIES)}")  # fmt: skip
    add("--threads", type=int, default=os.cpu_count(), help="of each library, or workers of one")
    add("--network", choices=["torch", "shipped"], default="torch",
        help="of all but mlograph: of torch's own layers, or that of mlograph")  # fmt: skip
    add("--rounds", type=int, default=7, help="turns of half a second, or of one update")
    add("--warmup", type=int, default=2, help="updates before these")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--quick", action="store_true", help="next to nothing to compute, 3 rounds")
    add("--output", type=Path, metavar="FILE", help="write the Markdown here, too")
    add("--json", type=Path, metavar="FILE", help="write every round here")
    options = parser.parse_args()
    try:
        options.problem = [*chosen(options.problem)]
    except ValueError as error:
        parser.error(str(error))
    if options.quick:
        options.rounds = min(options.rounds, 3)
    return options


def _about(options: Namespace) -> str:
    where = _processor() if options.device == "cpu" else _accelerator()
    size = "tiny problems, whose times mean nothing; " if options.quick else ""
    return (
        f"{size}{where}, threads: {options.threads} of {os.cpu_count()}; "
        f"{_NETWORKS[options.network]}; medians of "
        f"{options.rounds} rounds. Difference: of the first hypergradient to a plain reference "
        "in float64, relative.\n"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _accelerator() -> str:
    import torch  # noqa: PLC0415 (only once the processes are done)

    return torch.cuda.get_device_name()


_NAMES = ", ".join(PROBLEMS)
_NETWORKS = {
    "torch": "ConvNets: torch's own layers, but for mlograph, which takes its own",
    "shipped": "ConvNets: those of mlograph for everyone",
}

if __name__ == "__main__":
    main()
