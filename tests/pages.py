"""Fenced blocks of Markdown pages, and what each kind of block must do."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import mlograph
from mlograph import cli

_FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
# A run is named by the time it began at.
_RUN = re.compile(r"runs/(\w+)/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d")
_CTRL_C = "# Ctrl-C after a few seconds"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title if it has one, its text, and where it stands."""

    language: str
    title: str
    text: str
    place: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        indent = match["indent"]
        body = re.sub(rf"^{indent}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(match["language"], match["title"] or "", body, f"{page.name}:{line}"))
    return found


@dataclass(frozen=True)
class Command:
    """A command that a page shows, and what it shows below it; empty if nothing."""

    words: str
    output: str


def commands(block: Block) -> Iterator[Command]:
    """Those of `mlograph` in a block of `sh` or `console`."""
    if block.language == "sh":
        lines = block.text.replace("\\\n", " ").splitlines()
        yield from (Command(line, "") for line in lines if line.startswith("mlograph "))
        return
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        words, _, output = part.partition("\n")
        if words.startswith("mlograph "):
            yield Command(words, output)


class Reader:
    """Does what a page says, in the current folder, as somebody would who reads it from the top.

    `yaml` with a title is a file, and a graph if it has a version; without one, a part of a graph
    that is laid over the last whole one; one that is called refused is not tried. `python` with a
    title is a file; without one, it is run. Of `sh` and `console`, the commands of mlograph are
    run, and what a `console` shows is compared with what they print; `…` stands for anything.

    Args:
        shorter: what to put in place of parts of a command, to save time.
        sweeps: whether sweeps are run, which takes a process for each run, or only prepared.
    """

    def __init__(self, shorter: dict[str, str], *, sweeps: bool = False) -> None:
        self._shorter = shorter
        self._sweeps = sweeps
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._graph = ""

    def follow(self, page: Iterable[Block]) -> None:
        """Does what a page says; its Python files are there from the beginning.

        Raises:
            AssertionError: something is not as the page says.
        """
        page = list(page)
        for block in page:
            if block.title.endswith(".py"):
                Path(block.title).write_text(block.text, encoding="utf-8")
        for block in page:
            self.read(block)

    def read(self, block: Block) -> None:
        """Does what one block says.

        Raises:
            AssertionError: it is not as the page says.
        """
        if block.title:
            file = Path(block.title)
            known = file.read_text("utf-8") if file.exists() else block.text
            assert known == block.text, f"{block.place}: {file} is another by now"
            file.write_text(block.text, encoding="utf-8")
        if block.language == "yaml":
            self._check(block)
        elif block.language == "python":
            code = compile(block.text, block.place, "exec")
            if not block.title:
                exec(code, self._names)
        elif block.language in ("sh", "console"):
            for command in commands(block):
                self._run(command, block.place)

    def _check(self, block: Block) -> None:
        if re.search(r"^(mlograph: 1\b|include:)", block.text, re.MULTILINE):
            assert block.title, f"{block.place}: a whole graph needs a title"
            self._graph = block.title
            if not block.title.startswith("refused"):
                self._try(block.title)
        elif not block.title:
            assert self._graph, f"{block.place}: a part of a graph needs a graph above it"
            Path("part.yaml").write_text(f"include: [{self._graph}]\n{block.text}", "utf-8")
            self._try("part.yaml")

    @staticmethod
    def _try(file: str) -> None:
        """A graph is checked, and makes one step with few tasks to validate on."""
        graph = mlograph.load(file)
        graph.check()
        changes = ["engine.steps=1", *(["~engine.validate"] if _validates(graph) else [])]
        if _validates(graph) and graph.spec.engine.early_stopping is not None:
            changes.append("~engine.early_stopping")
        mlograph.load(file, changes).run("tried", quiet=True)

    def _run(self, command: Command, place: str) -> None:
        words = _RUN.sub(lambda match: str(newest(match[1])), command.words)
        words = _replaced(words, self._shorter)
        if words.startswith("mlograph sweep") and not self._sweeps:
            command, words = Command(words, ""), f"{words} --dry-run"
        code, *printed = called(words)
        everything = "\n".join(printed)
        if command.output:
            shown = _replaced(command.output, self._shorter)
            right = any(agrees(shown, stream) for stream in printed)
            assert right, f"{place}: {words} prints\n{everything}"
        else:
            assert code == (130 if _CTRL_C in words else 0), f"{place}: {words}\n{everything}"


def _replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _validates(graph: mlograph.Graph) -> bool:
    return graph.spec.engine.validate_ is not None


def newest(name: str) -> Path:
    """The folder of the last run of a graph."""
    return max(Path("runs", name).iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def agrees(shown: str, printed: str) -> bool:
    """Whether a text is the one shown, in which `…` stands for anything and times for any time."""
    times = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d")
    parts = times.sub("…", shown).strip().split("…")
    return re.fullmatch(".*".join(map(re.escape, parts)), printed.strip(), re.DOTALL) is not None


def called(words: str) -> tuple[int, str, str]:
    """The exit code of a command line of mlograph, its output, and its errors."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    line, stops = words.split("#", maxsplit=1)[0], _CTRL_C in words
    arguments = [name for word in shlex.split(line) for name in sorted(_expanded(word))]
    with (
        mock.patch.object(sys, "argv", arguments),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        interrupted() if stops else contextlib.nullcontext(),
    ):
        try:
            cli.main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
    return code, _text(out), _text(err)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def _expanded(word: str) -> list[str]:
    return [str(path) for path in Path().glob(word)] if "*" in word else [word]


@contextlib.contextmanager
def interrupted() -> Iterator[None]:
    """Ctrl-C as soon as the run within has saved something, as it does after its first update."""
    before = set(Path("runs").glob("*/*/checkpoints/*"))
    over = threading.Event()

    def press() -> None:
        while not over.wait(0.02):
            if set(Path("runs").glob("*/*/checkpoints/*.ckpt")) - before:
                os.kill(os.getpid(), signal.SIGINT)
                return

    finger = threading.Thread(target=press)
    finger.start()
    try:
        yield
    finally:
        over.set()
        finger.join()
