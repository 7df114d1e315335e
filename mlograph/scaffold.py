"""New graph files to start from."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from mlograph.components import ALLOWED
from mlograph.errors import UsageError, did_you_mean
from mlograph.language import schema_text
from mlograph.language.schema import TITLE

# What each template shows; its files are `templates/NAME.yaml.txt` and `templates/NAME.py.txt`.
TEMPLATES: Mapping[str, str] = {
    "bilevel": "learn how strongly each weight of a regression is held back",
    "reweight": "learn a weight for every training sample, some of them mislabelled",
}

# What the first line of every template names; editors complete and check by it.
SCHEMA = "graph.schema.json"

# Stands in the templates for the name that the user gives.
_PLACEHOLDER = "NAME"


def scaffold(name: str, folder: Path, template: str = "bilevel") -> tuple[Path, Path, Path]:
    """Writes `name.yaml` and, beside it, `name.py` with the functions it names.

    A third file, `graph.schema.json`, is for editors; an older one is replaced.

    Returns:
        The three files.

    Raises:
        UsageError: the name cannot be a module's, the template is not known, or there are
            such files already.
    """
    if template not in TEMPLATES:
        raise UsageError(f"no template '{template}' ({did_you_mean(template, TEMPLATES)})")
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        raise UsageError(f"'{name}' cannot name a Python file: letters, digits and _ only")
    if any(package.split(".")[0] == name for package in ALLOWED):
        raise UsageError(f"'{name}' is the name of a package that graphs import from")
    source = files("mlograph") / "templates"
    targets = (folder / f"{name}.yaml", folder / f"{name}.py")
    for target in targets:
        if target.exists():
            raise UsageError(f"{target} exists already")
    for target in targets:
        text = (source / f"{template}{target.suffix}.txt").read_text("utf-8")
        _write_new(target, text.replace(_PLACEHOLDER, name))
    schema = folder / SCHEMA
    if not _is_anothers(schema):
        try:
            schema.write_text(schema_text(), "utf-8")
        except OSError as error:
            raise _failure(schema, error) from error
    return (*targets, schema)


def _is_anothers(file: Path) -> bool:
    """Whether there is such a file, and not from here."""
    try:
        return TITLE not in file.read_text("utf-8", "replace")
    except OSError:
        return False


def _failure(file: Path, error: OSError) -> UsageError:
    return UsageError(f"{file}: cannot be written: {error.strerror or error}")


def _write_new(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{target} exists already") from error
    except OSError as error:
        raise _failure(target, error) from error
