"""HiFi-GAN (Kong et al. 2020), the paper's vocoder. Attribute and config names are those of the published checkpoints.

Shapes: B batch, M mel bands, T mel frames, C channels, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.layout import Layout
from visual_echoes.vocoders.base import Vocoder, WeightNormConv

LEAKY_SLOPE = 0.1
EDGE_KERNEL = 7


class HiFiGANConfig(BaseModel):
    """Shape of a HiFi-GAN generator; the defaults are its V1. The product of `upsample_rates` is the hop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_mels: PositiveInt
    resblock: Literal["1", "2"] = "1"
    upsample_rates: tuple[PositiveInt, ...] = (8, 8, 2, 2)
    upsample_kernel_sizes: tuple[PositiveInt, ...] = (16, 16, 4, 4)
    upsample_initial_channel: PositiveInt = 512
    resblock_kernel_sizes: tuple[PositiveInt, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[PositiveInt, ...], ...] = ((1, 3, 5),) * 3

    @model_validator(mode="after")
    def _consistent(self) -> HiFiGANConfig:
        if len(self.upsample_kernel_sizes) != len(self.upsample_rates):
            raise ValueError("upsample_kernel_sizes must have as many entries as upsample_rates")
        for kernel, rate in zip(self.upsample_kernel_sizes, self.upsample_rates, strict=True):
            if kernel < rate or (kernel - rate) % 2:
                raise ValueError("each upsample kernel must exceed its rate by an even number")
        if len(self.resblock_dilation_sizes) != len(self.resblock_kernel_sizes):
            raise ValueError("resblock_dilation_sizes must have as many entries as resblock_kernel_sizes")
        if any(rate < 2 for rate in self.upsample_rates):
            raise ValueError("each upsample rate must be at least 2")
        if any(kernel % 2 == 0 for kernel in self.resblock_kernel_sizes):
            raise ValueError("each resblock kernel must be odd")
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            raise ValueError("upsample_initial_channel must halve evenly once per upsampling")
        return self

    @property
    def hop(self) -> int:
        """Samples per mel frame."""
        return math.prod(self.upsample_rates)

    @property
    def reach(self) -> int:
        """Mel frames on either side of a frame that its samples depend on."""
        second = 1 if self.resblock == "1" else 0  # the convolution of dilation 1 behind each dilated one
        blocks = max(
            sum((dilation + second) * (kernel // 2) for dilation in dilations)
            for kernel, dilations in zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        )
        reach = EDGE_KERNEL // 2
        for rate, kernel in zip(reversed(self.upsample_rates), reversed(self.upsample_kernel_sizes), strict=True):
            reach = (reach + blocks + (kernel + rate) // 2 - 1) // rate
        return reach + EDGE_KERNEL // 2


class ResBlock1(nn.Module):
    """For each dilation: a dilated and a plain convolution around a skip connection."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(WeightNormConv(width, width, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(WeightNormConv(width, width, kernel) for _ in dilations)

    def forward(self, x_BCN: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            h_BCN = dilated(F.leaky_relu(x_BCN, LEAKY_SLOPE))
            x_BCN = x_BCN + plain(F.leaky_relu(h_BCN, LEAKY_SLOPE))
        return x_BCN


class ResBlock2(nn.Module):
    """For each dilation: one dilated convolution around a skip connection."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(WeightNormConv(width, width, kernel, dilation) for dilation in dilations)

    def forward(self, x_BCN: Tensor) -> Tensor:
        for conv in self.convs:
            x_BCN = x_BCN + conv(F.leaky_relu(x_BCN, LEAKY_SLOPE))
        return x_BCN


class HiFiGAN(Vocoder):
    """The HiFi-GAN generator (Kong et al. 2020): upsampling stages with parallel residual blocks."""

    kind = "hifigan"
    rounds = True

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__()
        self.config = config
        self.n_mels, self.hop, self.reach = config.n_mels, config.hop, config.reach
        block = ResBlock1 if config.resblock == "1" else ResBlock2
        width = config.upsample_initial_channel
        self.conv_pre = WeightNormConv(config.n_mels, width, EDGE_KERNEL)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()  # flat, stage by stage, as in the reference
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            self.ups.append(WeightNormConv(width, width // 2, kernel, rate=rate))
            width //= 2
            branches = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
            self.resblocks.extend(block(width, size, dilations) for size, dilations in branches)
        self.conv_post = WeightNormConv(width, 1, EDGE_KERNEL)

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        return cls(HiFiGANConfig(**{"n_mels": layout.n_mels, **values}))

    def rounded(self) -> Self:
        return self.bfloat16()

    def forward(self, mel_BMT: Tensor) -> Tensor:
        x_BCN = self.conv_pre(mel_BMT.to(self.conv_pre.bias.dtype))
        parallel = len(self.resblocks) // len(self.ups)
        for index, upsample in enumerate(self.ups):
            x_BCN = upsample(F.leaky_relu(x_BCN, LEAKY_SLOPE))
            blocks = self.resblocks[index * parallel : (index + 1) * parallel]
            x_BCN = sum(block(x_BCN) for block in blocks) / parallel
        # The reference uses leaky_relu's own slope of 0.01 at this one place.
        return torch.tanh(self.conv_post(F.leaky_relu(x_BCN)).float()).squeeze(1)
