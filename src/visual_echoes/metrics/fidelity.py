"""How close a round trip through tokenizer and vocoder comes to what went in.

Shapes: H rows, W columns, C channels, N samples, M mel bands, T mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from visual_echoes.audio import wave_to_mel
from visual_echoes.layout import Layout

SSIM_WINDOW = 11  # pixels; with the deviation those of Wang et al.
SSIM_SIGMA = 1.5
HIGHEST_PSNR = 120.0  # dB; stands for equal images in a mean, whose error has none


def psnr(given: np.ndarray, made: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 images, from the squared error over all of them; infinite if equal."""
    error = float(np.mean((given.astype(np.float64) - made.astype(np.float64)) ** 2))
    return math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error)


def ssim(given_HWC: np.ndarray, made_HWC: np.ndarray) -> float:
    """Structural similarity of two uint8 images (Wang et al. 2004), the mean over positions and channels; 1 if equal.

    Windows lie wholly inside, so both sides must be at least `SSIM_WINDOW` long.
    """
    x_CHW, y_CHW = (torch.from_numpy(image).movedim(-1, 0).double() for image in (given_HWC, made_HWC))
    mean_x, mean_y = _blur(x_CHW), _blur(y_CHW)
    variance_x, variance_y = _blur(x_CHW**2) - mean_x**2, _blur(y_CHW**2) - mean_y**2
    covariance = _blur(x_CHW * y_CHW) - mean_x * mean_y
    small_mean, small_variance = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    light = (2.0 * mean_x * mean_y + small_mean) / (mean_x**2 + mean_y**2 + small_mean)
    structure = (2.0 * covariance + small_variance) / (variance_x + variance_y + small_variance)
    return float((light * structure).mean())


def _blur(x_CHW: torch.Tensor) -> torch.Tensor:
    """Gaussian-weighted means over windows of 11 x 11."""
    offset = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    weight = torch.exp(-0.5 * (offset / SSIM_SIGMA) ** 2)
    weight = weight / weight.sum()
    return x_CHW.unfold(1, SSIM_WINDOW, 1).unfold(2, SSIM_WINDOW, 1) @ weight @ weight


def made_mel(made_N: np.ndarray, layout: Layout) -> np.ndarray:
    """Log-mel (M, T) in [0, 1] of a generated sound of `layout.samples`, put where it belongs in its clip."""
    clip_N = torch.zeros(layout.clip_samples)
    first = layout.mel_offset * layout.hop
    clip_N[first : first + len(made_N)] = torch.from_numpy(made_N)[: layout.clip_samples - first]
    return wave_to_mel(clip_N[None], layout)[0].numpy()


def mel_error_db(given_MT: np.ndarray, made_MT: np.ndarray, layout: Layout) -> float:
    """Mean absolute difference of two log-mels in dB, over the cells where either is above the floor.

    Silence that both agree on would make any sound with pauses look good. 0 where both are silent.
    """
    heard_MT = np.maximum(given_MT, made_MT) > 0.0
    span = 20.0 * math.log10(layout.mel_ceiling / layout.mel_floor)
    return float(np.abs(given_MT - made_MT)[heard_MT].mean()) * span if heard_MT.any() else 0.0


def log_mel_l1(given_MT: np.ndarray, made_N: np.ndarray, layout: Layout) -> float:
    """Mean absolute difference between a clip's log-mel and that of a generated sound, both in [0, 1].

    Args:
        given_MT: the mel the tokenizer saw.
        made_N: a waveform of `layout.samples`, which stands for the same stretch of the clip.
    """
    return float(np.abs(given_MT - made_mel(made_N, layout)).mean())


# What a round trip of images is measured by, under the names that reports show.
IMAGE_FIDELITY: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "PSNR (dB)": lambda given_HWC, made_HWC: min(psnr(given_HWC, made_HWC), HIGHEST_PSNR),
    "SSIM": ssim,
}
