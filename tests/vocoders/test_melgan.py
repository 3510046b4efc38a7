"""MelGAN computes what SpecVQGAN's published vocoder computes."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from parity_weights import load_parity
from visual_echoes.vocoders import MelGAN, MelGANConfig


def parity_generator() -> tuple[MelGAN, dict[str, Tensor]]:
    facts, state, arrays = load_parity("melgan_tiny")
    config = facts["config"]
    vocoder = MelGAN(
        MelGANConfig(
            n_mels=config["input_size"], width=config["ngf"], residual_layers=config["n_residual_layers"],
            ratios=config["ratios"],
        )
    ).eval()  # fmt: skip
    vocoder.load_state_dict(state)
    return vocoder, arrays


def test_agrees_with_the_reference() -> None:
    vocoder, arrays = parity_generator()
    with torch.no_grad():
        wave_BN = vocoder(arrays["mel"])
        folded_BN = vocoder.fold()(arrays["mel"])
    torch.testing.assert_close(wave_BN, arrays["waveform"][:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(folded_BN, wave_BN, atol=1e-5, rtol=0)


def test_a_mel_too_short_to_reflect_is_continued_with_its_last_frame() -> None:
    vocoder, arrays = parity_generator()
    mel_BMT = arrays["mel"][..., :2]
    continued_BMT = torch.cat([mel_BMT, mel_BMT[..., -1:], mel_BMT[..., -1:]], -1)
    with torch.no_grad():
        torch.testing.assert_close(vocoder(mel_BMT), vocoder(continued_BMT)[:, : 2 * vocoder.hop])


def test_the_defaults_are_the_published_shape() -> None:
    with torch.device("meta"):
        vocoder = MelGAN(MelGANConfig(n_mels=80))
    assert vocoder.hop == 256
    assert vocoder.state_dict()["model.3.weight_v"].shape == (512, 256, 16)
    assert vocoder.state_dict()["model.24.weight_v"].shape == (1, 32, 7)


@pytest.mark.parametrize("wrong", [{"ratios": ()}, {"ratios": (5, 2)}, {"width": 0}, {"unknown": 1}])
def test_impossible_configs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MelGANConfig(**{"n_mels": 80, **wrong})  # type: ignore[arg-type]
