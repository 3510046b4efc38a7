"""`echoes convert`: a published file becomes a model folder, or one sentence says why not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from checkpoints.convert.published import tensors, write
from cli.conftest import Command
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.layout import LAYOUTS
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN, MageVQGANConfig
from visual_echoes.tokenizers.vqgan import VQGAN

# 32 x 32 RGB, 4 x 4 pixels per token: what the small fixtures fit
SMALL = replace(LAYOUTS["debug"], name="small", image_size=32, image_channels=3)


@pytest.fixture(autouse=True)
def small_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYOUTS, SMALL.name, SMALL)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path, tensors("taming_vqgan_tiny"))


def test_a_checkpoint_becomes_a_folder_that_info_reads(command: Command, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = command("convert", checkpoint, "-o", out, "--layout", SMALL.name, "--name", "published")
    assert result.exit_code == 0, result.output
    said = result.stdout.splitlines()
    assert said[0].startswith("taming or SpecVQGAN VQGAN, ")
    assert said[0].endswith("as image_vqgan of layout small.")
    assert said[1] == "3 channels, 64 codes of 16 dimensions, 4 x 4 pixels per token; values in [-1, 1]."
    assert said[2] == str(out)
    model = load_model(out)
    assert isinstance(model.parts["image_vqgan"], VQGAN)
    assert (model.name, model.layout.image_codes, model.layout.audio_codes) == ("published", 64, SMALL.audio_codes)
    assert "licence: that of the original checkpoint." in command("info", out).stdout.lower()


def test_the_config_and_the_part_may_be_named(command: Command, tmp_path: Path) -> None:
    path = write(tmp_path, tensors("hifigan_tiny"), "legacy generator")
    arguments = ["convert", path, "-o", tmp_path / "model", "--part", "vocoder", "--mel", "layout"]
    result = command(*arguments, "--config", Path(__file__).parent.parent / "parity" / "hifigan_tiny.json")
    assert result.exit_code == 0, result.output
    assert load_model(tmp_path / "model").kinds == {"vocoder": "hifigan"}


def test_a_model_is_not_overwritten_unasked(command: Command, checkpoint: Path, tmp_path: Path) -> None:
    arguments = ("convert", checkpoint, "-o", tmp_path / "model", "--layout", SMALL.name)
    assert command(*arguments).exit_code == 0
    before = (tmp_path / "model" / "config.json").read_bytes()
    refused = command(*arguments, "--name", "other")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert (tmp_path / "model" / "config.json").read_bytes() == before
    assert command(*arguments, "--name", "other", "--overwrite").exit_code == 0
    assert load_model(tmp_path / "model").name == "other"


class Trap:
    """Unpickling this leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def bad_files(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Files that must not become a model, and what is to be said about each."""
    folder = tmp_path / "bad"
    folder.mkdir()
    state = tensors("taming_vqgan_tiny")
    torch.save({"state_dict": {"features.0.weight": torch.ones(3)}}, folder / "vgg.pth")
    content = write(folder, state).read_bytes()
    (folder / "cut.ckpt").write_bytes(content[: len(content) // 2])
    for name, value in (("nan", float("nan")), ("inf", float("inf"))):
        state["quant_conv.bias"][0] = value
        torch.save(state, folder / f"{name}.ckpt")
    (folder / "evil.ckpt").write_bytes(pickle.dumps({"state_dict": Trap(folder / "mark")}, protocol=2))
    (folder / "page.ckpt").write_text("<html>")
    return {
        "another network": (folder / "vgg.pth", "none of the known networks"),
        "cut short": (folder / "cut.ckpt", "cut short or damaged"),
        "nan": (folder / "nan.ckpt", "not finite: quant_conv.bias"),
        "infinite": (folder / "inf.ckpt", "not finite: quant_conv.bias"),
        "malicious": (folder / "evil.ckpt", "it was not run"),
        "a web page": (folder / "page.ckpt", "is no checkpoint"),
        "missing": (folder / "gone.ckpt", "There is no checkpoint file"),
        "another size": (write(folder, tensors("mage_vqgan_tiny")), "pixels per token, but layout 'paper'"),
    }


@pytest.mark.parametrize(
    "kind", ["another network", "cut short", "nan", "infinite", "malicious", "a web page", "missing", "another size"]
)
def test_a_bad_file_is_one_sentence_and_leaves_nothing(command: Command, tmp_path: Path, kind: str) -> None:
    path, problem = bad_files(tmp_path)[kind]
    result = command("convert", path, "-o", tmp_path / "model")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert problem in result.stderr
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "bad" / "mark").exists()


def test_a_converted_tokenizer_of_another_range_works_in_the_commands(
    command: Command, pictures: list[Path], model_folder: Path, tmp_path: Path
) -> None:
    """MAGE's in [0, 1] takes the place of ours in a whole model."""
    torch.manual_seed(0)
    sizes = {"code_dim": 8, "width": 32, "multipliers": (1, 1, 1), "blocks": 1}
    network = MageVQGAN(MageVQGANConfig(channels=1, codes=tiny.LAYOUT.image_codes, **sizes))
    path = write(tmp_path, {name: value.detach() for name, value in network.state_dict().items()})
    image = tmp_path / "image"
    convert = ("convert", path, "-o", image, "--layout", "debug", "--part", "image_vqgan")
    assert command(*convert).exit_code == 0
    rest = load_model(model_folder, wanted=["audio_vqgan", "transformer", "vocoder"])
    save_model(tmp_path / "rest", rest, half=False)
    whole = tmp_path / "whole"
    result = command("assemble", whole, "--name", "mixed", "--part", image, "--part", tmp_path / "rest")
    assert result.exit_code == 0, result.output
    assert command("reconstruct", pictures[0], "-o", tmp_path / "out", "--model", whole).exit_code == 0
    assert command("sound", pictures[0], "-o", tmp_path / "sound", "--model", whole).exit_code == 0
