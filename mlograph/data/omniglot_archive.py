"""Omniglot: handwritten characters of many alphabets (Lake, Salakhutdinov & Tenenbaum, 2015)."""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mlograph.data.image_classes import ImageClasses
from mlograph.errors import UsageError, did_you_mean

SIZE = 28

Drawings = dict[str, dict[str, list[bytes]]]  # alphabet → character → PNG files


@dataclass(frozen=True)
class Part:
    """One of the archives that Omniglot is given out in, less some of its alphabets."""

    archive: str
    without: frozenset[str] = frozenset()


PARTS = {
    "full": {"train": Part("images_background"), "test": Part("images_evaluation")},
    # Greek and Latin stand in both small archives: tested on, they would have been trained on.
    "small": {
        "train": Part("images_background_small1"),
        "test": Part("images_background_small2", without=frozenset({"Greek", "Latin"})),
    },
}


def omniglot(
    root: str | Path,
    split: str = "train",
    *,
    parts: str = "small",
    alphabets: Sequence[str] | None = None,
    rotate: bool = True,
    reflect: bool = False,
    download: bool = False,
) -> ImageClasses:
    """Omniglot from a local folder, 28×28 pixels, ink 1 on 0.

    Every character is a class of 20 drawings. Training classes are turned by 0, 90, 180 and 270
    degrees, which makes four classes of one (Santoro et al., 2016); test classes never are.
    Images are resized with Lanczos' filter, as for MAML (Finn et al., 2017). The result is
    cached in the process.

    Args:
        root: a folder, relative to the current directory, with the archives of `parts`: either
            zips, which are read without being extracted, or extracted folders of the same name.
        split: `train` or `test`.
        parts: `small` trains on images_background_small1 and tests on the three alphabets of
            images_background_small2 that the former lacks; `full` trains on images_background
            (964 characters) and tests on images_evaluation (659).
        alphabets: only these; all of the split by default.
        rotate: whether training classes are rotated.
        reflect: whether mirror images of training classes make as many classes again.
        download: fetch missing archives of `full` with torchvision, into `root`.

    Returns:
        Images (N, 1, 28, 28) and labels from 0.

    Raises:
        UsageError: unknown arguments, missing or damaged files, or no torchvision to download.
    """
    if parts not in PARTS:
        raise UsageError(f"parts: unknown '{parts}' ({did_you_mean(parts, PARTS)})")
    if split not in PARTS[parts]:
        raise UsageError(f"split: unknown '{split}' ({did_you_mean(split, PARTS[parts])})")
    part = PARTS[parts][split]
    place = _find(Path(root), part.archive)
    if place is None and download:
        _download(Path(root), parts, split)
        place = _find(Path(root), part.archive)
    if place is None:
        raise UsageError(_missing(Path(root), part.archive, parts))
    chosen = None if alphabets is None else tuple(alphabets)
    training = split == "train"
    return _load(place.resolve(), part, chosen, rotate and training, reflect and training)


@lru_cache(maxsize=4)
def _load(
    place: Path, part: Part, alphabets: tuple[str, ...] | None, rotate: bool, reflect: bool
) -> ImageClasses:
    drawings = _read(place)
    chosen = _chosen(drawings, part, alphabets)
    characters = [files for name in chosen for _, files in sorted(drawings[name].items())]
    images = torch.stack([_decode(png, place) for files in characters for png in files])
    counts = torch.tensor([len(files) for files in characters])
    labels = torch.arange(len(characters)).repeat_interleave(counts)
    if rotate:
        images = torch.cat([images.rot90(turns, dims=(2, 3)) for turns in range(4)])
        labels = torch.cat([labels + turns * len(characters) for turns in range(4)])
    if reflect:
        images = torch.cat([images, images.flip(3)])
        labels = torch.cat([labels, labels + labels.max() + 1])
    return ImageClasses(images, labels)


def _chosen(drawings: Drawings, part: Part, alphabets: tuple[str, ...] | None) -> list[str]:
    allowed = sorted(set(drawings) - part.without)
    if alphabets is None:
        return allowed
    for name in alphabets:
        if name in part.without:
            raise UsageError(
                f"alphabets: '{name}' also stands in the training archive, so it cannot be tested "
                f"on; known: {', '.join(allowed)}"
            )
        if name not in allowed:
            hint = did_you_mean(name, allowed) or "known: " + ", ".join(allowed)
            raise UsageError(f"alphabets: {part.archive} has no '{name}' ({hint})")
    if not alphabets:
        raise UsageError("alphabets: the list is empty")
    return list(dict.fromkeys(alphabets))


def _find(root: Path, archive: str) -> Path | None:
    # torchvision puts its downloads into a folder of its own.
    for folder in (root, root / "omniglot-py"):
        for place in (folder / f"{archive}.zip", folder / archive):
            if place.exists():
                return place
    return None


def _missing(root: Path, archive: str, parts: str) -> str:
    if not root.is_dir():
        problem = f"root: no folder '{root}' (seen from {Path.cwd()})"
    else:
        problem = f"root: '{root}' holds neither {archive}.zip nor a folder {archive}"
    archives = " and ".join(f"{part.archive}.zip" for part in PARTS[parts].values())
    advice = f"parts: {parts} expects {archives} there"
    if parts == "full":
        advice += "; download: true fetches them"
    return f"{problem}; {advice}; they are at https://github.com/brendenlake/omniglot"


def _read(place: Path) -> Drawings:
    drawings: Drawings = {}
    files = _zipped(place) if place.suffix == ".zip" else _extracted(place)
    for path, content in files:
        _, alphabet, character, _ = path.parts
        drawings.setdefault(alphabet, {}).setdefault(character, []).append(content)
    if not drawings:
        raise UsageError(
            f"root: '{place}' holds no drawings; expected ALPHABET/CHARACTER/DRAWING.png in it"
        )
    return drawings


def _zipped(place: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    try:
        with zipfile.ZipFile(place) as archive:
            for name in sorted(archive.namelist()):
                path = PurePosixPath(name)
                # Zips made on a Mac hold a shadow of every file under __MACOSX.
                if _is_drawing(path) and path.parts[0] != "__MACOSX":
                    yield path, archive.read(name)
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"root: cannot read '{place}': {error}") from None


def _extracted(place: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    for file in sorted(place.glob("*/*/*.png")):
        path = PurePosixPath(file.relative_to(place.parent).as_posix())
        if _is_drawing(path):
            yield path, file.read_bytes()


def _is_drawing(path: PurePosixPath) -> bool:
    return len(path.parts) == 4 and path.suffix == ".png" and not path.name.startswith(".")


def _decode(png: bytes, place: Path) -> Tensor:
    """A PNG with black ink on white as (1, SIZE, SIZE), ink 1 on 0."""
    try:
        with Image.open(io.BytesIO(png)) as image:
            small = image.convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError) as error:
        raise UsageError(f"root: '{place}' holds a damaged drawing: {error}") from None
    pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
    return 1 - pixels.reshape(1, SIZE, SIZE).to(torch.float32) / 255


def _download(root: Path, parts: str, split: str) -> None:
    if parts != "full":
        raise UsageError("download: only parts: full can be downloaded")
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except (ImportError, RuntimeError) as error:
        # RuntimeError: a torchvision that was built for another torch.
        raise UsageError(
            f"download: needs a torchvision that fits this torch ({error}): pip install torchvision"
        ) from None
    try:
        datasets.Omniglot(str(root), background=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"download: could not fetch Omniglot: {error}") from None
