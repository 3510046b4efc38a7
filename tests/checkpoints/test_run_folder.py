"""A training can be used as a model while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import tiny
from visual_echoes.checkpoints.loading import load_model, part_names
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, PART_FILE, checkpoint_path, manifest_path, trained_part
from visual_echoes.cli import app
from visual_echoes.errors import EchoesError
from visual_echoes.files import file_digest
from visual_echoes.pipeline import VisualEchoes


def change_part(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / PART_FILE).read_text())
    (folder / PART_FILE).write_text(json.dumps({**content, **changes}))


def test_the_averaged_weights_of_the_newest_checkpoint_are_the_model(training: Path, model_folder: Path) -> None:
    model = load_model(training)
    stored = load_file(checkpoint_path(training / CHECKPOINTS, tiny.RUN_STEPS))
    for key, value in model.parts["transformer"].state_dict().items():
        assert torch.equal(value, stored[f"module/average/module.{key}"])
    whole = load_model(model_folder)
    assert model.kinds == whole.kinds  # the vocoder lies with the tokenizers
    assert model.layout == whole.layout
    for part in ("image_vqgan", "audio_vqgan"):
        for key, value in model.parts[part].state_dict().items():
            assert torch.equal(value, whole.parts[part].state_dict()[key])
    assert not any(module.training for module in model.parts.values())


def test_it_equals_what_the_finished_run_exports(run_folder: Path) -> None:
    exported = load_model(run_folder / "model").parts["transformer"].state_dict()
    for key, value in load_model(run_folder, wanted=["transformer"]).parts["transformer"].state_dict().items():
        assert torch.equal(value, exported[key])


def test_a_torn_checkpoint_is_skipped_with_a_warning(training: Path) -> None:
    newest = checkpoint_path(training / CHECKPOINTS, tiny.RUN_STEPS)
    newest.write_bytes(newest.read_bytes()[:-1])
    stored = load_file(checkpoint_path(training / CHECKPOINTS, 2))
    with pytest.warns(UserWarning, match="is skipped"):
        part = load_model(training, wanted=["transformer"]).parts["transformer"]
    assert torch.equal(part.state_dict()["decoder_embed.weight"], stored["module/average/module.decoder_embed.weight"])


def test_the_pipeline_and_the_command_take_a_run_folder(training: Path, tmp_path: Path) -> None:
    made = VisualEchoes.from_pretrained(training, device="cpu").generate_pair(1, steps=2)
    assert made.images is not None
    out = tmp_path / "out"
    arguments = ["pair", "-n", "1", "-o", str(out), "--model", str(training), "--steps", "2", "--no-video"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert len(list(out.iterdir())) == 2


def test_each_part_says_which_file_it_was_read_from(training: Path, model_folder: Path) -> None:
    model = load_model(training)
    newest = checkpoint_path(training / CHECKPOINTS, tiny.RUN_STEPS)
    tokenizers = {name: model_folder / f"{name}.safetensors" for name in ("image_vqgan", "audio_vqgan")}
    assert {name: file.path for name, file in model.files.items()} == {**tokenizers, "transformer": newest}
    for file in model.files.values():
        assert file.sha256 == file_digest(file.path)


def test_the_parts_are_known_without_loading_them(training: Path, model_folder: Path) -> None:
    parts = ["image_vqgan", "audio_vqgan", "vocoder", "transformer"]
    assert part_names(training) == list(load_model(training).parts) == parts
    assert part_names(model_folder) == list(load_model(model_folder).parts)
    assert trained_part(training) == "transformer"


def test_a_tokenizer_that_has_gone_is_missed_only_where_it_is_wanted(training: Path) -> None:
    change_part(training, tokenizers={"image_vqgan": "gone", "audio_vqgan": "digits"})
    assert set(load_model(training, wanted=["transformer", "audio_vqgan"]).parts) == {"transformer", "audio_vqgan"}
    with pytest.raises(EchoesError, match="There is no model 'gone'"):
        load_model(training, wanted=["image_vqgan"])


def test_a_model_put_into_a_run_folder_is_the_model(training: Path, model_folder: Path) -> None:
    for path in model_folder.iterdir():
        (training / path.name).write_bytes(path.read_bytes())
    assert load_model(training).name == "tiny"
    assert part_names(training) == part_names(model_folder)


def test_problems_are_one_sentence(training: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EchoesError, match=r"config.json is missing"):
        load_model(tmp_path / "empty")
    for path in (training / CHECKPOINTS).glob("*.json"):
        path.unlink()
    with pytest.warns(UserWarning, match="manifest"), pytest.raises(EchoesError, match="no whole checkpoint yet"):
        load_model(training)
    change_part(training, layout={"name": "debug"})
    with pytest.raises(EchoesError, match="describes no valid layout"):
        load_model(training)
    (training / PART_FILE).write_text('{"name": "transformer"}')
    with pytest.raises(EchoesError, match="does not say what was trained"):
        load_model(training)


def test_a_tokenizers_run_is_a_model_of_one_part(tmp_path: Path) -> None:
    from visual_echoes.checkpoints.run_folder import TrainedPart
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
