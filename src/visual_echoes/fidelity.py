"""How close a round trip through tokenizer and vocoder comes to what went in.

Shapes: H rows, W columns, C channels, N samples, M mel bands, T mel frames.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from visual_echoes.layout import Layout
from visual_echoes.mel import wave_to_mel


def psnr(given_HWC: np.ndarray, made_HWC: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB; infinite for equal ones."""
    error = float(np.mean((given_HWC.astype(np.float64) - made_HWC.astype(np.float64)) ** 2))
    return math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error)


def log_mel_l1(given_MT: np.ndarray, made_N: np.ndarray, layout: Layout) -> float:
    """Mean absolute difference between a clip's log-mel and that of a generated sound, both in [0, 1].

    Args:
        given_MT: the mel the tokenizer saw.
        made_N: a waveform of `layout.samples`, which stands for the same stretch of the clip.
    """
    clip_N = torch.zeros(layout.clip_samples)
    first = layout.mel_offset * layout.hop
    clip_N[first : first + len(made_N)] = torch.from_numpy(made_N)[: layout.clip_samples - first]
    made_MT = wave_to_mel(clip_N[None], layout)[0].numpy()
    return float(np.abs(given_MT - made_MT).mean())
