"""Mel to waveform: Griffin-Lim (no weights), HiFi-GAN (the paper's choice) and Vocos (fast on a CPU).

Every vocoder maps a layout's log-mel in [0, 1] to exactly `hop` samples per frame. T frames are the first T
of the T + 1 that a centred STFT of T * hop samples has; where an inverse STFT needs the missing one, the last
is repeated.

Shapes: B batch, M mel bands, T mel frames, F STFT bins, C channels, N samples.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.mel import layout_filterbank, log_to_magnitude, stft


class Vocoder(nn.Module, ABC):
    """Log-mel (B, n_mels, T) in [0, 1], any T >= 1, to waveform (B, T * hop) in [-1, 1], float32.

    Attributes:
        kind: its name in `VOCODERS`; with `config.model_dump()` it rebuilds the network.
    """

    kind: ClassVar[str]
    config: BaseModel
    n_mels: int
    hop: int

    @classmethod
    @abstractmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        """Build from config values; those that follow from the layout may be left out."""

    def fold(self) -> Self:
        """Merge what only training needs into plain weights, in place; the output stays the same."""
        return self


def _repeat_last_frame(x_BCT: Tensor) -> Tensor:
    return torch.cat([x_BCT, x_BCT[..., -1:]], dim=-1)


def _inverse_stft(spectrum_BFT: Tensor, n_fft: int, hop: int) -> Tensor:
    """Inverse of `mel.stft`, shape (B, (T - 1) * hop)."""
    window = torch.hann_window(n_fft, device=spectrum_BFT.device)
    return torch.istft(spectrum_BFT, n_fft, hop, window=window, center=True)


# Griffin-Lim

GRIFFIN_LIM_ITERATIONS = 32


class GriffinLimConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    iterations: PositiveInt = GRIFFIN_LIM_ITERATIONS


class GriffinLim(Vocoder):
    """Fast Griffin-Lim (Perraudin et al. 2013): phases that agree with the mel's magnitudes. No weights.

    Linear magnitudes are the non-negative least-squares fit to the mel, by multiplicative updates from a flat
    spectrum (Lee and Seung 2000). The first phases are the same random numbers every time, so a sound depends
    on its mel alone.
    """

    kind = "griffin-lim"
    fit_updates = 50
    momentum = 0.99
    smallest = 1e-8  # keeps divisions finite; far below any magnitude that matters
    filters_MF: Tensor

    def __init__(self, layout: Layout, iterations: int = GRIFFIN_LIM_ITERATIONS) -> None:
        super().__init__()
        self.config = GriffinLimConfig(iterations=iterations)
        self.layout, self.iterations = layout, iterations
        self.n_mels, self.hop = layout.n_mels, layout.hop
        self.register_buffer("filters_MF", layout_filterbank(layout).clone(), persistent=False)

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        return cls(layout, **GriffinLimConfig(**values).model_dump())

    def _linear_magnitude(self, mel_BMT: Tensor) -> Tensor:
        filters_FM = self.filters_MF.mT
        wanted_BFT = filters_FM @ mel_BMT
        magnitude_BFT = torch.ones_like(wanted_BFT)
        for _ in range(self.fit_updates):
            reached_BFT = filters_FM @ (self.filters_MF @ magnitude_BFT)
            magnitude_BFT = magnitude_BFT * wanted_BFT / reached_BFT.clamp_min(self.smallest)
        return magnitude_BFT

    def _first_phase(self, frames: int, device: torch.device) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        turns_TF = torch.rand((frames, self.layout.n_fft // 2 + 1), generator=generator)
        return torch.polar(torch.ones_like(turns_TF), 2.0 * math.pi * turns_TF).mT.to(device)

    @torch.no_grad()
    def forward(self, mel_BMT: Tensor) -> Tensor:
        # Everything in float32: the phases would not survive bfloat16.
        with torch.autocast(mel_BMT.device.type, enabled=False):
            # One by one: rounding differs with the size of a batch, and the iterations amplify it.
            return torch.cat([self._find_wave(mel_1MT) for mel_1MT in mel_BMT.float().split(1)])

    def _find_wave(self, mel_BMT: Tensor) -> Tensor:
        magnitude_BFT = _repeat_last_frame(self._linear_magnitude(log_to_magnitude(mel_BMT, self.layout)))
        n_fft, hop = self.layout.n_fft, self.layout.hop
        phase_BFT = self._first_phase(magnitude_BFT.shape[-1], magnitude_BFT.device)
        previous_BFT = torch.zeros_like(phase_BFT)
        for _ in range(self.iterations):
            consistent_BFT = stft(_inverse_stft(magnitude_BFT * phase_BFT, n_fft, hop), n_fft, hop)
            ahead_BFT = consistent_BFT + self.momentum * (consistent_BFT - previous_BFT)
            phase_BFT = ahead_BFT / ahead_BFT.abs().clamp_min(self.smallest)
            previous_BFT = consistent_BFT
        return _inverse_stft(magnitude_BFT * phase_BFT, n_fft, hop).clamp(-1.0, 1.0)


# HiFi-GAN. Attribute and config names are those of the published checkpoints.


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


class WeightNormConv(nn.Module):
    """Convolution over time whose weight is weight_g * weight_v / |weight_v| (Salimans and Kingma 2016).

    The norm is taken over each slice of the first axis, as in the published checkpoints. A `rate` above 1
    makes it a transposed convolution that returns `rate` samples for each one. `fold` leaves one plain `weight`.
    """

    weight: Tensor | None

    def __init__(self, width_in: int, width_out: int, kernel: int, dilation: int = 1, rate: int = 1) -> None:
        super().__init__()
        self.dilation, self.rate = dilation, rate
        self.padding = (kernel - rate) // 2 if rate > 1 else dilation * (kernel - 1) // 2
        layer = nn.ConvTranspose1d if rate > 1 else nn.Conv1d
        initial = layer(width_in, width_out, kernel)
        assert initial.bias is not None
        self.bias = nn.Parameter(initial.bias.detach())
        self.weight_v = nn.Parameter(initial.weight.detach())
        self.weight_g = nn.Parameter(self._length(self.weight_v.detach()))
        self.register_parameter("weight", None)

    @staticmethod
    def _length(weight: Tensor) -> Tensor:
        return torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)

    def _scaled_weight(self) -> Tensor:
        return self.weight_v * (self.weight_g / self._length(self.weight_v))

    def fold(self) -> None:
        if self.weight is None:
            self.weight = nn.Parameter(self._scaled_weight().detach())
            del self.weight_g, self.weight_v

    def forward(self, x_BCT: Tensor) -> Tensor:
        weight = self._scaled_weight() if self.weight is None else self.weight
        if self.rate > 1:
            return F.conv_transpose1d(x_BCT, weight, self.bias, stride=self.rate, padding=self.padding)
        return F.conv1d(x_BCT, weight, self.bias, padding=self.padding, dilation=self.dilation)


LEAKY_SLOPE = 0.1


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

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__()
        self.config = config
        self.n_mels, self.hop = config.n_mels, config.hop
        block = ResBlock1 if config.resblock == "1" else ResBlock2
        width = config.upsample_initial_channel
        self.conv_pre = WeightNormConv(config.n_mels, width, 7)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()  # flat, stage by stage, as in the reference
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            self.ups.append(WeightNormConv(width, width // 2, kernel, rate=rate))
            width //= 2
            branches = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
            self.resblocks.extend(block(width, size, dilations) for size, dilations in branches)
        self.conv_post = WeightNormConv(width, 1, 7)

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        return cls(HiFiGANConfig(**{"n_mels": layout.n_mels, **values}))

    def fold(self) -> Self:
        """Replace every weight_g and weight_v by the weight they stand for, in place; train no further."""
        for module in self.modules():
            if isinstance(module, WeightNormConv):
                module.fold()
        return self

    def forward(self, mel_BMT: Tensor) -> Tensor:
        x_BCN = self.conv_pre(mel_BMT)
        parallel = len(self.resblocks) // len(self.ups)
        for index, upsample in enumerate(self.ups):
            x_BCN = upsample(F.leaky_relu(x_BCN, LEAKY_SLOPE))
            blocks = self.resblocks[index * parallel : (index + 1) * parallel]
            x_BCN = torch.stack([block(x_BCN) for block in blocks]).mean(0)
        # The reference uses leaky_relu's own slope of 0.01 at this one place.
        return torch.tanh(self.conv_post(F.leaky_relu(x_BCN)).float()).squeeze(1)


# Vocos


class VocosConfig(BaseModel):
    """Shape of a Vocos generator; by default about a million parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_mels: PositiveInt
    n_fft: PositiveInt
    hop: PositiveInt
    width: PositiveInt = 160
    mlp_ratio: PositiveInt = 3
    blocks: PositiveInt = 6

    @model_validator(mode="after")
    def _consistent(self) -> VocosConfig:
        if self.n_fft % 2 or self.hop > self.n_fft // 2:
            raise ValueError("n_fft must be even and at least twice the hop")
        return self


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time and MLP per frame around a skip connection (Liu et al. 2022)."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        width = config.width
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, config.mlp_ratio * width)
        self.shrink = nn.Linear(config.mlp_ratio * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1.0 / config.blocks))

    def forward(self, x_BTC: Tensor) -> Tensor:
        h_BTC = self.norm(self.depthwise(x_BTC.mT).mT)
        return x_BTC + self.scale * self.shrink(F.gelu(self.expand(h_BTC)))


class Vocos(Vocoder):
    """Vocos (Siuzdak 2023): magnitude and phase of an STFT, predicted frame by frame, then inverted."""

    kind = "vocos"

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.n_mels, self.hop, self.n_fft = config.n_mels, config.hop, config.n_fft
        self.embed = nn.Conv1d(config.n_mels, config.width, 7, padding=3)
        self.norm_in = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config) for _ in range(config.blocks))
        self.norm_out = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.n_fft + 2)
        # No signal in [-1, 1] has a larger magnitude: the sum of the Hann window.
        self.log_ceiling = math.log(config.n_fft / 2)
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv1d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        derived = {"n_mels": layout.n_mels, "n_fft": layout.n_fft, "hop": layout.hop}
        return cls(VocosConfig(**{**derived, **values}))

    def forward(self, mel_BMT: Tensor) -> Tensor:
        x_BTC = self.norm_in(self.embed(_repeat_last_frame(mel_BMT)).mT)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        log_magnitude_BFT, phase_BFT = self.head(self.norm_out(x_BTC)).float().mT.chunk(2, dim=1)
        magnitude_BFT = torch.exp(log_magnitude_BFT.clamp_max(self.log_ceiling))
        spectrum_BFT = torch.complex(magnitude_BFT * phase_BFT.cos(), magnitude_BFT * phase_BFT.sin())
        return _inverse_stft(spectrum_BFT, self.n_fft, self.hop).clamp(-1.0, 1.0)


VOCODERS: dict[str, type[Vocoder]] = {cls.kind: cls for cls in (GriffinLim, HiFiGAN, Vocos)}


def build_vocoder(kind: str, config: Mapping[str, Any], layout: Layout) -> Vocoder:
    """A vocoder with fresh weights for `layout`.

    Args:
        kind: a name in `VOCODERS`.
        config: its config values; mel bands, STFT length and hop come from the layout unless given.

    Raises:
        EchoesError: an unknown kind, or a config that does not fit the layout.
        pydantic.ValidationError: values that make no config of this kind.
    """
    if kind not in VOCODERS:
        raise EchoesError(f"There is no vocoder {kind!r}; choose one of {', '.join(VOCODERS)}.")
    vocoder = VOCODERS[kind].for_layout(config, layout)
    if (vocoder.n_mels, vocoder.hop) != (layout.n_mels, layout.hop):
        raise EchoesError(
            f"The {kind} vocoder makes {vocoder.hop} samples of a frame of {vocoder.n_mels} mel bands, but "
            f"layout {layout.name!r} has {layout.hop} samples and {layout.n_mels} bands; take one made for it."
        )
    return vocoder
