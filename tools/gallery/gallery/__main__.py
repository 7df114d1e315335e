"""`tools/gallery/run` runs this."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from gallery.entries import ENTRIES, chosen
from gallery.measure import Measured, Outcome, RunFailedError, measured
from gallery.table import markdown, plain, restored

_Found = dict[str, dict[str, Measured]]


def main() -> None:
    """Print a table, and write it where asked; ends with 1 where a run failed."""
    options = _options()
    results = _kept(options)
    failures: list[str] = []
    for name, entry in options.entries.items():
        for seed in options.seeds:
            if seed in _seeds(results, name):
                continue
            print(f"{name}, seed {seed} …", file=sys.stderr, flush=True)
            try:
                outcomes = measured(entry, seed, options.quick)
            except RunFailedError as error:
                print(f"{name}: {error}", file=sys.stderr, flush=True)
                failures.append(name)
                break
            _add(results, name, seed, outcomes)
            # A run takes long: what was measured stays if it is ended early.
            _write(results, options)
    print(_text(results, options), end="")
    sys.exit(1 if failures else 0)


def _add(results: _Found, name: str, seed: int, outcomes: dict[str, Outcome]) -> None:
    known = results.get(name, {})
    results[name] = {
        variant: Measured({**(known[variant].outcomes if variant in known else {}), seed: outcome})
        for variant, outcome in outcomes.items()
    }


def _seeds(results: _Found, name: str) -> set[int]:
    """The seeds with which everything that the entry names now has been measured."""
    wanted = {"ours", *(baseline.name for baseline in ENTRIES[name].baselines)}
    found = results.get(name, {})
    if not wanted <= found.keys():
        return set()
    return set.intersection(*(set(found[variant].outcomes) for variant in wanted))


def _kept(options: Namespace) -> _Found:
    if not options.resume or not options.json.is_file():
        return {}
    kept = restored(json.loads(options.json.read_text(encoding="utf-8")))
    return {name: found for name, found in kept.items() if _seeds(kept, name)}


def _write(results: _Found, options: Namespace) -> None:
    if options.output is not None:
        options.output.write_text(_text(results, options), encoding="utf-8")
    if options.json is not None:
        options.json.write_text(json.dumps(plain(results), indent=1), encoding="utf-8")


def _text(results: _Found, options: Namespace) -> str:
    size = "Next to nothing was computed: the numbers mean nothing.\n\n" if options.quick else ""
    about = "Mean ± standard deviation over the seeds; seconds: median, of CPU time."
    return f"{size}{markdown(results, ENTRIES)}\n\n{about}\n"


def _options() -> Namespace:
    parser = ArgumentParser(prog="tools/gallery/run")
    add = parser.add_argument
    add("--graph", nargs="+", default=[], metavar="NAME", help=f"of {', '.join(ENTRIES)}")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    add("--quick", action="store_true", help="next to nothing to compute, one seed")
    add("--output", type=Path, metavar="FILE", help="write the Markdown here, too")
    add("--json", type=Path, metavar="FILE", help="write every run here")
    add("--resume", action="store_true", help="leave out what --json has already")
    options = parser.parse_args()
    if options.resume and options.json is None:
        parser.error("--resume: give --json as well")
    if options.quick:
        options.seeds = options.seeds[:1]
    try:
        options.entries = chosen(options.graph)
    except ValueError as error:
        parser.error(str(error))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return options


if __name__ == "__main__":
    main()
