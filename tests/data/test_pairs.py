"""A prepared data set comes back as written, and anything else is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from visual_echoes.data.pairs import PairSplit, Wanted, read_groups, read_split, write_description, write_split
from visual_echoes.errors import EchoesError
from visual_echoes.layout import get_layout
from visual_echoes.media.tensors import pcm_to_wave, pixels_to_unit, unit_to_pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_split(tmp_path, "train", tiny.pair_split())
    write_description(tmp_path, tiny.LAYOUT, ["a", "b", "c", "d"], {"source.tar": "0" * 64})
    return tmp_path


def test_round_trip(folder: Path) -> None:
    written, found = tiny.pair_split(), read_split(folder, "train", tiny.LAYOUT)
    for name, value in vars(written).items():
        assert torch.equal(getattr(found, name), value), name
        assert getattr(found, name).dtype == value.dtype
    assert read_groups(folder) == ["a", "b", "c", "d"]
    assert json.loads((folder / "dataset.json").read_text())["layout"]["name"] == "debug"


def test_a_split_that_is_not_contiguous_can_be_written(tmp_path: Path) -> None:
    split = tiny.pair_split()
    turned = PairSplit(split.images.mT, split.image_groups, split.sounds, split.sound_groups)
    write_split(tmp_path, "train", turned)
    assert torch.equal(read_split(tmp_path, "train", tiny.LAYOUT).images, split.images.mT)


@pytest.mark.parametrize("name", ["paper", "digits"])
def test_data_of_another_layout_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(EchoesError, match=rf"train\.safetensors was prepared for another layout than '{name}'"):
        read_split(folder, "train", get_layout(name))


def test_a_missing_split_is_named(folder: Path) -> None:
    with pytest.raises(EchoesError, match=r"no prepared data at .*valid\.safetensors"):
        read_split(folder, "valid", tiny.LAYOUT)


@pytest.mark.parametrize("empty", ["images", "sounds"])
def test_only_what_is_wanted_must_be_there(tmp_path: Path, empty: str) -> None:
    split = tiny.pair_split(pictures=0 if empty == "images" else 6, sounds=0 if empty == "sounds" else 5)
    write_split(tmp_path, "train", split)
    other: Wanted = "sounds" if empty == "images" else "images"
    for wanted in ([], [other]):
        found = read_split(tmp_path, "train", tiny.LAYOUT, wanted)
        assert (len(found.images), len(found.sounds)) == (len(split.images), len(split.sounds))
    counts = "0 images and 20 sounds" if empty == "images" else "24 images and 0 sounds"
    for refused in (["images", "sounds"], [empty]):
        with pytest.raises(EchoesError, match=f"holds {counts}; prepare more data"):
            read_split(tmp_path, "train", tiny.LAYOUT, refused)  # type: ignore[arg-type]
    with pytest.raises(EchoesError, match="prepare more data"):
        read_split(tmp_path, "train", tiny.LAYOUT)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "tensor missing", "tensor unknown"])
def test_a_broken_split_is_refused(folder: Path, damage: str) -> None:
    path = folder / "train.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "garbage":
        path.write_bytes(b"\x80\x04" + b"x" * 100)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        tensors = load_file(path)
        tensors["more"] = torch.zeros(1)
        if damage == "tensor missing":
            tensors = {"images": tensors["images"]}
        save_file(tensors, path)
    with pytest.raises(EchoesError, match=r"train\.safetensors is no readable data split"):
        read_split(folder, "train", tiny.LAYOUT)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"groups": null}'])
def test_a_broken_description_is_refused(folder: Path, content: str) -> None:
    (folder / "dataset.json").write_text(content)
    with pytest.raises(EchoesError, match=r"dataset\.json cannot be read"):
        read_groups(folder)


def test_pixels_survive_the_way_to_the_unit_range_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    unit = pixels_to_unit(pixels)
    assert (float(unit.min()), float(unit.max())) == (-1.0, 1.0)
    assert torch.equal(unit_to_pixels(unit), pixels)
    assert unit_to_pixels(torch.tensor([-3.0, 1.01, 7.0])).tolist() == [0, 255, 255]


def test_pcm_fills_the_range() -> None:
    wave = pcm_to_wave(torch.tensor([-32768, 0, 16384, 32767], dtype=torch.int16))
    assert wave.tolist() == [-1.0, 0.0, 0.5, 32767 / 32768]
