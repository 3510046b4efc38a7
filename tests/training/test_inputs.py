"""The digest of what a run reads changes with every content that matters, and with no place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import tiny
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.training.inputs import inputs_digest
from visual_echoes.training.recipe import TransformerRecipe


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path) -> TransformerRecipe:
    (tmp_path / "data").mkdir()
    for name in ("train", "valid"):
        write_split(tmp_path / "data", name, tiny.pair_split())
    write_description(tmp_path / "data", tiny.LAYOUT, ["a"], {})
    shutil.copytree(model_folder, tmp_path / "model")
    return TransformerRecipe.model_validate(
        {
            "kind": "transformer", "layout": "debug", "data": tmp_path / "data", "output": tmp_path / "run",
            "image_vqgan": tmp_path / "model", "audio_vqgan": tmp_path / "model", "model": {},
            "train": tiny.train_settings(1),
        }
    )  # fmt: skip


@pytest.mark.parametrize("file", ["data/train", "data/valid", "model/image_vqgan", "model/audio_vqgan"])
def test_every_content_counts(recipe: TransformerRecipe, tmp_path: Path, file: str) -> None:
    before = inputs_digest(recipe)
    tensors = load_file(tmp_path / f"{file}.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 1
    save_file(tensors, tmp_path / f"{file}.safetensors")
    assert inputs_digest(recipe) != before


def test_the_place_does_not_count(recipe: TransformerRecipe, tmp_path: Path) -> None:
    before = inputs_digest(recipe)
    (tmp_path / "data").rename(tmp_path / "moved")
    assert inputs_digest(recipe.model_copy(update={"data": tmp_path / "moved"})) == before
    assert inputs_digest(recipe) != before
