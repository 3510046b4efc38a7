"""PANNs' CNN14 for 16 and for 32 kHz (Kong et al. 2020), each with its own log-mel.

Shapes: B batch, N samples, F STFT bins, M mel bands, T frames, C channels, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.audio import mel_filterbank
from visual_echoes.errors import EchoesError
from visual_echoes.metrics.networks.norm import Norm

BANDS, LOWEST_HZ = 64, 50.0
FLOOR = 1e-10  # of the mel power before its logarithm
WIDTHS = (64, 128, 256, 512, 1024, 2048)
CLASSES = 527
LEAST = 32000  # samples; audioldm_eval pads shorter sounds to it, at either rate


class FrontEnd(NamedTuple):
    """What a CNN14 hears: the rate in Hz, samples of a window and from one to the next, and the upper edge in Hz."""

    rate: int
    window: int
    hop: int
    highest_hz: float

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the constants that a checkpoint carries for it: the STFT's windows and the mel filters."""
        bins = self.window // 2 + 1
        return {
            "spectrogram_extractor.stft.conv_real.weight": (bins, 1, self.window),
            "logmel_extractor.melW": (bins, BANDS),
        }


FRONT_ENDS = (FrontEnd(16000, 512, 160, 8000.0), FrontEnd(32000, 1024, 320, 14000.0))
CONSTANTS = ("spectrogram_extractor.", "logmel_extractor.")  # in a checkpoint; they are computed here


def front_end(tensors: Mapping[str, Tensor], source: Path) -> FrontEnd:
    """The front end that a checkpoint was trained with, by the shapes of what it carries.

    Raises:
        EchoesError: it carries none, or that of another rate or number of bands.
    """
    for front in FRONT_ENDS:
        if all(name in tensors and tuple(tensors[name].shape) == shape for name, shape in front.shapes.items()):
            return front
    carried = [f"{name} {tuple(tensors[name].shape)}" for name in FRONT_ENDS[0].shapes if name in tensors]
    raise EchoesError(
        f"{source} is no CNN14 for 16 or 32 kHz with {BANDS} mel bands (its front end is "
        f"{', '.join(carried) or 'missing'}); give one of these."
    )


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network, without those of its front end."""
    return {name: value for name, value in tensors.items() if not name.startswith(CONSTANTS)}


def panns_log_mel(wave_BN: Tensor, front: FrontEnd = FRONT_ENDS[0]) -> Tensor:
    """Log-mel power in dB, (B, 1, T, M)."""
    window = torch.hann_window(front.window)
    spectrum_BFT = torch.stft(wave_BN, front.window, front.hop, window=window, pad_mode="reflect", return_complex=True)
    filters_MF = mel_filterbank(front.rate, front.window, BANDS, LOWEST_HZ, front.highest_hz)
    power_BMT = filters_MF @ spectrum_BFT.abs().square()
    return (10.0 * power_BMT.clamp_min(FLOOR).log10()).transpose(1, 2)[:, None]


class Block(nn.Module):
    """Two convolutions, then the mean over squares of `pool` positions."""

    def __init__(self, before: int, after: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = Norm(after), Norm(after)

    def forward(self, x_BCTM: Tensor) -> Tensor:
        x_BCTM = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x_BCTM))))))
        return F.avg_pool2d(x_BCTM, self.pool)


class Cnn14(nn.Module):
    def __init__(self, front: FrontEnd = FRONT_ENDS[0]) -> None:
        super().__init__()
        self.front = front
        self.bn0 = Norm(BANDS)
        for index, (before, after) in enumerate(zip((1, *WIDTHS), WIDTHS, strict=False), 1):
            self.add_module(f"conv_block{index}", Block(before, after, 1 if index == len(WIDTHS) else 2))
        self.fc1 = nn.Linear(WIDTHS[-1], WIDTHS[-1])
        self.fc_audioset = nn.Linear(WIDTHS[-1], CLASSES)

    def forward(self, wave_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, D) after its ReLU, and logits (B, K)."""
        x = self.bn0(panns_log_mel(wave_BN, self.front).transpose(1, 3)).transpose(1, 3)
        for index in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"conv_block{index}")(x)
        x_BCT = x.mean(3)
        features_BD = F.relu(self.fc1(x_BCT.amax(2) + x_BCT.mean(2)))
        return features_BD, self.fc_audioset(features_BD)
