"""A converted checkpoint is a model folder that records its convention and works in a model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from checkpoints.convert.published import Tensors, tensors, write
from visual_echoes.checkpoints.assemble import assemble
from visual_echoes.checkpoints.convert import convert_checkpoint, read_vqgan
from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import Model, PartName
from visual_echoes.checkpoints.model_folder import save_model
from visual_echoes.errors import EchoesError
from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.settings import SamplingSettings
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN, MageVQGANConfig
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig
from visual_echoes.vocoders import HiFiGAN, HiFiGANConfig, RemappedHiFiGAN

PAPER = LAYOUTS["paper"]
# The paper's layout as far as the small fixtures go: three levels, 64 codes.
SMALL = dataclasses.replace(
    PAPER, image_size=32, image_factor=4, image_codes=8, audio_factor=(4, 4), audio_codes=8, seconds=0.2
)  # fmt: skip
DEBUG = tiny.LAYOUT


def converted(tmp_path: Path, name: str, layout: Layout = SMALL, **options: Any) -> Model:
    """A fixture converted, saved and loaded again."""
    model = convert_checkpoint(write(tmp_path, tensors(name)), layout, **options).model
    save_model(tmp_path / name, model, half=False)
    return load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "part", "kind", "codes"),
    [
        ("taming_vqgan_tiny", "image_vqgan", "vqgan", (64, 8)),
        ("mage_vqgan_tiny", "image_vqgan", "mage-vqgan", (64, 8)),
        ("spec_vqgan_tiny", "audio_vqgan", "vqgan", (8, 64)),
        ("hifigan_tiny", "vocoder", "remapped-hifigan", (8, 8)),
        ("melgan_tiny", "vocoder", "melgan", (8, 8)),
    ],
)
def test_the_folder_holds_one_part_and_its_own_number_of_codes(
    tmp_path: Path, name: str, part: PartName, kind: str, codes: tuple[int, int]
) -> None:
    model = converted(tmp_path, name)
    assert model.kinds == {part: kind}
    assert (model.layout.image_codes, model.layout.audio_codes) == codes
    assert model.name == "checkpoint"
    assert "SHA-256" in model.card
    published = tensors(name)
    for key, value in model.parts[part].state_dict().items():
        assert torch.equal(value, published[key.removeprefix("generator.")]), key


def test_the_summary_says_what_it_is_and_which_convention_holds(tmp_path: Path) -> None:
    said = {
        name: " ".join(convert_checkpoint(write(tmp_path, tensors(name)), SMALL).summary)
        for name in ("taming_vqgan_tiny", "mage_vqgan_tiny", "hifigan_tiny", "melgan_tiny")
    }
    assert "64 codes of 16 dimensions, 4 x 4 pixels per token; values in [-1, 1]" in said["taming_vqgan_tiny"]
    assert "values in [0, 1]" in said["mage_vqgan_tiny"]
    assert "its own mel: 80 bands from 0 to 8000 Hz" in said["hifigan_tiny"]
    assert "mel of layout paper: 80 bands" in said["melgan_tiny"]


def test_a_grey_vqgan_is_what_part_says(tmp_path: Path) -> None:
    square = dataclasses.replace(SMALL, image_channels=1)
    assert list(converted(tmp_path, "spec_vqgan_tiny", square, part="image_vqgan").parts) == ["image_vqgan"]


@pytest.mark.parametrize(
    ("name", "layout", "options", "message"),
    [
        ("taming_vqgan_tiny", PAPER, {}, r"\(4, 4\) pixels per token, but layout 'paper' has \(16, 16\)"),
        ("taming_vqgan_tiny", SMALL, {"part": "audio_vqgan"}, "3 channels, but layout 'paper' has 1"),
        ("spec_vqgan_tiny", SMALL, {"part": "image_vqgan"}, "1 channels, but layout 'paper' has 3"),
        ("spec_vqgan_tiny", SMALL, {"part": "vocoder"}, "which is no vocoder"),
        ("hifigan_tiny", SMALL, {"part": "image_vqgan"}, "HiFi-GAN generator, which is no image_vqgan"),
        ("hifigan_tiny", LAYOUTS["scenes"], {}, "sample_rate 22050, but layout 'scenes' has 16000"),
        ("hifigan_tiny", DEBUG, {"mel": "layout"}, "256 samples of a frame of 80 mel bands, but layout 'debug'"),
        ("melgan_tiny", DEBUG, {}, "256 samples of a frame of 80 mel bands, but layout 'debug'"),
    ],
)
def test_what_does_not_fit_the_layout_or_the_part_is_refused(
    tmp_path: Path, name: str, layout: Layout, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EchoesError, match=message):
        convert_checkpoint(write(tmp_path, tensors(name)), layout, **options)


# HiFi-GAN's two conventions


def mel_config(tmp_path: Path, **changes: object) -> Path:
    """HiFi-GAN's published config.json, with changes."""
    values = {
        "upsample_rates": [8, 8, 2, 2], "num_mels": 80, "n_fft": 1024, "hop_size": 256, "win_size": 1024,
        "sampling_rate": 22050, "fmin": 0, "fmax": 8000,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({**values, **changes}))
    return tmp_path / "config.json"


def test_the_mel_comes_from_the_config(tmp_path: Path) -> None:
    model = converted(tmp_path, "hifigan_tiny", config=mel_config(tmp_path, fmin=40, fmax=None))
    vocoder = model.parts["vocoder"]
    assert isinstance(vocoder, RemappedHiFiGAN)
    assert (vocoder.config.mel.fmin, vocoder.config.mel.fmax) == (40.0, 11025.0)


def test_a_generator_trained_on_the_layout_s_mel_is_used_directly(tmp_path: Path) -> None:
    config = mel_config(tmp_path, fmin=125, fmax=7600)
    for options in ({}, {"config": config}):
        vocoder = converted(tmp_path, "hifigan_tiny", mel="layout", **options).parts["vocoder"]
        assert isinstance(vocoder, HiFiGAN)


@pytest.mark.parametrize(
    ("mel", "changes", "message"),
    [
        ("layout", {}, "mel has fmin 0.0, but layout 'paper' has 125.0; convert it with --mel own"),
        ("own", {"win_size": 512}, "win_size differs from n_fft"),
        ("own", {"num_mels": 100}, "256 samples of a frame of 80 bands, but its mel has 256 and 100"),
        ("own", {"n_fft": "many"}, "describes no mel"),
        ("own", {"fmin": None}, "describes no mel"),
        ("own", {"fmin": 9000}, "describes no mel"),
        ("own", {"n_fft": 2048, "win_size": 2048}, "n_fft 2048, but layout 'paper' has 1024"),
    ],
)
def test_mels_that_do_not_belong_to_the_generator_or_the_layout_are_refused(
    tmp_path: Path, mel: Any, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(EchoesError, match=message) as caught:
        convert_checkpoint(
            write(tmp_path, tensors("hifigan_tiny")), SMALL, config=mel_config(tmp_path, **changes), mel=mel
        )
    assert "\n" not in str(caught.value)


def test_a_config_without_a_mel_leaves_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"upsample_rates": [8, 8, 2, 2]}')
    vocoder = converted(tmp_path, "hifigan_tiny", config=tmp_path / "config.json").parts["vocoder"]
    assert isinstance(vocoder, RemappedHiFiGAN)
    assert vocoder.config.mel.fmax == 8000.0


# In a model


def test_mage_s_range_holds_in_the_pipeline(tmp_path: Path) -> None:
    """uint8 images are shown to the network in [0, 1], and what it gives in [0, 1] becomes uint8."""
    echoes = VisualEchoes(converted(tmp_path, "mage_vqgan_tiny"), torch.device("cpu"))
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    network = read_vqgan(write(tmp_path, tensors("mage_vqgan_tiny")))
    pixels = torch.from_numpy(noise).movedim(-1, 1).float() / 255
    with torch.no_grad():
        indices = network.encode(pixels).indices
        decoded = network.decode(indices).clamp(0, 1) * 255
    tokens_BP1 = indices.flatten(1)[..., None]
    assert torch.equal(echoes.codec.encode_images(noise), tokens_BP1)
    found = echoes.codec.decode_images(tokens_BP1).astype(np.float32)
    assert np.abs(found - decoded.movedim(1, -1).numpy()).max() <= 0.501


def small_published(tmp_path: Path, folder: str, network: torch.nn.Module, layout: Layout) -> Path:
    """A network written as the reference would, converted for a layout, as a folder."""
    state: Tensors = {name: value.detach() for name, value in network.state_dict().items()}
    converted = convert_checkpoint(write(tmp_path, state), layout)
    save_model(tmp_path / folder, converted.model, half=False)
    return tmp_path / folder


def test_converted_parts_make_a_model_with_the_codes_of_each(tmp_path: Path) -> None:
    """Both tokenizers keep their own number of codes; every task works, and the folded vocoder changes nothing."""
    torch.manual_seed(0)
    layout = dataclasses.replace(SMALL, image_codes=48, audio_codes=24)
    sizes: dict[str, Any] = {"code_dim": 8, "width": 32, "multipliers": (1, 1, 1), "blocks": 1}
    audio = VQGANConfig(channels=1, codes=24, strides=((2, 2), (2, 2)), attention_levels=(), latent_width=8, **sizes)
    transformer = tiny.transformer(
        TransformerConfig.for_layout(layout, width=16, heads=2, encoder_layers=1, decoder_layers=1, mlp_ratio=2)
    )
    folders = [
        small_published(tmp_path, "image", MageVQGAN(MageVQGANConfig(channels=3, codes=48, **sizes)), SMALL),
        small_published(tmp_path, "audio", VQGAN(audio), SMALL),
        small_published(tmp_path, "vocoder", HiFiGAN(HiFiGANConfig(n_mels=80, upsample_initial_channel=16)), SMALL),
        tmp_path / "transformer",
    ]
    save_model(
        folders[3],
        Model(
            name="t", version="1", layout=layout, parts={"transformer": transformer}, sampling=SamplingSettings(),
        ),
        half=False,
    )  # fmt: skip
    model = assemble(folders, "mixed", "", SamplingSettings(steps=2))
    assert (model.layout.image_codes, model.layout.audio_codes) == (48, 24)
    echoes = VisualEchoes(model, torch.device("cpu"))
    result = echoes.generate_pair(2, seed=1)
    assert result.audio is not None
    assert result.audio.shape == (2, layout.samples)
    vocoder = model.parts["vocoder"]
    with torch.no_grad():
        expected = vocoder(torch.from_numpy(result.mels))
    assert np.abs(result.audio - expected.numpy()).max() < 1e-4
    echoes.save_pretrained(tmp_path / "saved")
    assert load_model(tmp_path / "saved").kinds["vocoder"] == "remapped-hifigan"
