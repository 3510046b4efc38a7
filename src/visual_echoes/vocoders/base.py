"""What every vocoder is: a log-mel in, exactly `hop` samples per frame out.

T frames are the first T of the T + 1 that a centred STFT of T * hop samples has; where an inverse STFT needs the
missing one, the last is repeated.

Shapes: B batch, T mel frames, F STFT bins, C channels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.layout import Layout
from visual_echoes.vocoders.weight_norm import WeightNormConv

HIGHEST_PEAK = 0.98  # leaves room for what lossy formats add
STRETCH_FRAMES = 256  # few enough that a stretch of activations stays small, many enough that the overlap costs little
LIMITER_REACH = 128  # samples, 6 to 16 ms at the layouts' rates


class Vocoder(nn.Module, ABC):
    """Log-mel (B, n_mels, T) in [0, 1], float32 or float64, any T >= 1, to waveform (B, T * hop) in [-1, 1], float32.

    Attributes:
        kind: its name in `VOCODERS`; with `config.model_dump()` it rebuilds the network.
        reach: mel frames on either side of a frame that its samples depend on; None if they depend on all.
        magnifies_rounding: whether the last bits of its mel grow to what can be heard; then the mel should be float64.
    """

    kind: ClassVar[str]
    config: BaseModel
    n_mels: int
    hop: int
    reach: int | None = None
    magnifies_rounding: bool = False

    @classmethod
    @abstractmethod
    def for_layout(cls, values: Mapping[str, Any], layout: Layout) -> Self:
        """Build from config values; those that follow from the layout may be left out."""

    def fold(self) -> Self:
        """Replace every weight_g and weight_v by the weight they stand for, in place; train no further."""
        for module in self.modules():
            if isinstance(module, WeightNormConv):
                module.fold()
        return self


def vocode_in_stretches(vocoder: Vocoder, mel_BMT: Tensor) -> Tensor:
    """The same waveform, (B, T * hop), with the memory that a few seconds take, however long the sound."""
    frames, reach = mel_BMT.shape[-1], vocoder.reach
    if reach is None or frames <= STRETCH_FRAMES:
        return vocoder(mel_BMT)
    length = math.ceil(frames / math.ceil(frames / STRETCH_FRAMES))
    pieces = []
    for begin in range(0, frames, length):
        end, first = min(begin + length, frames), max(begin - reach, 0)
        wave_BN = vocoder(mel_BMT[..., first : end + reach])
        pieces.append(wave_BN[:, (begin - first) * vocoder.hop : (end - first) * vocoder.hop])
    return torch.cat(pieces, dim=1)


def within_full_scale(wave_BN: Tensor) -> Tensor:
    """Each sound as it is, but turned down to `HIGHEST_PEAK` around the samples that would pass it: never cut off.

    A limiter that looks ahead: the gain that every sample needs, its least over `LIMITER_REACH` samples on either side,
    smoothed over as many, which keeps it below what the sample in the middle needs.
    """
    needed_BN = HIGHEST_PEAK / wave_BN.abs().clamp_min(HIGHEST_PEAK)
    window = 2 * LIMITER_REACH + 1
    padded_B1N = F.pad(needed_BN[:, None], (2 * LIMITER_REACH, 2 * LIMITER_REACH), value=1.0)
    least_B1N = -F.max_pool1d(-padded_B1N, window, stride=1)
    return wave_BN * F.avg_pool1d(least_B1N, window, stride=1)[:, 0]


def repeat_last_frame(x_BCT: Tensor) -> Tensor:
    """One frame more, shape (B, C, T + 1)."""
    return torch.cat([x_BCT, x_BCT[..., -1:]], dim=-1)


def inverse_stft(spectrum_BFT: Tensor, n_fft: int, hop: int) -> Tensor:
    """Inverse of `mel.stft`, shape (B, (T - 1) * hop)."""
    window = torch.hann_window(n_fft, dtype=spectrum_BFT.dtype.to_real(), device=spectrum_BFT.device)
    # Strided frames are transformed in an order that depends on how many there are; contiguous ones give the same bits
    # in any batch.
    spectrum_BFT = spectrum_BFT.mT.contiguous().mT
    return torch.istft(spectrum_BFT, n_fft, hop, window=window, center=True)
