"""`echoes data`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import tiny
from cli.conftest import Command
from data import scene_files as made
from data.class_files import write_image, write_sound
from data.test_digits import source as source  # the made-up digits, as a fixture
from visual_echoes.data import originals
from visual_echoes.data.archives import Original
from visual_echoes.data.pairs import read_split, write_description, write_split
from visual_echoes.media import read_image


def test_digits_are_prepared(command: Command, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    result = command("data", "digits", "--source", source, "-o", out, "--layout", "debug")
    assert result.exit_code == 0, result.output
    assert f"{out / 'test'}.safetensors: 200 images, 20 sounds" in result.stdout.splitlines()
    assert len(read_split(out, "test", tiny.LAYOUT).images) == 200


def test_digits_without_a_source_name_what_is_missing(command: Command, tmp_path: Path) -> None:
    result = command("data", "digits", "--source", tmp_path, "-o", tmp_path / "prepared")
    assert result.exit_code == 1
    assert f"{tmp_path / 'images.npz'} is missing" in result.stderr


def test_scenes_in_time_without_prepared_data_name_what_is_missing(command: Command, tmp_path: Path) -> None:
    result = command("data", "scenes-in-time", "--data", tmp_path / "nowhere", "-o", tmp_path / "made")
    assert result.exit_code == 1
    assert "no prepared data at" in result.stderr
    assert not (tmp_path / "made").exists()


TEST_SOUNDS = sum(sound[2] == 4 for sound in made.OWN)
TEST_IMAGES = made.PICTURES * len(made.CLASSES)


def test_scenes_are_prepared_from_local_copies(command: Command, tmp_path: Path) -> None:
    source, out = made.write_source(tmp_path / "copies"), tmp_path / "out"
    folders = ("--images", source / made.IMAGES, "--sounds", source / made.SOUNDS)
    result = command("data", "scenes", *folders, "-o", out, "--layout", "debug")
    assert result.exit_code == 0, result.output
    told = f"{out / 'test'}.safetensors: {TEST_IMAGES} images, {TEST_SOUNDS} sounds"
    assert result.stdout.splitlines()[2] == told
    assert (tmp_path / "out-sounds" / "train.safetensors").is_file()


def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, md5: str | None = None) -> tuple[str | Path, ...]:
    """A command that takes ESC-50 from a `file:` address."""
    source, web = made.write_source(tmp_path / "source"), tmp_path / "web"
    web.mkdir()
    made.write_lists(web)
    path = made.write_esc50(web / originals.ESC50.name)
    published = Original(path.name, path.as_uri(), md5 or hashlib.md5(path.read_bytes()).hexdigest(), by_authors=False)
    monkeypatch.setattr(originals, "ESC50", published)
    out = tmp_path / "out"
    return ("data", "scenes", "--images", source / made.IMAGES, "-o", out, "--lists", web, "--layout", "debug")


def test_scenes_are_prepared_from_the_original(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = command(*online(tmp_path, monkeypatch))
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'out' / 'test'}.safetensors: {TEST_IMAGES} images, {TEST_SOUNDS} sounds" in result.stdout
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [originals.ESC50.name]


def test_unverified_sounds_must_be_accepted(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = online(tmp_path, monkeypatch, md5="f" * 32)
    result = command(*arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "--accept-unverified" in result.stderr
    assert not (tmp_path / "out").exists()
    assert command(*arguments, "--accept-unverified").exit_code == 0


def test_offline_it_says_what_to_do(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = online(tmp_path, monkeypatch)
    (tmp_path / "web" / originals.ESC50.name).unlink()
    result = command(*arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "give a local copy with --sounds" in result.stderr


def test_class_folders_are_prepared_and_losses_counted(command: Command, tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(10):
            write_image(tmp_path / f"in/images/{label}/{number}.png", 20 * number + (label == "b"))
            write_sound(tmp_path / f"in/audio/{label}/{number}.wav", 0.05 * number + 0.02 * (label == "b"))
    (tmp_path / "in/images/a/0.png").write_bytes(b"")
    out = tmp_path / "out"
    result = command("data", "classes", tmp_path / "in", "-o", out, "--layout", "debug", "--valid-share", 0.2)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        f"{out / split}.safetensors" for split in ("train", "valid", "test")
    ]
    assert sum(int(line.split()[-4]) for line in lines[:3]) == 19
    assert sum(int(line.split()[-2]) for line in lines[:3]) == 19
    assert sorted(line.split()[2:4] for line in lines[3:]) == [["1", "silent"], ["1", "unreadable"]]


def test_a_sheet_of_a_recipe(command: Command, tmp_path: Path) -> None:
    write_split(tmp_path, "train", tiny.pair_split())
    write_description(tmp_path, tiny.LAYOUT, ["a", "b", "c", "d"], {})
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f"""
kind = "judge"
layout = "debug"
data = "{tmp_path}"
output = "run"
model = {{ modality = "image", width = 4 }}
augmentation = {{ shift = 0.2 }}
train = {{ steps = 1, batch_size = 1, learning_rate = 1e-3 }}
""")
    pictures = []
    for seed, name in ((0, "a.png"), (0, "b.png"), (1, "c.png")):
        result = command("data", "sheet", recipe, "-o", tmp_path / name, "--seed", seed)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{tmp_path / name}\n"
        pictures.append(np.asarray(read_image(tmp_path / name)))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
