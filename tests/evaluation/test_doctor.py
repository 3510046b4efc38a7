"""The doctor finds broken files, measures every part alone and both together, and names the weak one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, PART_FILE
from visual_echoes.codec import Codec
from visual_echoes.evaluation.doctor import (
    MISMATCH,
    WEAK_PSNR,
    WEAK_TOKENIZER,
    WEAK_VOCODER,
    CodeUse,
    Examination,
    check_model,
    verdict,
)
from visual_echoes.evaluation.samples import sample_material
from visual_echoes.metrics.fidelity import mel_error_db

CPU = torch.device("cpu")
MANY = CodeUse(used=1000, codes=1024, tokens=100_000)
GOOD = {"psnr": 25.0, "ssim": 0.9, "tokenizer": 3.0, "vocoder": 2.0, "both": 4.0}
USED = {"image": MANY, "sound": MANY}


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the whole model, to be broken."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def test_a_whole_model_has_no_problem(model_folder: Path) -> None:
    model, problems = check_model(str(model_folder))
    assert problems == []
    assert set(model.parts) == {"image_vqgan", "audio_vqgan", "transformer", "vocoder"}


def test_every_broken_file_is_named_not_only_the_first(folder: Path) -> None:
    weights = folder / "image_vqgan.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (folder / "transformer.safetensors").unlink()
    model, problems = check_model(str(folder))
    assert set(model.parts) == {"audio_vqgan", "vocoder"}
    assert len(problems) == 2
    assert "image_vqgan.safetensors does not match its checksum" in problems[0]
    assert "transformer.safetensors is missing" in problems[1]


def test_a_run_folder_is_checked_as_a_model(training: Path) -> None:
    model, problems = check_model(str(training))
    assert problems == []
    assert set(model.parts) == {"image_vqgan", "audio_vqgan", "transformer", "vocoder"}


def test_what_a_run_folder_lacks_is_named_part_by_part(training: Path, model_folder: Path, folder: Path) -> None:
    part = training / PART_FILE
    part.write_text(part.read_text().replace(str(model_folder), str(folder)))
    (folder / "audio_vqgan.safetensors").unlink()
    shutil.rmtree(training / CHECKPOINTS)
    model, problems = check_model(str(training))
    assert set(model.parts) == {"image_vqgan", "vocoder"}
    assert len(problems) == 2
    assert "audio_vqgan.safetensors is missing" in problems[0]
    assert "no whole checkpoint yet" in problems[1]


def test_weights_that_are_no_numbers_are_a_problem(whole_model: Model, tmp_path: Path) -> None:
    next(whole_model.parts["transformer"].parameters()).data.flatten()[0] = torch.nan
    save_model(tmp_path, whole_model, half=False)
    model, problems = check_model(str(tmp_path))
    assert "transformer" not in model.parts
    assert len(problems) == 1
    assert "no finite numbers" in problems[0]


def test_each_stage_is_measured_on_its_own(whole_model: Model) -> None:
    codec = Codec(whole_model, CPU)
    _, images, sounds = sample_material(tiny.LAYOUT)
    examination = Examination(codec)
    examination.add_images(images[:1])
    examination.add_images(images[1:])
    examination.add_sounds(sounds)
    means, tokens = examination.means(), codec.encode_images(images)
    assert {name: len(values) for name, values in examination.values.items()} == dict.fromkeys(GOOD, 3)
    use = CodeUse(len(tokens.unique()), tiny.LAYOUT.image_codes, tokens.numel())
    assert examination.uses()["image"] == use
    mels = codec.mels(sounds)
    decoded = codec.decode_mels(codec.encode_mels(mels))
    expected = [mel_error_db(*pair, tiny.LAYOUT) for pair in zip(mels.numpy(), decoded.numpy(), strict=True)]
    assert means["tokenizer"] == pytest.approx(np.mean(expected))
    # Griffin-Lim from true mels is close; an untrained tokenizer is not, and takes the round trip with it.
    assert means["vocoder"] < 6.0 < means["tokenizer"]
    assert means["both"] > means["vocoder"]


def test_missing_parts_are_left_out(whole_model: Model) -> None:
    _, images, sounds = sample_material(tiny.LAYOUT)
    del whole_model.parts["image_vqgan"], whole_model.parts["audio_vqgan"]
    examination = Examination(Codec(whole_model, CPU))
    examination.add_images(images)
    examination.add_sounds(sounds)
    assert set(examination.means()) == {"vocoder"}
    assert examination.uses() == {}


@pytest.mark.parametrize("names", [GOOD, ("psnr", "ssim"), ("vocoder",)])
def test_nothing_wrong_is_one_sentence(names: Collection[str]) -> None:
    (sentence,) = verdict({name: GOOD[name] for name in names}, USED)
    assert "Nothing looks wrong" in sentence


@pytest.mark.parametrize(
    ("means", "uses", "named"),
    [
        ({"psnr": WEAK_PSNR - 1}, {}, "image tokenizer is weak"),
        ({"ssim": 0.1}, {}, "image tokenizer is weak"),
        ({"psnr": float("nan")}, {}, "image tokenizer is weak"),
        ({"tokenizer": WEAK_TOKENIZER + 1, "both": 12.0}, {}, "sound tokenizer is weak"),
        ({"vocoder": WEAK_VOCODER + 1, "both": 12.0}, {}, "vocoder is weak"),
        ({"vocoder": float("nan")}, {}, "vocoder is weak"),
        ({"both": 3.0 + 2.0 + MISMATCH + 1}, {}, "not together"),
        ({}, {"image": CodeUse(30, 1024, 50_000)}, "image tokenizer uses only 30 of its 1024 codes."),
        ({}, {"sound": CodeUse(9, 1024, 500)}, "give more files"),
    ],
)
def test_the_weak_part_is_named_and_no_other(means: dict[str, float], uses: dict[str, CodeUse], named: str) -> None:
    (sentence,) = verdict(GOOD | means, USED | uses)
    assert named in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("tokens", [50, 2000])
def test_evenly_used_codes_have_a_share_of_one(tokens: int) -> None:
    drawn = torch.randint(256, (200, tokens), generator=tiny.generator())
    shares = [CodeUse(len(row.unique()), 256, tokens).share for row in drawn]
    assert np.mean(shares) == pytest.approx(1.0, abs=0.02)


def test_a_model_without_a_readable_config_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(Exception, match="format 99"):
        check_model(str(folder))
