"""A folder of one's own: what is unusable is left out with its reason, copies stay in one split, classes stay whole."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

import tiny
from data.class_files import write_image, write_sound
from visual_echoes.data.class_folders import prepare_class_folder
from visual_echoes.data.manifest import SPLITS
from visual_echoes.data.pairs import read_groups, read_split
from visual_echoes.data.prepare.candidates import Reason
from visual_echoes.errors import EchoesError

EACH = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of twelve images and twelve sounds, each with a level of its own."""
    for row, label in enumerate(("cat", "dog")):
        for number in range(EACH):
            write_image(tmp_path / f"in/pictures/{label}/{number}.png", 10 * number + row)
            write_sound(tmp_path / f"in/sounds/{label}/{number}.wav", 0.3 + 0.02 * number + 0.3 * row)
    return tmp_path / "in"


def levels(out: Path) -> dict[str, set[int]]:
    """The grey levels of the images in each split."""
    return {name: set(read_split(out, name, tiny.LAYOUT, []).images[:, 0, 0, 0].tolist()) for name in SPLITS}


def reasons(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def test_everything_good_gets_in_and_keeps_its_split(folder: Path, tmp_path: Path) -> None:
    prepared = prepare_class_folder(folder, tmp_path / "a", tiny.LAYOUT, 0.2, 0.2)
    assert prepared.reasons == Counter()
    assert read_groups(tmp_path / "a") == ["cat", "dog"]
    assert tuple(map(sum, zip(*prepared.counts.values(), strict=True))) == (2 * EACH, 2 * EACH)
    first = levels(tmp_path / "a")
    assert all(first.values())
    assert sum(map(len, first.values())) == 2 * EACH
    # A file's split is its own: more files, in another folder, change nothing about it.
    write_image(folder / "pictures/cat/new.png", 255)
    moved = folder.rename(tmp_path / "moved")
    prepare_class_folder(moved, tmp_path / "b", tiny.LAYOUT, 0.2, 0.2)
    second = levels(tmp_path / "b")
    assert {name: found - {255} for name, found in second.items()} == first


def test_what_is_unusable_is_listed_with_its_reason(folder: Path, tmp_path: Path) -> None:
    (folder / "pictures/cat/1.png").write_bytes(b"\x89PNG broken")
    write_sound(folder / "sounds/dog/2.wav", 0.0)
    (folder / "sounds/dog/3.wav").write_bytes((folder / "sounds/dog/4.wav").read_bytes()[:100])
    (folder / "pictures/dog/5.png").write_bytes((folder / "pictures/cat/5.png").read_bytes())
    (folder / "pictures/notes.txt").touch()
    os.mkfifo(folder / "sounds/cat/pipe.wav")
    prepared = prepare_class_folder(folder, tmp_path / "out", tiny.LAYOUT, 0.2, 0.2)
    assert reasons(tmp_path / "out") == {
        "pictures/cat/1.png": "unreadable", "sounds/dog/2.wav": "silent", "sounds/dog/3.wav": "unreadable",
        "pictures/dog/5.png": "duplicate", "pictures/notes.txt": "not-media", "sounds/cat/pipe.wav": "unreadable",
    }  # fmt: skip
    assert prepared.reasons == Counter(
        {Reason.UNREADABLE: 3, Reason.SILENT: 1, Reason.DUPLICATE: 1, Reason.NOT_MEDIA: 1}
    )
    assert tuple(map(sum, zip(*prepared.counts.values(), strict=True))) == (2 * EACH - 2, 2 * EACH - 2)


def test_a_copy_under_another_name_is_in_no_second_split(folder: Path, tmp_path: Path) -> None:
    for number in range(EACH):
        content = (folder / f"pictures/cat/{number}.png").read_bytes()
        (folder / f"pictures/cat/copy-{number}.png").write_bytes(content)
    prepare_class_folder(folder, tmp_path / "out", tiny.LAYOUT, 0.3, 0.3)
    found = levels(tmp_path / "out")
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 2 * EACH


@pytest.mark.parametrize(("parent", "kind"), [("pictures", "image"), ("sounds", "sound")])
@pytest.mark.parametrize("how", ["broken", "missing"])
def test_a_class_without_anything_to_train_on_is_named(
    folder: Path, tmp_path: Path, parent: str, kind: str, how: str
) -> None:
    for path in (folder / parent / "dog").iterdir():
        if how == "missing":
            path.unlink()
        else:
            path.write_bytes(f"broken {path.name}".encode())
    with pytest.raises(EchoesError, match=f"The class 'dog' of .* has no usable {kind} to train on"):
        prepare_class_folder(folder, tmp_path / "out", tiny.LAYOUT, 0.2, 0.2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected.csv"]
    assert len(reasons(tmp_path / "out")) == (EACH if how == "broken" else 0)


def test_folders_and_shares_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="leave nothing to train on"):
        prepare_class_folder(folder, tmp_path / "out", tiny.LAYOUT, 0.5, 0.5)
    with pytest.raises(EchoesError, match="not both a folder pictures/"):
        prepare_class_folder(folder / "pictures", tmp_path / "out", tiny.LAYOUT, 0.1, 0.1)
    for path in [*folder.glob("*/*/*")]:
        path.unlink()
    with pytest.raises(EchoesError, match="No class of"):
        prepare_class_folder(folder, tmp_path / "out", tiny.LAYOUT, 0.1, 0.1)
