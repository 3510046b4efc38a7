"""The published generators at full size: shapes from tensors, rates and dilations from the published rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from checkpoints.convert.test_vqgans import of_shape
from visual_echoes.checkpoints.convert.generators import build_hifigan, build_melgan
from visual_echoes.errors import EchoesError
from visual_echoes.vocoders import HiFiGAN, HiFiGANConfig, MelGAN, MelGANConfig

# HiFi-GAN's config_v1.json to config_v3.json.
PUBLISHED: dict[str, dict[str, Any]] = {
    "V1": {},
    "V2": {"upsample_initial_channel": 128},
    "V3": {
        "resblock": "2", "upsample_rates": (8, 8, 4), "upsample_kernel_sizes": (16, 16, 8),
        "upsample_initial_channel": 256, "resblock_kernel_sizes": (3, 5, 7),
        "resblock_dilation_sizes": ((1, 2), (2, 6), (3, 12)),
    },
}  # fmt: skip


def hifigan_tensors(config: HiFiGANConfig) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return of_shape(HiFiGAN(config))


@pytest.mark.parametrize("version", PUBLISHED)
def test_the_three_hifigans_need_no_config(version: str) -> None:
    config = HiFiGANConfig(n_mels=80, **PUBLISHED[version])
    assert build_hifigan(hifigan_tensors(config), "g_02500000", None).config == config


def test_specvqgan_s_melgan() -> None:
    with torch.device("meta"):
        tensors = of_shape(MelGAN(MelGANConfig(n_mels=80)))
    assert build_melgan(tensors, "best_netG.pt", None).config == MelGANConfig(n_mels=80)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upsample_rates": (5, 2), "upsample_kernel_sizes": (11, 4)}, "do not tell their rates"),
        ({"resblock_kernel_sizes": (3, 7), "resblock_dilation_sizes": ((1, 3, 5),) * 2}, "dilations are unknown"),
        ({"resblock_dilation_sizes": ((1, 3),) * 3}, "dilations are unknown"),
    ],
)
def test_generators_off_the_rule_need_their_config(changes: dict[str, Any], message: str) -> None:
    config = HiFiGANConfig(n_mels=80, upsample_initial_channel=64, **changes)
    with pytest.raises(EchoesError, match=f"{message}.*config.json"):
        build_hifigan(hifigan_tensors(config), "g_00000001", None)
