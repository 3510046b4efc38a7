"""What every vocoder is: a log-mel in, exactly `hop` samples per frame out.

T frames are the first T of the T + 1 that a centred STFT of T * hop samples has; where an inverse STFT needs the
missing one, the last is repeated.

Shapes: B batch, T mel frames, F STFT bins, C channels in, E channels out, K width of a convolution.
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

HIGHEST_PEAK = 0.98  # leaves room for what lossy formats add
STRETCH_FRAMES = 128  # few enough that a stretch of activations stays small, many enough that the overlap costs little
LIMITER_REACH = 128  # samples, 6 to 16 ms at the layouts' rates


class Vocoder(nn.Module, ABC):
    """Log-mel (B, n_mels, T) in [0, 1], float32 or float64, any T >= 1, to waveform (B, T * hop) in [-1, 1], float32.

    Attributes:
        kind: its name in `VOCODERS`; with `config.model_dump()` it rebuilds the network.
        reach: mel frames on either side of a frame that its samples depend on; None if they depend on all.
        magnifies_rounding: whether the last bits of its mel grow to what can be heard; then the mel should be float64.
        rounds: whether `rounded` has an effect, and one that is not heard.
    """

    kind: ClassVar[str]
    config: BaseModel
    n_mels: int
    hop: int
    reach: int | None = None
    magnifies_rounding: bool = False
    rounds: ClassVar[bool] = False

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

    def rounded(self) -> Self:
        """Round, in place, the weights of what may run in bfloat16."""
        return self


class WeightNormConv(nn.Module):
    """Convolution over time whose weight is weight_g * weight_v / |weight_v| (Salimans and Kingma 2016).

    The norm is taken over each slice of the first axis, as in the published checkpoints. A `rate` above 1
    makes it a transposed convolution that returns `rate` samples for each one. Zeros go around the input so that a
    plain one keeps its length, unless `padded` is off. `fold` leaves one plain `weight`.

    It is a convolution over images of one row: with channels last, processors are faster at it than at one over time,
    in bfloat16 several times.
    """

    weight: Tensor | None  # (E, C, 1, K), of a transposed one (C, E, 1, K)

    def __init__(
        self, width_in: int, width_out: int, kernel: int, dilation: int = 1, rate: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        self.dilation, self.rate = dilation, rate
        self.padding = (kernel - rate) // 2 if rate > 1 else dilation * (kernel - 1) // 2 if padded else 0
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
        weight = (self.weight_v * (self.weight_g / self._length(self.weight_v)))[:, :, None]
        return weight.contiguous(memory_format=torch.channels_last) if weight.device.type == "cpu" else weight

    def fold(self) -> None:
        if self.weight is None:
            self.weight = nn.Parameter(self._scaled_weight().detach())
            del self.weight_g, self.weight_v

    def forward(self, x_BCT: Tensor) -> Tensor:
        weight = self._scaled_weight() if self.weight is None else self.weight
        x_BC1T, padding = x_BCT[:, :, None], (0, self.padding)
        if self.rate > 1:
            y_BE1T = F.conv_transpose2d(x_BC1T, weight, self.bias, stride=(1, self.rate), padding=padding)
        else:
            y_BE1T = F.conv2d(x_BC1T, weight, self.bias, padding=padding, dilation=(1, self.dilation))
        return y_BE1T[:, :, 0]


def vocode_in_stretches(vocoder: Vocoder, mel_BMT: Tensor) -> Tensor:
    """The same waveform, (B, T * hop), with the memory that a few seconds take, however long the sound.

    All stretches are of one length, as kernels are compiled for each.
    """
    frames, reach = mel_BMT.shape[-1], vocoder.reach
    if reach is None or frames <= STRETCH_FRAMES:
        return vocoder(mel_BMT)
    length = math.ceil(frames / math.ceil(frames / STRETCH_FRAMES))
    whole = min(length + 2 * reach, frames)
    pieces = []
    for begin in range(0, frames, length):
        end, first = min(begin + length, frames), min(max(begin - reach, 0), frames - whole)
        wave_BN = vocoder(mel_BMT[..., first : first + whole])
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
    """Inverse of `audio.stft`, shape (B, (T - 1) * hop); `torch.istft` in half its time."""
    window_N = torch.hann_window(n_fft, dtype=spectrum_BFT.dtype.to_real(), device=spectrum_BFT.device)
    # Strided frames are transformed in an order that depends on how many there are; contiguous ones give the same bits
    # in any batch.
    frames_BTN = torch.fft.irfft(spectrum_BFT.mT.contiguous(), n_fft) * window_N
    frames = frames_BTN.shape[1]
    centred = slice(n_fft // 2, n_fft // 2 + (frames - 1) * hop)
    weight_1N = _overlap_add(window_N.square().expand(1, frames, -1), hop)[:, centred]
    return _overlap_add(frames_BTN, hop)[:, centred] / weight_1N


def _overlap_add(frames_BTN: Tensor, hop: int) -> Tensor:
    """The sum of frames that begin `hop` samples after each other, with zeros up to a whole number of hops."""
    count, pieces = frames_BTN.shape[1], frames_BTN.split(hop, -1)
    sum_BTH = frames_BTN.new_zeros(len(frames_BTN), count + len(pieces) - 1, hop)
    for number, piece_BTH in enumerate(pieces):
        sum_BTH[:, number : number + count, : piece_BTH.shape[-1]] += piece_BTH
    return sum_BTH.flatten(1)
