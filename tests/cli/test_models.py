"""`echoes info` and `assemble`, and what a damaged model folder leads to."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch

import tiny
from cli.conftest import Command
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.checkpoints.run_folder import CHECKPOINTS, checkpoint_path


@pytest.fixture
def part_folders(whole_model: Model, tmp_path: Path) -> list[Path]:
    """The model's trained parts, each in its own folder, as trainings leave them."""
    folders = []
    for name in ("image_vqgan", "audio_vqgan", "transformer"):
        part = Model(
            name=name, version="1", layout=whole_model.layout, parts={name: whole_model.parts[name]},
            sampling=whole_model.sampling,
        )  # fmt: skip
        folders.append(tmp_path / "runs" / name / "model")
        save_model(folders[-1], part, half=False)
    return folders


def test_info_tells_what_a_model_consists_of(command: Command, whole_model: Model, tmp_path: Path) -> None:
    whole_model.card = "---\nlicense: cc-by-sa-4.0\ntags: [audio]\n---\n# Tiny\n"
    save_model(tmp_path / "model", whole_model, half=True)
    result = command("info", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("tiny 1.0\n")
    assert "licence: cc-by-sa-4.0\n" in result.stdout
    assert "steps 4, temperature 2.0, guidance 2.0" in result.stdout
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    for name, part in whole_model.parts.items():
        assert rows[name][2] == f"{sum(p.numel() for p in part.parameters()):,}"
    assert rows["transformer"][3] == f"{(tmp_path / 'model' / 'transformer.safetensors').stat().st_size:,}"
    assert f"tokens in all {tiny.LAYOUT.tokens}" in " ".join(result.stdout.split())


def test_info_tells_what_a_run_folder_has_come_to(command: Command, training: Path, model_folder: Path) -> None:
    result = command("info", training)
    assert result.exit_code == 0, result.output
    checkpoint = checkpoint_path(training / CHECKPOINTS, tiny.RUN_STEPS)
    assert f"transformer: averaged weights in {checkpoint.name}, " in result.stdout
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert rows["transformer"][3] == f"{checkpoint.stat().st_size:,}"
    assert rows["image_vqgan"][3] == f"{(model_folder / 'image_vqgan.safetensors').stat().st_size:,}"
    assert rows["vocoder"][3] == "0"


def test_info_reads_back_what_a_file_says(command: Command, model_folder: Path, tmp_path: Path) -> None:
    assert command("pair", "-o", tmp_path, "--model", model_folder, "--seed", 9).exit_code == 0
    for suffix in (".png", ".wav", ".mp4"):
        result = command("info", tmp_path / f"pair-0001{suffix}")
        assert result.exit_code == 0
        assert {"model: tiny", "seed: 9", "synthetic: true"} <= set(result.stdout.splitlines())


def test_info_on_a_missing_file_says_so_without_asking_the_hub(command: Command) -> None:
    result = command("info", "out/seven.wav")
    assert result.exit_code == 1
    assert "There is no file out/seven.wav" in result.stderr


def test_info_on_another_file_says_so(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert "carries no metadata" in command("info", tmp_path / "notes.txt").stdout


def damaged_models(folder: Path, tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Folders and files that are no models, and what is to be said about each."""
    missing, altered, cut = (Path(shutil.copytree(folder, tmp_path / name)) for name in ("missing", "altered", "cut"))
    (missing / "transformer.safetensors").unlink()
    content = bytearray((altered / "image_vqgan.safetensors").read_bytes())
    content[-1] ^= 1
    (altered / "image_vqgan.safetensors").write_bytes(content)
    (cut / "config.json").write_text((cut / "config.json").read_text()[:100])
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    return {
        "missing": (missing, "transformer.safetensors is missing"),
        "altered": (altered, "does not match its checksum"),
        "cut": (cut, "no valid model config"),
        "empty": (tmp_path / "empty", "config.json is missing"),
        "pickle": (tmp_path / "weights.ckpt", "pickles must be converted first"),
        "nowhere": (tmp_path / "nowhere", "There is no model"),
    }


@pytest.mark.parametrize("damage", ["missing", "altered", "cut", "empty", "pickle", "nowhere"])
def test_a_damaged_model_is_one_sentence(
    command: Command, model_folder: Path, pictures: list[Path], tmp_path: Path, damage: str
) -> None:
    model, problem = damaged_models(model_folder, tmp_path)[damage]
    result = command("sound", pictures[0], "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert problem in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_parts_become_a_model_that_works(
    command: Command, part_folders: list[Path], sounds: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "card.md").write_text("# A card\n\nLicence: Apache-2.0\n")
    out = tmp_path / "model"
    parts = [argument for folder in part_folders for argument in ("--part", folder)]
    settings = ["--steps", 6, "--temperature", 3, "--order", "halton"]
    result = command("assemble", out, "--name", "mine", *parts, "--card", tmp_path / "card.md", *settings)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n"), result.output
    model = load_model(out)
    assert (model.name, model.sampling.steps, model.sampling.temperature) == ("mine", 6, 3.0)
    assert (model.sampling.order, model.sampling.guidance) == ("halton", 3.0)
    whole, half = ((folder / "transformer.safetensors").stat().st_size for folder in (part_folders[2], out))
    assert half < 0.7 * whole
    assert "licence: Apache-2.0\n" in command("info", out).stdout
    assert command("picture", sounds[0], "-o", tmp_path / "out", "--model", out).exit_code == 0


def test_of_a_run_folder_the_trained_part_is_taken(
    command: Command, part_folders: list[Path], training: Path, tmp_path: Path
) -> None:
    parts = [argument for folder in (*part_folders[:2], training) for argument in ("--part", folder)]
    result = command("assemble", tmp_path / "model", "--name", "mine", *parts)
    assert result.exit_code == 0, result.output
    stored = load_model(training, wanted=["transformer"]).parts["transformer"].state_dict()["decoder_embed.weight"]
    half = load_model(tmp_path / "model").parts["transformer"].state_dict()["decoder_embed.weight"]
    assert torch.equal(half, stored.half().float())


def test_a_model_is_not_overwritten_unasked(command: Command, part_folders: list[Path], tmp_path: Path) -> None:
    parts = [argument for folder in part_folders for argument in ("--part", folder)]
    arguments = ("assemble", tmp_path / "model", "--name", "mine", *parts)
    assert command(*arguments).exit_code == 0
    before = (tmp_path / "model" / "config.json").read_bytes()
    refused = command(*arguments, "--steps", 3)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert (tmp_path / "model" / "config.json").read_bytes() == before
    assert command(*arguments, "--steps", 3, "--overwrite").exit_code == 0
    assert load_model(tmp_path / "model").sampling.steps == 3


def test_an_unreadable_card_is_named(command: Command, part_folders: list[Path], tmp_path: Path) -> None:
    arguments = ("assemble", tmp_path / "model", "--name", "mine", "--part", part_folders[0], "--card")
    (tmp_path / "card.md").write_bytes(b"\xff\xfe\xff")
    for card in (tmp_path / "gone.md", tmp_path / "card.md"):
        result = command(*arguments, card)
        assert result.exit_code == 1
        assert f"{card} cannot be read as a model card" in result.stderr
