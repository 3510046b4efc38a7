"""One thread for torch, no deadlines for hypothesis, a small whole model, and a training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import tiny
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, PART_FILE, RECIPE_FILE
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.model import precision
from visual_echoes.pipeline import VisualEchoes

pytest_plugins = ("skips",)
torch.set_num_threads(1)
settings.register_profile("suite", deadline=None, max_examples=40)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def one_precision(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Float32 wherever nothing else is named, whatever the processor multiplies faster; commands remember it apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(precision, "speeds_on", lambda *_: {})
        patch.setattr(precision, "convolution_speeds_on", lambda *_: {})
        yield


@pytest.fixture
def whole_model() -> Model:
    """Every part of a model in the `debug` layout, untrained."""
    return tiny.whole_model()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole model as a folder in float32; not to be changed."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, tiny.whole_model(), half=False)
    return folder


@pytest.fixture(scope="session")
def echoes(model_folder: Path) -> VisualEchoes:
    """The whole model, loaded; not to be changed."""
    return VisualEchoes.from_pretrained(model_folder, device="cpu")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """The run folder of a transformer that takes the whole model's tokenizers; not to be changed."""
    from visual_echoes.training import run
    from visual_echoes.training.recipe import read_recipe

    folder = tmp_path_factory.mktemp("training")
    for name in ("train", "valid"):
        write_split(folder, name, tiny.pair_split())
    write_description(folder, tiny.LAYOUT, ["a", "b", "c", "d"], {})
    recipe = folder / "recipe.toml"
    recipe.write_text(f"""
kind = "transformer"
layout = "debug"
data = "{folder}"
output = "{folder / "run"}"
image_vqgan = "{model_folder}"
audio_vqgan = "{model_folder}"
model = {{ width = 16, heads = 2, encoder_layers = 1, decoder_layers = 1 }}
train = {{ steps = {tiny.RUN_STEPS}, batch_size = 4, learning_rate = 1e-2, checkpoint_every = 2, ema_decay = 0.5 }}
""")
    run.train(read_recipe(recipe))
    return folder / "run"


@pytest.fixture
def training(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run folder, without the model it exported at its end."""
    copy = tmp_path / "run"
    for path in (RECIPE_FILE, PART_FILE, *(f"{CHECKPOINTS}/{p.name}" for p in (run_folder / CHECKPOINTS).iterdir())):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes((run_folder / path).read_bytes())
    return copy
