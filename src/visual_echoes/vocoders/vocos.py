"""Vocos (Siuzdak 2023): fast on a CPU.

Shapes: B batch, M mel bands, T mel frames, F STFT bins, E = 2 F, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.audio import compress_magnitudes
from visual_echoes.layout import Layout
from visual_echoes.vocoders.base import Vocoder, inverse_stft, repeat_last_frame, within_full_scale
from visual_echoes.vocoders.griffin_lim import GriffinLim


class VocosConfig(BaseModel):
    """Shape of a Vocos generator; by default about a million parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_mels: PositiveInt
    n_fft: PositiveInt
    hop: PositiveInt
    width: PositiveInt = 160
    mlp_ratio: PositiveInt = 3
    blocks: PositiveInt = 6
    griffin_lim_iterations: NonNegativeInt = 0  # that make the spectrum it starts from; 0: from nothing, as published

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
    """Vocos (Siuzdak 2023): magnitude and phase of an STFT, predicted frame by frame, then inverted.

    With `griffin_lim_iterations` it sees the spectrum that Griffin-Lim finds in so many iterations and predicts how to
    change its magnitudes and phases. Untrained it then is that Griffin-Lim, so a short training only adds to it.
    """

    kind = "vocos"

    def __init__(self, config: VocosConfig, griffin_lim: GriffinLim | None = None) -> None:
        super().__init__()
        self.config, self.griffin_lim = config, griffin_lim
        self.n_mels, self.hop, self.n_fft = config.n_mels, config.hop, config.n_fft
        self.magnifies_rounding = griffin_lim is not None
        self.embed = nn.Conv1d(config.n_mels, config.width, 7, padding=3)
        self.norm_in = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config) for _ in range(config.blocks))
        self.norm_out = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.n_fft + 2)
        # No signal in [-1, 1] has a larger magnitude: the sum of the Hann window.
        self.log_ceiling = math.log(config.n_fft / 2)
        self.apply(self._initialise)
        if griffin_lim is not None:
            self.embed_start = nn.Linear(config.n_fft + 2, config.width)
            self._initialise(self.embed_start)
            nn.init.zeros_(self.head.weight)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv1d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        derived = {"n_mels": layout.n_mels, "n_fft": layout.n_fft, "hop": layout.hop}
        config = VocosConfig(**{**derived, **values})
        iterations = config.griffin_lim_iterations
        return cls(config, GriffinLim(layout, iterations) if iterations else None)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        start_BFT = self.find_start(mel_BMT)
        return self.invert(self.predict(mel_BMT.float(), self.as_seen(start_BFT)), start_BFT)

    def find_start(self, mel_BMT: Tensor) -> Tensor | None:
        """The complex STFT it starts from, complex64 (B, F, T + 1), if it starts from any."""
        return None if self.griffin_lim is None else self.griffin_lim.find_spectrum(mel_BMT)

    def as_seen(self, start_BFT: Tensor | None) -> Tensor | None:
        """The start as the network sees it: real and imaginary parts, magnitudes compressed, (B, 2 F, T + 1)."""
        if start_BFT is None:
            return None
        compressed = compress_magnitudes(start_BFT)
        return torch.cat([compressed.real, compressed.imag], 1)

    def predict(self, mel_BMT: Tensor, start_BET: Tensor | None = None) -> Tensor:
        """The network: log-magnitudes, then phases in radians, or how a start's are to change, (B, 2 F, T + 1)."""
        x_BTC = self.embed(repeat_last_frame(mel_BMT)).mT
        if start_BET is not None:
            x_BTC = x_BTC + self.embed_start(start_BET.mT)
        x_BTC = self.norm_in(x_BTC)
        for block in self.blocks:
            x_BTC = block(x_BTC)
        return self.head(self.norm_out(x_BTC)).float().mT

    def invert(self, predicted_BET: Tensor, start_BFT: Tensor | None) -> Tensor:
        """The sound, (B, T * hop), of what the network predicted."""
        log_magnitude_BFT, phase_BFT = predicted_BET.chunk(2, dim=1)
        magnitude_BFT = torch.exp(log_magnitude_BFT.clamp_max(self.log_ceiling))
        spectrum_BFT = torch.complex(magnitude_BFT * phase_BFT.cos(), magnitude_BFT * phase_BFT.sin())
        if start_BFT is not None:
            spectrum_BFT = start_BFT * spectrum_BFT
        return within_full_scale(inverse_stft(spectrum_BFT, self.n_fft, self.hop))
