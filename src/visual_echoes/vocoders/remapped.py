"""A HiFi-GAN that was trained on its own mel, as a vocoder for a layout's: the way from one mel to the other.

Published HiFi-GAN generators were trained on another mel than the tokenizers': natural logarithm instead of a scale in
[0, 1], bands from 0 to 8,000 Hz instead of 125 to 7,600, frames that start half a hop later, a floor of 1e-5
(`meldataset.py` of its authors).

Shapes: B batch, N samples, F STFT bins, M the layout's mel bands, K the vocoder's, T mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.audio import log_to_magnitude, mel_edges, mel_filterbank
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.vocoders.base import Vocoder, repeat_last_frame
from visual_echoes.vocoders.hifigan import HiFiGAN, HiFiGANConfig

POWER_FLOOR = 1e-9  # the reference adds it to every bin's power


class OwnMel(BaseModel):
    """A mel in HiFi-GAN's convention; the defaults are those of its published generators."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate: PositiveInt = 22_050  # Hz
    n_fft: PositiveInt = 1024  # samples, also the window length
    hop: PositiveInt = 256  # samples per frame
    n_mels: PositiveInt = 80
    fmin: float = Field(default=0.0, ge=0)  # Hz
    fmax: float = Field(default=8000.0, gt=0)  # Hz
    floor: float = Field(default=1e-5, gt=0)  # mel magnitude below which everything is silence

    @model_validator(mode="after")
    def _consistent(self) -> OwnMel:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError("mel bands must lie between 0 Hz and half the sample rate")
        return self


def own_mel(wave_BN: Tensor, mel: OwnMel) -> Tensor:
    """Waveform in [-1, 1] to HiFi-GAN's mel, shape (B, K, N // hop), natural logarithm."""
    edge = (mel.n_fft - mel.hop) // 2
    padded_BN = F.pad(wave_BN[:, None], (edge, edge), mode="reflect")[:, 0]
    window = torch.hann_window(mel.n_fft, device=wave_BN.device)
    spectrum_BFT = torch.stft(padded_BN, mel.n_fft, mel.hop, window=window, center=False, return_complex=True)
    magnitude_BFT = (spectrum_BFT.real.square() + spectrum_BFT.imag.square() + POWER_FLOOR).sqrt()
    filters_KF = mel_filterbank(mel.sample_rate, mel.n_fft, mel.n_mels, mel.fmin, mel.fmax).to(wave_BN.device)
    return (filters_KF @ magnitude_BFT).clamp_min(mel.floor).log()


class MelRemap(nn.Module):
    """A layout's log-mel (B, M, T) in [0, 1] to a vocoder's own mel (B, K, T).

    The logarithm of the magnitude is interpolated between band centres on the mel scale; bands have unit area in both
    mels, so levels agree. Bands beyond the layout's first and last centre repeat it, and what the layout's floor cut
    off becomes silence. Frames are taken as they come, which delays a sound by half a hop.

    Raises:
        EchoesError: rate, window or hop differ, which no interpolation between bands can make good.
    """

    weights_KM: Tensor

    def __init__(self, mel: OwnMel, layout: Layout) -> None:
        super().__init__()
        for what in ("sample_rate", "n_fft", "hop"):
            if getattr(mel, what) != getattr(layout, what):
                raise EchoesError(
                    f"The vocoder's own mel has {what} {getattr(mel, what)}, but layout {layout.name!r} has "
                    f"{getattr(layout, what)}; choose a layout or a vocoder that fits."
                )
        self.layout = layout
        self.silence = math.log(mel.floor)
        with torch.device("cpu"):  # no weights, so there also where the weights are still to be read ("meta")
            given_M = mel_edges(layout.n_mels, layout.fmin, layout.fmax)[1:-1]
            wanted_K = mel_edges(mel.n_mels, mel.fmin, mel.fmax)[1:-1]
            index_K = (wanted_K - given_M[0]) / (given_M[-1] - given_M[0]) * (layout.n_mels - 1)
            distance_KM = (index_K.clamp(0, layout.n_mels - 1)[:, None] - torch.arange(layout.n_mels)).abs()
        self.register_buffer("weights_KM", (1.0 - distance_KM).clamp_min(0.0).float(), persistent=False)

    def forward(self, mel_BMT: Tensor) -> Tensor:
        log_BMT = torch.where(mel_BMT > 0, log_to_magnitude(mel_BMT, self.layout).log(), self.silence)
        return (self.weights_KM @ log_BMT).clamp_min(self.silence)


class RemappedHiFiGANConfig(BaseModel):
    """A generator and the mel it was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generator: HiFiGANConfig
    mel: OwnMel

    @model_validator(mode="after")
    def _consistent(self) -> RemappedHiFiGANConfig:
        if (self.generator.n_mels, self.generator.hop) != (self.mel.n_mels, self.mel.hop):
            raise ValueError("the generator's bands and hop must be those of its mel")
        return self


class RemappedHiFiGAN(Vocoder):
    """Converts the mel before the generator sees it, and takes back the half hop by which the frames differ."""

    kind = "remapped-hifigan"
    rounds = True
    config: RemappedHiFiGANConfig

    def __init__(self, config: RemappedHiFiGANConfig, layout: Layout) -> None:
        super().__init__()
        self.config = config
        self.n_mels, self.hop = layout.n_mels, config.generator.hop
        self.remap = MelRemap(config.mel, layout)
        self.generator = HiFiGAN(config.generator)
        self.reach = config.generator.reach + 1  # half of a frame's samples come from the one after, as below

    @classmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        return cls(RemappedHiFiGANConfig(**values), layout)

    def rounded(self) -> Self:
        self.generator.rounded()
        return self

    def forward(self, mel_BMT: Tensor) -> Tensor:
        wave_BN = self.generator(self.remap(repeat_last_frame(mel_BMT)))
        return wave_BN[..., self.hop // 2 : self.hop // 2 + mel_BMT.shape[-1] * self.hop]
