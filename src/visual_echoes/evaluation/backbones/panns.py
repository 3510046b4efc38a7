"""PANNs' CNN14 for 16 kHz (Kong et al. 2020), with its log-mel.

Shapes: B batch, N samples, F STFT bins, M mel bands, T frames, C channels, D features, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.evaluation.backbones.norm import Norm
from visual_echoes.mel import mel_filterbank

RATE, WINDOW, HOP, BANDS = 16000, 512, 160, 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 8000.0
FLOOR = 1e-10  # of the mel power before its logarithm
WIDTHS = (64, 128, 256, 512, 1024, 2048)
CLASSES = 527
LEAST = 32000  # samples; audioldm_eval pads shorter sounds to it


def panns_log_mel(wave_BN: Tensor) -> Tensor:
    """Log-mel power in dB, (B, 1, T, M)."""
    window = torch.hann_window(WINDOW)
    spectrum_BFT = torch.stft(wave_BN, WINDOW, HOP, window=window, pad_mode="reflect", return_complex=True)
    filters_MF = mel_filterbank(RATE, WINDOW, BANDS, LOWEST_HZ, HIGHEST_HZ)
    power_BMT = filters_MF @ spectrum_BFT.abs().square()
    return (10.0 * power_BMT.clamp_min(FLOOR).log10()).transpose(1, 2)[:, None]


class Block(nn.Module):
    """Two convolutions, then the mean over squares of `pool` places."""

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
    def __init__(self) -> None:
        super().__init__()
        self.bn0 = Norm(BANDS)
        for index, (before, after) in enumerate(zip((1, *WIDTHS), WIDTHS, strict=False), 1):
            self.add_module(f"conv_block{index}", Block(before, after, 1 if index == len(WIDTHS) else 2))
        self.fc1 = nn.Linear(WIDTHS[-1], WIDTHS[-1])
        self.fc_audioset = nn.Linear(WIDTHS[-1], CLASSES)

    def forward(self, wave_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, D) after its ReLU, and logits (B, K)."""
        x = self.bn0(panns_log_mel(wave_BN).transpose(1, 3)).transpose(1, 3)
        for index in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"conv_block{index}")(x)
        x_BCT = x.mean(3)
        features_BD = F.relu(self.fc1(x_BCT.amax(2) + x_BCT.mean(2)))
        return features_BD, self.fc_audioset(features_BD)
