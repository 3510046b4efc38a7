"""Wav2CLIP (Wu et al. 2022): a ResNet-18 over a log spectrogram, projected to CLIP's space.

Shapes: N samples, F STFT bins, T frames, D features, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.metrics.networks.norm import Norm

RATE, N_FFT, HOP = 16000, 512, 353
LOG_OFFSET, DEVIATION_OFFSET = 1e-7, 1e-9
WIDTHS, FEATURES = (64, 128, 256, 512), 512
LEAST = N_FFT // 2 + 1  # samples; the reflection at the ends needs them
# The published names, by the names here; what is not named is no part of the embedding.
PREFIXES = {"audio_encoder.": "encoder.", "audio_transform.sequential.": "transform."}
UNUSED = ("encoder.fc.", "encoder.spectrogram.")


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the published checkpoint that make the embedding, by their names here."""
    renamed = {
        own + name.removeprefix(prefix): value
        for name, value in tensors.items()
        for prefix, own in PREFIXES.items()
        if name.startswith(prefix)
    }
    return {name: value for name, value in renamed.items() if not name.startswith(UNUSED)}


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), Norm(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), Norm(after)
        shortcut = [] if before == after else [nn.Conv2d(before, after, 1, stride, bias=False), Norm(after)]
        self.downsample = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(inner + self.downsample(x))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, WIDTHS[0], 7, 2, 3, bias=False), Norm(WIDTHS[0])
        for index, (before, after) in enumerate(zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False), 1):
            self.add_module(f"layer{index}", nn.Sequential(Block(before, after), Block(after, after)))

    def forward(self, x_1CFT: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x_1CFT))), 3, 2, 1)
        for index in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"layer{index}")(x)
        return x.mean((2, 3))


class Wav2Clip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        linear = [nn.Linear(FEATURES, FEATURES) for _ in range(2)]
        self.transform = nn.Sequential(linear[0], nn.ReLU(), nn.Dropout(0.0), linear[1])

    def forward(self, wave_N: Tensor) -> Tensor:
        """(D,) of one sound of `LEAST` samples or more; the spectrogram is normalised by its own mean and deviation."""
        window = torch.hann_window(N_FFT)
        power_FT = torch.stft(wave_N, N_FFT, HOP, window=window, pad_mode="reflect", return_complex=True).abs().square()
        log_FT = torch.log(power_FT + LOG_OFFSET)
        log_FT = (log_FT - log_FT.mean()) / (log_FT.std() + DEVIATION_OFFSET)
        return self.transform(self.encoder(log_FT[None, None]))[0]
