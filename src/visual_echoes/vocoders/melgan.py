"""MelGAN (Kumar et al. 2019), the vocoder that SpecVQGAN publishes for its own mel in [0, 1].

Tensor names are those of the published checkpoint: one flat sequence `model` in which activations take a number too.

Shapes: B batch, M mel bands, T mel frames, C channels, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.layout import Layout
from visual_echoes.vocoders.base import Vocoder, WeightNormConv

LEAKY_SLOPE = 0.2
EDGE_KERNEL = 7
DILATION_BASE = 3  # residual layer j of a stage is dilated by 3^j


class MelGANConfig(BaseModel):
    """Shape of a MelGAN generator; the defaults are SpecVQGAN's. The product of `ratios` is the hop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_mels: PositiveInt
    width: PositiveInt = 32  # channels at full rate; each earlier stage has twice as many
    residual_layers: PositiveInt = 3
    ratios: tuple[PositiveInt, ...] = (8, 8, 2, 2)

    @model_validator(mode="after")
    def _consistent(self) -> MelGANConfig:
        if not self.ratios or any(ratio % 2 for ratio in self.ratios):
            raise ValueError("ratios must be even, and at least one")
        return self

    @property
    def hop(self) -> int:
        """Samples per mel frame."""
        return math.prod(self.ratios)

    @property
    def fewest_frames(self) -> int:
        """Mel frames below which a reflection at an edge would be longer than the signal."""
        widest = DILATION_BASE ** (self.residual_layers - 1)
        return max(EDGE_KERNEL // 2, widest // self.ratios[0]) + 1


class ResBlock(nn.Module):
    """A dilated convolution and two of length 1 around a skip connection."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.ReflectionPad1d(dilation),
            WeightNormConv(width, width, 3, dilation, padded=False),
            nn.LeakyReLU(LEAKY_SLOPE),
            WeightNormConv(width, width, 1),
        )
        self.shortcut = WeightNormConv(width, width, 1)

    def forward(self, x_BCN: Tensor) -> Tensor:
        return self.shortcut(x_BCN) + self.block(x_BCN)


class MelGAN(Vocoder):
    """The MelGAN generator: upsampling stages, each followed by dilated residual blocks."""

    kind = "melgan"

    def __init__(self, config: MelGANConfig) -> None:
        super().__init__()
        self.config = config
        self.n_mels, self.hop, self.fewest_frames = config.n_mels, config.hop, config.fewest_frames
        width = config.width * 2 ** len(config.ratios)
        layers: list[nn.Module] = [
            nn.ReflectionPad1d(EDGE_KERNEL // 2),
            WeightNormConv(config.n_mels, width, EDGE_KERNEL, padded=False),
        ]
        for ratio in config.ratios:
            layers += [nn.LeakyReLU(LEAKY_SLOPE), WeightNormConv(width, width // 2, 2 * ratio, rate=ratio)]
            width //= 2
            layers += [ResBlock(width, DILATION_BASE**layer) for layer in range(config.residual_layers)]
        layers += [
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.ReflectionPad1d(EDGE_KERNEL // 2),
            WeightNormConv(width, 1, EDGE_KERNEL, padded=False),
        ]
        self.model = nn.Sequential(*layers)

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        return cls(MelGANConfig(**{"n_mels": layout.n_mels, **values}))

    def forward(self, mel_BMT: Tensor) -> Tensor:
        frames = mel_BMT.shape[-1]
        padded_BMT = F.pad(mel_BMT, (0, max(0, self.fewest_frames - frames)), mode="replicate")
        return torch.tanh(self.model(padded_BMT).float()).squeeze(1)[..., : frames * self.hop]
