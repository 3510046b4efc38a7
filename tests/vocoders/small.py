"""Small vocoders of every kind, and mels and sounds to try them on."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from visual_echoes.layout import LAYOUTS, Layout
from visual_echoes.vocoders import Vocoder, build_vocoder

DIGITS = LAYOUTS["digits"]
DEBUG = LAYOUTS["debug"]
SMALL_HIFIGAN: dict[str, Any] = {
    "upsample_rates": (8, 4, 2), "upsample_kernel_sizes": (16, 8, 4), "upsample_initial_channel": 16,
    "resblock_kernel_sizes": (3, 5), "resblock_dilation_sizes": ((1, 3), (1, 2)), "resblock": "2",
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "griffin-lim": {"iterations": 4},
    "hifigan": SMALL_HIFIGAN,
    "vocos": {"width": 16, "blocks": 2},
    "melgan": {"width": 2, "ratios": (8, 4, 2), "residual_layers": 2},
    "remapped-hifigan": {
        "generator": {"n_mels": 20, **SMALL_HIFIGAN},
        "mel": {"sample_rate": 8000, "n_fft": 256, "hop": 64, "n_mels": 20, "fmin": 0.0, "fmax": 4000.0},
    },
}  # fmt: skip


def small(kind: str, layout: Layout = DEBUG) -> Vocoder:
    torch.manual_seed(0)
    return build_vocoder(kind, SMALL[kind], layout).eval()


def random_mel(count: int, frames: int, layout: Layout = DEBUG) -> Tensor:
    return torch.rand((count, layout.n_mels, frames), generator=torch.Generator().manual_seed(1))


def tones(frequencies: list[float], amplitude: float, layout: Layout) -> Tensor:
    time_N = torch.arange(layout.clip_samples) / layout.sample_rate
    return amplitude * torch.stack([torch.sin(2 * math.pi * f * time_N) for f in frequencies]).sum(0)[None]
