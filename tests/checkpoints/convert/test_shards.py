"""A divided checkpoint is read whole, from any of its files, or the missing ones are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from checkpoints.convert.published import Tensors, tensors
from visual_echoes.checkpoints.convert import convert_checkpoint, read_melgan
from visual_echoes.checkpoints.convert.reading import checkpoint_files, read_tensors
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS

SHARDS = 3
NAMES: dict[str, Callable[[Tensors, Path], object]] = {
    "model-{:05d}-of-00003.safetensors": lambda state, path: save_file(state, path),
    "pytorch_model-{:05d}-of-00003.bin": lambda state, path: torch.save(state, path),
}


def divided(folder: Path, state: Tensors, name: str) -> list[Path]:
    """A state dict in three files."""
    paths = [folder / name.format(number) for number in range(1, SHARDS + 1)]
    for index, path in enumerate(paths):
        NAMES[name](dict(list(state.items())[index::SHARDS]), path)
    return paths


def index(folder: Path, name: str, *paths: str) -> Path:
    path = folder / name
    path.write_text(json.dumps({"metadata": {}, "weight_map": {str(place): file for place, file in enumerate(paths)}}))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_a_checkpoint_stands_for_all(tmp_path: Path, name: str) -> None:
    state = tensors("melgan_tiny")
    paths = divided(tmp_path, state, name)
    listed = index(tmp_path, "model.index.json", *(path.name for path in paths))
    for given in (*paths, listed):
        found = read_tensors(given)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)
    read_melgan(paths[1])
    card = convert_checkpoint(paths[0], LAYOUTS["paper"]).model.card
    assert all(path.name in card for path in paths)


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    first, second, third = divided(tmp_path, tensors("hifigan_tiny"), name)
    listed = index(tmp_path, "model.index.json", first.name, second.name, third.name)
    third.unlink()
    for given in (first, third, listed):
        with pytest.raises(EchoesError, match=f"a checkpoint of 3 files, of which {third.name} is missing; put all"):
            read_tensors(given)
    second.unlink()
    with pytest.raises(EchoesError, match=f"of which {second.name}, {third.name} are missing"):
        read_tensors(first)


@pytest.mark.parametrize(
    "name", ["a.ckpt", "model-00004-of-00003.bin", "model-00000-of-00003.bin", "x-of-3.bin", "a-00001-of-99999.bin"]
)
def test_other_names_are_one_file(tmp_path: Path, name: str) -> None:
    assert checkpoint_files(tmp_path / name) == [tmp_path / name]


@pytest.mark.parametrize("content", ["[]", "{", '{"weight_map": {}}', '{"weight_map": {"a": "../b.bin"}}', '{"a": 1}'])
def test_what_is_no_index_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content)
    with pytest.raises(EchoesError, match=r"index\.json is no index of a checkpoint"):
        read_tensors(path)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    state = tensors("melgan_tiny")
    name = next(iter(NAMES))
    for number in range(1, SHARDS + 1):
        save_file(state, tmp_path / name.format(number))
    with pytest.raises(EchoesError, match=r"00002-of-00003.safetensors holds .* again"):
        read_tensors(tmp_path / name.format(1))
