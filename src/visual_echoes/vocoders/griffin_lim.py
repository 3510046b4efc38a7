"""Griffin-Lim: the vocoder without weights.

Shapes: B batch, M mel bands, T mel frames, F STFT bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import Tensor

from visual_echoes.audio import layout_filterbank, log_to_magnitude, stft
from visual_echoes.layout import Layout
from visual_echoes.machine import in_float64
from visual_echoes.vocoders.base import Vocoder, inverse_stft, repeat_last_frame, within_full_scale

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
    magnifies_rounding = True
    fit_updates = 50
    momentum = 0.99
    smallest = 1e-8  # keeps divisions finite; far below any magnitude that matters

    def __init__(self, layout: Layout, iterations: int = GRIFFIN_LIM_ITERATIONS) -> None:
        super().__init__()
        self.config = GriffinLimConfig(iterations=iterations)
        self.layout, self.iterations = layout, iterations
        self.n_mels, self.hop = layout.n_mels, layout.hop

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        return cls(layout, **GriffinLimConfig(**values).model_dump())

    def _linear_magnitude(self, mel_BMT: Tensor) -> Tensor:
        filters_MF = layout_filterbank(self.layout).to(mel_BMT)
        filters_FM = filters_MF.mT
        wanted_BFT = filters_FM @ mel_BMT
        magnitude_BFT = torch.ones_like(wanted_BFT)
        for _ in range(self.fit_updates):
            reached_BFT = filters_FM @ (filters_MF @ magnitude_BFT)
            magnitude_BFT = magnitude_BFT * wanted_BFT / reached_BFT.clamp_min(self.smallest)
        return magnitude_BFT

    def _first_phase(self, frames: int, device: torch.device) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        turns_TF = torch.rand((frames, self.layout.n_fft // 2 + 1), generator=generator).double()
        return torch.polar(torch.ones_like(turns_TF), 2.0 * math.pi * turns_TF).to(device)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        return within_full_scale(inverse_stft(self.find_spectrum(mel_BMT), self.layout.n_fft, self.hop))

    @torch.no_grad()
    def find_spectrum(self, mel_BMT: Tensor) -> Tensor:
        """The complex STFT whose inverse is the sound, complex64 (B, F, T + 1)."""
        # The iterations are chaotic: they magnify a difference 10,000 times and more. The rounding of float64 is so
        # small that it comes to nothing all the same.
        with torch.autocast(mel_BMT.device.type, enabled=False):
            spectra = [self._iterate(mel_1MT) for mel_1MT in in_float64(mel_BMT).split(1)]
            return torch.cat(spectra).to(torch.complex64).to(mel_BMT.device)

    def _iterate(self, mel_BMT: Tensor) -> Tensor:
        n_fft, hop = self.layout.n_fft, self.layout.hop
        magnitude_BFT = self._linear_magnitude(log_to_magnitude(mel_BMT, self.layout))
        magnitude_BTF = repeat_last_frame(magnitude_BFT).mT.contiguous()
        spectrum_BTF = magnitude_BTF * self._first_phase(magnitude_BTF.shape[1], magnitude_BTF.device)
        previous_BTF = torch.zeros_like(spectrum_BTF)
        for _ in range(self.iterations):
            consistent_BTF = stft(inverse_stft(spectrum_BTF.mT, n_fft, hop), n_fft, hop).mT
            ahead_BTF = previous_BTF.lerp(consistent_BTF, 1.0 + self.momentum)
            length_BTF = torch.addcmul(ahead_BTF.real.square(), ahead_BTF.imag, ahead_BTF.imag).sqrt()  # `abs` is slow
            spectrum_BTF = ahead_BTF * (magnitude_BTF / length_BTF.clamp_min(self.smallest))
            previous_BTF = consistent_BTF
        return spectrum_BTF.mT
