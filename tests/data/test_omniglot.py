"""Omniglot from local files: layout, preparation, and who may be tested on."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from mlograph.data import omniglot
from mlograph.errors import UsageError

REAL = Path("../shared/data/omniglot")
real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"no Omniglot at {REAL}")


def drawing(length: int) -> bytes:
    """A PNG like Omniglot's: 105×105, one bit, a black bar from the left edge at the top."""
    image = Image.new("1", (105, 105), color=1)
    ImageDraw.Draw(image).rectangle((0, 0, length, 20), fill=0)
    data = io.BytesIO()
    image.save(data, format="PNG")
    return data.getvalue()


def archive(alphabets: list[str]) -> dict[str, bytes]:
    """Two characters of each alphabet, drawn three times."""
    return {
        f"{alphabet}/character0{c}/000{c}_0{i}.png": drawing(30 * c + i)
        for alphabet in alphabets
        for c in (1, 2)
        for i in (1, 2, 3)
    }


def write_zip(place: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(place, "w") as target:
        for name, content in files.items():
            target.writestr(f"{place.stem}/{name}", content)
        target.writestr(f"__MACOSX/{place.stem}/Greek/character01/._0001_01.png", b"shadow")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_zip(tmp_path / "images_background_small1.zip", archive(["Greek", "Korean", "Latin"]))
    write_zip(tmp_path / "images_background_small2.zip", archive(["Greek", "Latin", "Tagalog"]))
    return tmp_path


def test_training_characters_are_turned_into_four_classes(root: Path):
    data = omniglot(root)
    assert data.images.shape == (4 * 3 * 2 * 3, 1, 28, 28)
    assert data.classes == 24
    unturned, quarter = data.images[:18], data.images[18:36]
    assert torch.equal(unturned.rot90(1, dims=(2, 3)), quarter)
    assert torch.equal(data.labels[:18] + 6, data.labels[18:36])
    assert omniglot(root, rotate=False).classes == 6


def test_ink_is_one_and_paper_nothing(root: Path):
    image = omniglot(root, "test").images[0, 0]
    assert image.min() == 0
    assert image.max() == 1
    assert image[:4, :7].mean() > 0.95
    assert image[10:].sum() == 0


def test_no_alphabet_is_trained_and_tested_on(root: Path):
    test = omniglot(root, "test")
    assert test.classes == 2
    with pytest.raises(UsageError, match="'Greek' also stands in the training archive"):
        omniglot(root, "test", alphabets=["Greek"])


def test_alphabets_can_be_chosen(root: Path):
    assert omniglot(root, rotate=False, alphabets=["Korean"]).classes == 2
    with pytest.raises(UsageError, match=r"has no 'Korea' \(did you mean 'Korean'\?\)"):
        omniglot(root, alphabets=["Korea"])
    with pytest.raises(UsageError, match="alphabets: the list is empty"):
        omniglot(root, alphabets=[])


def test_extracted_folders_do_as_well(root: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("extracted")
    for name, content in archive(["Tagalog"]).items():
        file = other / "images_background_small2" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert torch.equal(omniglot(other, "test").images, omniglot(root, "test").images)


def test_full_parts_are_found_where_torchvision_puts_them(tmp_path: Path):
    (tmp_path / "omniglot-py").mkdir()
    write_zip(tmp_path / "omniglot-py" / "images_evaluation.zip", archive(["Tengwar", "Greek"]))
    assert omniglot(tmp_path, "test", parts="full").classes == 4


def test_a_missing_folder_is_named_with_what_belongs_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        omniglot("data/omniglot")
    message = str(caught.value)
    assert "no folder 'data/omniglot'" in message
    assert f"seen from {tmp_path}" in message
    assert "images_background_small1.zip and images_background_small2.zip" in message


def test_a_missing_archive_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"holds neither images_background\.zip nor a folder"):
        omniglot(tmp_path, parts="full")


def test_damaged_files_are_named(tmp_path: Path):
    (tmp_path / "images_background_small1.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match=r"cannot read .*small1\.zip"):
        omniglot(tmp_path)
    write_zip(tmp_path / "images_background_small2.zip", {"A/character01/1.png": b"no png"})
    with pytest.raises(UsageError, match="holds a damaged drawing"):
        omniglot(tmp_path, "test")
    write_zip(tmp_path / "images_background.zip", {"readme.txt": b"no drawings"})
    with pytest.raises(UsageError, match="holds no drawings"):
        omniglot(tmp_path, parts="full")


def test_downloading_needs_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(UsageError, match="pip install torchvision"):
        omniglot(tmp_path, parts="full", download=True)
    with pytest.raises(UsageError, match="only parts: full can be downloaded"):
        omniglot(tmp_path, download=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tests"}, "split: unknown 'tests' (did you mean 'test'?)"),
        ({"parts": "smal"}, "parts: unknown 'smal' (did you mean 'small'?)"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError) as caught:
        omniglot(tmp_path, **arguments)
    assert str(caught.value) == message


@real_data
def test_the_small_archives():
    train, test = omniglot(REAL), omniglot(REAL, "test")
    assert (train.classes, len(train)) == (4 * 136, 4 * 136 * 20)
    assert (test.classes, len(test)) == (106, 106 * 20)
    for data in (train, test):
        assert data.images.min() == 0
        assert data.images.max() == 1
        assert 0.05 < data.images.mean() < 0.15
    alphabets = ["Japanese_(katakana)", "Sanskrit", "Tagalog"]
    assert torch.equal(omniglot(REAL, "test", alphabets=alphabets).images, test.images)
