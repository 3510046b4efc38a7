"""VGGish (Hershey et al. 2017) as torchvggish publishes it, without PCA, and without its last ReLU, as FAD is computed.

Shapes: B batch, N samples, P patches, T frames, M mel bands, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from visual_echoes.metrics.networks.yamnet import HOP, N_FFT, PATCH, RATE, WINDOW, yamnet_filterbank

LOG_OFFSET = 0.01
STAGES = ((64,), (128,), (256, 256), (512, 512))  # convolutions before each pooling
WIDTH, FEATURES = 4096, 128
LEAST = 32000  # samples; audioldm_eval pads shorter sounds to it

__all__ = ["LEAST", "RATE", "VGGish", "vggish_patches"]


def vggish_patches(wave_N: Tensor) -> Tensor:
    """Log-mel patches of 0.96 s one after the other, (P, 1, T, M); YAMNet's mel bands with another offset.

    A shorter end is left out.
    """
    frames_TN = wave_N.unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW)
    mel_TM = torch.fft.rfft(frames_TN, N_FFT).abs() @ yamnet_filterbank().T
    return torch.log(mel_TM + LOG_OFFSET).unfold(0, PATCH, PATCH).transpose(1, 2)[:, None]


class VGGish(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for stage in STAGES:
            for after in stage:
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
                before = after
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(before * 6 * 4, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, FEATURES)
        )

    def forward(self, patches_P1TM: Tensor) -> Tensor:
        """(P, D)."""
        return self.embeddings(self.features(patches_P1TM).permute(0, 2, 3, 1).flatten(1))
