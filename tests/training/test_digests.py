"""The digest of what a run reads changes with every content that matters, and with no place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import tiny
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import PART_FILE, TrainedPart
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.training.digests import inputs_digest
from visual_echoes.training.loop import fit
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


@pytest.mark.parametrize("file", ["data/train", "data/valid"])
def test_every_content_counts(recipe: TransformerRecipe, tmp_path: Path, file: str) -> None:
    before = inputs_digest(recipe)
    tensors = load_file(tmp_path / f"{file}.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 1
    save_file(tensors, tmp_path / f"{file}.safetensors")
    assert inputs_digest(recipe) != before


@pytest.mark.parametrize("name", ["image_vqgan", "audio_vqgan"])
def test_every_tokenizer_counts(recipe: TransformerRecipe, whole_model: Model, tmp_path: Path, name: PartName) -> None:
    before = inputs_digest(recipe)
    next(whole_model.parts[name].parameters()).data += 1
    save_model(tmp_path / "model", whole_model, half=False)
    assert inputs_digest(recipe) != before


def test_a_tokenizer_in_training_counts_with_what_it_has_come_to(recipe: TransformerRecipe, tmp_path: Path) -> None:
    task, out = tiny.vqgan_task(), tmp_path / "tokenizer"
    part = TrainedPart(name="image_vqgan", kind="vqgan", config=task.export_config(), layout=tiny.LAYOUT.to_dict())
    digests = []
    for steps in (1, 2):
        fit(tiny.vqgan_task(), tiny.train_settings(steps), out, "f", records={PART_FILE: part.model_dump_json()})
        digests.append(inputs_digest(recipe.model_copy(update={"image_vqgan": out})))
    assert digests[0] != digests[1]


def test_the_place_does_not_count(recipe: TransformerRecipe, tmp_path: Path) -> None:
    before = inputs_digest(recipe)
    (tmp_path / "data").rename(tmp_path / "moved")
    assert inputs_digest(recipe.model_copy(update={"data": tmp_path / "moved"})) == before
    assert inputs_digest(recipe) != before
