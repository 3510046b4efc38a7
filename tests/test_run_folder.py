"""A training can be used as a model while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import tiny
from visual_echoes.cli import app
from visual_echoes.data.pairs import write_description, write_split
from visual_echoes.errors import EchoesError
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.run_folder import CHECKPOINTS, PART_FILE, RECIPE_FILE, checkpoint_path, manifest_path
from visual_echoes.training import run
from visual_echoes.training.recipe import read_recipe
from visual_echoes.weights import load_model

STEPS = 4


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """The run folder of a transformer; not to be changed."""
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
train = {{ steps = {STEPS}, batch_size = 4, learning_rate = 1e-2, checkpoint_every = 2, ema_decay = 0.5 }}
""")
    run.train(read_recipe(recipe))
    return folder / "run"


@pytest.fixture
def training(started: Path, tmp_path: Path) -> Path:
    """A copy of the run folder, without the model it exported at its end."""
    copy = tmp_path / "run"
    for path in (RECIPE_FILE, PART_FILE, *(f"{CHECKPOINTS}/{p.name}" for p in (started / CHECKPOINTS).iterdir())):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes((started / path).read_bytes())
    return copy


def test_the_averaged_weights_of_the_newest_checkpoint_are_the_model(training: Path, model_folder: Path) -> None:
    model = load_model(training)
    stored = load_file(checkpoint_path(training / CHECKPOINTS, STEPS))
    for key, value in model.parts["transformer"].state_dict().items():
        assert torch.equal(value, stored[f"module/average/module.{key}"])
    whole = load_model(model_folder)
    assert model.kinds == whole.kinds  # the vocoder lies with the tokenizers
    assert model.layout == whole.layout
    for part in ("image_vqgan", "audio_vqgan"):
        for key, value in model.parts[part].state_dict().items():
            assert torch.equal(value, whole.parts[part].state_dict()[key])
    assert not any(module.training for module in model.parts.values())


def test_it_equals_what_the_finished_run_exports(started: Path) -> None:
    exported = load_model(started / "model").parts["transformer"].state_dict()
    for key, value in load_model(started, wanted=["transformer"]).parts["transformer"].state_dict().items():
        assert torch.equal(value, exported[key])


def test_a_torn_checkpoint_is_skipped_with_a_warning(training: Path) -> None:
    newest = checkpoint_path(training / CHECKPOINTS, STEPS)
    newest.write_bytes(newest.read_bytes()[:-1])
    stored = load_file(checkpoint_path(training / CHECKPOINTS, 2))
    with pytest.warns(UserWarning, match="is skipped"):
        part = load_model(training, wanted=["transformer"]).parts["transformer"]
    assert torch.equal(part.state_dict()["bridge.weight"], stored["module/average/module.bridge.weight"])


def test_the_pipeline_and_the_command_take_a_run_folder(training: Path, tmp_path: Path) -> None:
    made = VisualEchoes.from_pretrained(training, device="cpu").generate_pair(1, steps=2)
    assert made.images is not None
    out = tmp_path / "out"
    arguments = ["pair", "-n", "1", "-o", str(out), "--model", str(training), "--steps", "2", "--no-video"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert len(list(out.iterdir())) == 2
    shown = CliRunner().invoke(app, ["info", str(training)])
    assert shown.exit_code == 0, shown.output


def test_problems_are_one_sentence(training: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EchoesError, match=r"config.json is missing"):
        load_model(tmp_path / "empty")
    for path in (training / CHECKPOINTS).glob("*.json"):
        path.unlink()
    with pytest.warns(UserWarning, match="manifest"), pytest.raises(EchoesError, match="no whole checkpoint yet"):
        load_model(training)
    (training / PART_FILE).write_text('{"name": "transformer"}')
    with pytest.raises(EchoesError, match="does not say what was trained"):
        load_model(training)


def test_a_tokenizers_run_is_a_model_of_one_part(tmp_path: Path) -> None:
    from visual_echoes.run_folder import TrainedPart
    from visual_echoes.training.loop import fit

    task = tiny.vqgan_task()
    part = TrainedPart(
        name="image_vqgan", kind="vqgan", config=task.export_config(), layout=tiny.LAYOUT.to_dict()
    ).model_dump_json()  # fmt: skip
    fit(task, tiny.train_settings(1), tmp_path, "f", records={PART_FILE: part})
    assert manifest_path(checkpoint_path(tmp_path / CHECKPOINTS, 1)).is_file()
    assert set(load_model(tmp_path).parts) == {"image_vqgan"}
    with pytest.raises(EchoesError, match="trains a image_vqgan and has no transformer"):
        load_model(tmp_path, wanted=["transformer"])
