"""HiFi-GAN computes what the published generator computes."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from parity_weights import load_parity
from visual_echoes.vocoders import HiFiGAN, HiFiGANConfig


def parity_generator() -> tuple[HiFiGAN, dict[str, Tensor]]:
    config, state, arrays = load_parity("hifigan_tiny")
    vocoder = HiFiGAN(HiFiGANConfig(n_mels=arrays["mel"].shape[1], **config["config"])).eval()
    vocoder.load_state_dict(state)
    return vocoder, arrays


def test_hifigan_agrees_with_the_reference() -> None:
    vocoder, arrays = parity_generator()
    with torch.no_grad():
        wave_BN = vocoder(arrays["mel"])
    torch.testing.assert_close(wave_BN, arrays["waveform"][:, 0], atol=1e-4, rtol=0)


def test_folding_keeps_the_output_and_drops_the_pairs() -> None:
    vocoder, arrays = parity_generator()
    parameters = sum(p.numel() for p in vocoder.parameters())
    with torch.no_grad():
        before_BN = vocoder(arrays["mel"])
        folded = vocoder.fold()
        torch.testing.assert_close(folded(arrays["mel"]), before_BN, atol=1e-5, rtol=0)
        torch.testing.assert_close(folded.fold()(arrays["mel"]), before_BN, atol=1e-5, rtol=0)
    assert not any(name.endswith(("weight_g", "weight_v")) for name in folded.state_dict())
    assert sum(p.numel() for p in folded.parameters()) < parameters


def test_hifigan_v1_has_the_published_shape() -> None:
    config = HiFiGANConfig(n_mels=80)
    assert config.hop == 256
    with torch.device("meta"):
        vocoder = HiFiGAN(config)
    assert len(vocoder.resblocks) == 12
    assert vocoder.state_dict()["ups.0.weight_v"].shape == (512, 256, 16)
    assert vocoder.state_dict()["ups.0.weight_g"].shape == (512, 1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"upsample_kernel_sizes": (16, 16, 4)},
        {"upsample_kernel_sizes": (15, 16, 4, 4)},
        {"upsample_initial_channel": 24},
        {"resblock_kernel_sizes": (3, 7, 10)},
        {"resblock_dilation_sizes": ((1, 3, 5),)},
        {"unknown": 1},
    ],
)
def test_impossible_hifigan_configs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HiFiGANConfig(**{"n_mels": 80, **wrong})  # type: ignore[arg-type]
