"""Files that are whole or not there, and whose damage is found."""

from __future__ import annotations

import errno
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from mlograph.checkpoints import DamagedError, Store, read, write
from mlograph.errors import StorageError

STATE = {"x": torch.arange(100), "words": ["a", 1, None]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, keep=2)


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_what_is_written_can_be_read(tmp_path: Path):
    size = write(tmp_path / "a.ckpt", STATE)
    assert (tmp_path / "a.ckpt").stat().st_size == size
    found = read(tmp_path / "a.ckpt")
    assert found["words"] == STATE["words"]
    assert torch.equal(found["x"], STATE["x"])


def test_every_flipped_bit_is_found(tmp_path: Path):
    path, draw = tmp_path / "a.ckpt", random.Random(0)
    write(path, STATE)
    whole = path.read_bytes()
    places = [*range(8 * 20), *(draw.randrange(8 * len(whole)) for _ in range(200))]
    for place in places:
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.raises(DamagedError):
            read(path)


def test_every_truncation_is_found(tmp_path: Path):
    path, draw = tmp_path / "a.ckpt", random.Random(1)
    write(path, STATE)
    whole = path.read_bytes()
    for length in [0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(250))]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read(path)


class Trap:
    """Unpickled by force, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_in_a_file_is_executed(tmp_path: Path):
    trap, path = tmp_path / "sprung", tmp_path / "a.ckpt"
    write(path, {"x": Trap(trap)})
    with pytest.raises(DamagedError, match="holds more than plain data"):
        read(path)
    assert not trap.exists()
    path.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(DamagedError, match="is no checkpoint of mlograph"):
        read(path)
    assert not trap.exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.ckpt"
    write(path, STATE)
    before = path.read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError) as caught:
        write(path, {"x": torch.arange(200)})
    monkeypatch.undo()
    message = str(caught.value)
    assert message.startswith(f"{path}: the checkpoint cannot be written: No space left on device")
    assert "bytes are needed" in message
    assert "are free" in message
    assert caught.value.exit_code == 4
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.ckpt"]


def test_the_last_ones_and_the_best_are_kept(store: Store):
    for step in range(5):
        store.save({"step": step}, step, 10 * step)
        if step == 1:
            store.save_best({"step": step})
    kept = ["step-00000003-0000000030.ckpt", "step-00000004-0000000040.ckpt"]
    assert names(store) == ["best.ckpt", *kept]
    found = store.load()
    assert found is not None
    assert (found.state, found.remarks) == ({"step": 4}, ())


def test_the_order_is_that_of_instructions(store: Store):
    for executed in (9_999_999_999, 10_000_000_000):
        store.save({"executed": executed}, 1, executed)
    found = store.load()
    assert found is not None
    assert found.state == {"executed": 10_000_000_000}


def test_a_damaged_one_is_passed_over_and_named(store: Store):
    for step in (1, 2):
        path = store.save({"step": step}, step, step)
    path.write_bytes(path.read_bytes()[:-1])
    found = store.load()
    assert found is not None
    assert found.state == {"step": 1}
    (remark,) = found.remarks
    assert remark == (
        f"{path}: is damaged: its length or checksum is not what was written; "
        "going back to step-00000001-0000000001.ckpt"
    )


def test_where_all_are_damaged_nothing_is_begun_anew(store: Store):
    store.save({}, 1, 1).write_bytes(b"")
    with pytest.raises(StorageError, match="is empty\nno checkpoint of this run is whole"):
        store.load()


def test_where_none_was_saved_there_is_none(store: Store):
    assert store.load() is None


def test_leftovers_of_the_dead_are_removed(store: Store):
    store.save({}, 1, 1)
    (store.folder / ".a.ckpt.999999999.partial").write_text("half")
    mine = store.folder / f".a.ckpt.{os.getppid()}.partial"
    mine.write_text("of a process that lives")
    store.clean()
    assert names(store) == [mine.name, "step-00000001-0000000001.ckpt"]
