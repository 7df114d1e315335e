"""`tools/compare/hypergradients` runs this."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from comparison.libraries import PACKAGES, load
from comparison.table import markdown, measured
from comparison.trials import trials


def main() -> None:
    """Print a table, and write it where asked."""
    parser = ArgumentParser(prog="tools/compare/hypergradients")
    parser.add_argument(
        "--truth",
        action="store_true",
        help="errors against the true hypergradient instead of what each method promises",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the Markdown here, too")
    options = parser.parse_args()

    libraries = {name: load(name) for name in PACKAGES}
    rows = measured(libraries, trials())
    versions = ", ".join(
        f"{name} {'not installed' if library is None else library.version}"
        for name, library in libraries.items()
    )
    table = markdown(rows, [*libraries], truth=options.truth)
    text = f"{table}\n\nVersions: {versions}.\n"
    print(text, end="")
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
