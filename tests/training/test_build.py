"""Every part trains on a prepared folder of clips as it does on arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

import tiny
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.data.manifest import Clip, Description, write_description, write_manifest
from visual_echoes.data.prepare.tokens import Tokenizers, write_tokens
from visual_echoes.errors import EchoesError
from visual_echoes.media import write_wav
from visual_echoes.tokenizers.vqgan import VQGAN
from visual_echoes.training.build import VALIDATION_CLIPS, build_task, run_layout
from visual_echoes.training.dry_run import dry_run
from visual_echoes.training.recipe import Recipe
from visual_echoes.training.run import train
from visual_echoes.training.transformer import TransformerTask

LAYOUT = tiny.LAYOUT
CPU = torch.device("cpu")
CLIPS = 6  # of each split
TOKENIZER = {
    "code_dim": 8, "width": 8, "multipliers": [1, 1, 1], "strides": [[2, 2], [2, 2]], "blocks": 1,
    "attention_levels": [], "latent_width": 8, "norm_groups": 4,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "image-vqgan": {"model": TOKENIZER},
    "audio-vqgan": {"model": {**TOKENIZER, "multipliers": [1] * 4, "strides": [[2, 2], [2, 2], [1, 2]]}},
    "vocoder": {"model": {"model": {"width": 16, "blocks": 1}, "segment_frames": 8}},
    "transformer": {"model": {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}},
}
pytestmark = pytest.mark.filterwarnings("ignore:only .* of the codebook is in use")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A prepared folder of clips with the tokens of the whole model."""
    folder = tmp_path_factory.mktemp("clips")
    noise, found = np.random.default_rng(0), []
    for split in ("train", "valid"):
        for number in range(CLIPS):
            name = f"{split}-{number}"
            Image.fromarray(noise.integers(0, 256, (16, 16), np.uint8)).save(folder / f"{name}.png")
            write_wav(folder / f"{name}.wav", noise.uniform(-0.5, 0.5, 4000), LAYOUT.sample_rate, {})
            files = f"{name}.png", f"{name}.wav"
            hashes = {"picture": "0" * 64, "sound": "0" * 64}
            found.append(Clip(name, split, None, *files, 0.0, 0.5, (0.0,), name, hashes))  # type: ignore[arg-type]
    write_manifest(folder, found)
    write_description(folder, Description(folder, LAYOUT, {"pairing": "clip"}))
    write_tokens(folder, Tokenizers.load(str(model_folder), CPU), 1)
    return folder


def recipe(kind: str, data: Path, output: Path, **changes: Any) -> Recipe:
    values = {
        "kind": kind, "layout": "debug", "data": data, "output": output,
        "train": {"steps": 2, "batch_size": 2, "learning_rate": 1e-3}, **MODELS[kind], **changes,
    }  # fmt: skip
    return TypeAdapter(Recipe).validate_python(values)


@pytest.mark.parametrize("kind", MODELS)
def test_every_part_trains_on_clips(kind: str, clips: Path, tmp_path: Path, model_folder: Path) -> None:
    inputs = {} if kind.endswith("vqgan") else {"audio_vqgan": model_folder}
    if kind == "transformer":
        inputs["image_vqgan"] = model_folder
    folder = train(recipe(kind, clips, tmp_path / "run", **inputs))
    (part,) = load_model(folder).parts.values()
    assert all(value.isfinite().all() for value in part.state_dict().values())


def test_the_transformer_reads_the_tokens_of_its_own_tokenizers_only(
    clips: Path, tmp_path: Path, model_folder: Path
) -> None:
    other = load_model(model_folder)
    with torch.no_grad():
        next(other.parts["audio_vqgan"].parameters()).add_(1.0)
    save_model(tmp_path / "other", other, half=False)
    with pytest.raises(EchoesError, match="another audio_vqgan"):
        build_task(recipe("transformer", clips, tmp_path, image_vqgan=model_folder, audio_vqgan=tmp_path / "other"))


def test_copies_have_no_meaning_for_clips(clips: Path, tmp_path: Path, model_folder: Path) -> None:
    parts = {"image_vqgan": model_folder, "audio_vqgan": model_folder}
    for refuse in (build_task, dry_run):
        with pytest.raises(EchoesError, match="leave image_copies and audio_copies out"):
            refuse(recipe("transformer", clips, tmp_path, **parts, image_copies=4))


def test_a_tokenizer_may_have_other_codes_than_the_layout(clips: Path, tmp_path: Path) -> None:
    model = tiny.whole_model()
    model.parts["image_vqgan"] = VQGAN(tiny.vqgan_config(codes=48))
    model.layout = replace(LAYOUT, image_codes=48)
    folder = tmp_path / "more"
    save_model(folder, model, half=False)
    for name in ("manifest.jsonl", "dataset.json"):
        (tmp_path / name).write_bytes((clips / name).read_bytes())
    write_tokens(tmp_path, Tokenizers.load(str(folder), CPU), 1)
    chosen = recipe("transformer", tmp_path, tmp_path / "run", image_vqgan=folder, audio_vqgan=folder)
    task = build_task(chosen)
    assert isinstance(task, TransformerTask)
    assert [stream.codes for stream in task.config.streams] == [48, LAYOUT.audio_codes]
    assert run_layout(chosen, task) == model.layout


def test_a_part_starts_from_a_model_and_keeps_what_is_frozen(clips: Path, tmp_path: Path, model_folder: Path) -> None:
    changes = {"start_from": str(model_folder), "freeze": ["encoder", "quant_conv", "quantize"]}
    task = build_task(recipe("image-vqgan", clips, tmp_path, **changes))
    expected = load_model(model_folder).parts["image_vqgan"].state_dict()
    model = task.modules["model"]
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    trained = {key.split(".")[0] for key, value in model.named_parameters() if value.requires_grad}
    assert trained == {"decoder", "post_quant_conv"}


def test_a_part_starts_from_what_a_run_has_come_to(clips: Path, tmp_path: Path) -> None:
    first = load_model(train(recipe("vocoder", clips, tmp_path / "first"))).parts["vocoder"].state_dict()
    task = build_task(recipe("vocoder", clips, tmp_path / "second", start_from=str(tmp_path / "first")))
    assert all(torch.equal(value, first[key]) for key, value in task.modules["model"].state_dict().items())


def test_an_adversarial_loss_needs_the_decoders_last_layer(clips: Path, tmp_path: Path, model_folder: Path) -> None:
    changes = {"start_from": str(model_folder), "freeze": ["decoder"]}
    build_task(recipe("image-vqgan", clips, tmp_path, **changes))
    with pytest.raises(EchoesError, match="last layer"):
        build_task(recipe("image-vqgan", clips, tmp_path, **changes, loss={"adversarial_from": 1}))


def test_validation_takes_clips_from_the_whole_split(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert VALIDATION_CLIPS >= CLIPS
    monkeypatch.setattr("visual_echoes.training.build.VALIDATION_CLIPS", 3)
    task: Any = build_task(recipe("image-vqgan", clips, tmp_path))
    assert [clip.id for clip in task.valid.items.clips] == ["valid-0", "valid-2", "valid-4"]
    assert len(task.train) == CLIPS


def test_a_split_without_clips_is_refused(clips: Path, tmp_path: Path) -> None:
    lines = (clips / "manifest.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "manifest.jsonl").write_text("".join(line for line in lines if '"train"' in line))
    (tmp_path / "dataset.json").write_bytes((clips / "dataset.json").read_bytes())
    with pytest.raises(EchoesError, match="no clip in the split 'valid'"):
        build_task(recipe("vocoder", tmp_path, tmp_path / "run"))


def test_the_files_of_a_data_set_may_lie_elsewhere_now(clips: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / "manifest.jsonl").write_bytes((clips / "manifest.jsonl").read_bytes())
    write_description(prepared, Description(tmp_path / "gone", LAYOUT, {"pairing": "clip"}))
    with pytest.raises(EchoesError, match=r"gone/.* does not exist; if the files have moved, .*--root FOLDER.*--moved"):
        train(recipe("image-vqgan", prepared, tmp_path / "run"))
    moved = recipe("image-vqgan", prepared, tmp_path / "run", root=clips)
    assert moved.fingerprint() == recipe("image-vqgan", prepared, tmp_path / "run").fingerprint()
    assert load_model(train(moved)).parts
    with pytest.raises(EchoesError, match="There is no folder .*nowhere"):
        build_task(recipe("image-vqgan", prepared, tmp_path / "run", root=tmp_path / "nowhere"))


def test_arrays_have_no_files_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(EchoesError, match="is no prepared folder of clips; leave root out"):
        build_task(recipe("image-vqgan", tmp_path, tmp_path / "run", root=tmp_path))
