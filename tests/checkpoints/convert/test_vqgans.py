"""The published VQGANs at full size: their shapes are read from their tensors."""

from __future__ import annotations

import pytest
import torch

from checkpoints.convert.published import Tensors
from visual_echoes.checkpoints.convert.vqgans import build_mage_vqgan, build_vqgan
from visual_echoes.tokenizers.mage_vqgan import MageVQGAN, MageVQGANConfig
from visual_echoes.tokenizers.vqgan import VQGAN, VQGANConfig


def published(channels: int, codes: int) -> VQGANConfig:
    """taming's imagenet_vqgan.yaml and SpecVQGAN's vggsound_codebook.yaml."""
    return VQGANConfig(
        channels=channels, codes=codes, code_dim=256, width=128, multipliers=(1, 1, 2, 2, 4), strides=((2, 2),) * 4,
        attention_levels=(4,), latent_width=256,
    )  # fmt: skip


def of_shape(network: torch.nn.Module) -> Tensors:
    """Tensors of a network's shapes that take no memory."""
    return {name: torch.zeros(1, device="cpu").expand(value.shape) for name, value in network.state_dict().items()}


@pytest.mark.parametrize(("channels", "codes"), [(3, 1024), (3, 16384), (1, 1024)])
def test_taming_and_specvqgan(channels: int, codes: int) -> None:
    config = published(channels, codes)
    with torch.device("meta"):
        tensors = of_shape(VQGAN(config))
    network = build_vqgan(tensors, "last.ckpt", None)
    assert network.config == config
    assert network.config.factor == (16, 16)


def test_mage() -> None:
    config = MageVQGANConfig(channels=3, codes=1024, code_dim=256, width=128, multipliers=(1, 1, 2, 2, 4))
    with torch.device("meta"):
        tensors = of_shape(MageVQGAN(config))
    assert build_mage_vqgan(tensors, "vqgan.ckpt", None).config == config


@pytest.mark.parametrize("levels", [(), (0, 2), (2,)])
def test_attention_is_where_its_tensors_are(levels: tuple[int, ...]) -> None:
    config = VQGANConfig(
        channels=1, codes=16, code_dim=8, width=32, multipliers=(1, 2, 1), strides=((2, 2),) * 2, blocks=1,
        attention_levels=levels, latent_width=4,
    )  # fmt: skip
    with torch.device("meta"):
        tensors = of_shape(VQGAN(config))
    assert build_vqgan(tensors, "last.ckpt", None).config == config
