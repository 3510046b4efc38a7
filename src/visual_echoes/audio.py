"""Waveform to log-mel and back, in SpecVQGAN's convention.

Magnitude STFT (Hann, centred), Slaney mel filterbank, then y = 0.2 log10(m) + 0.8 clipped to [0, 1]: 0 is a mel
magnitude of 1e-4 and 1 is 10 (SpecVQGAN, `extract_mel_spectrogram`). The ends are the layout's `mel_floor` and
`mel_ceiling`.

Shapes: B batch, N samples, F STFT bins, M mel bands, T mel frames.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visual_echoes.layout import Layout

# Slaney's mel scale: linear below 1 kHz (3 mels per 200 Hz), logarithmic above (27 mels per factor of 6.4).
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0

LOUDER = 16.0  # times that a made sound is amplified at most


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def mel_to_hz(mel: Tensor) -> Tensor:
    """Points on Slaney's mel scale as frequencies in Hz."""
    return torch.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, _BREAK_HZ * torch.exp((mel - _BREAK_MEL) * _LOG_STEP))


def mel_edges(n_mels: int, fmin: float, fmax: float) -> Tensor:
    """The n_mels + 2 points between which the bands lie, on Slaney's mel scale; band b is centred on point b + 1."""
    return torch.linspace(_hz_to_mel(fmin), _hz_to_mel(fmax), n_mels + 2, dtype=torch.float64)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # a filterbank first asked for in inference must still serve training
def mel_filterbank(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> Tensor:
    """Triangular mel filters of unit area (Slaney's normalisation), shape (M, F), float32."""
    edges = mel_to_hz(mel_edges(n_mels, fmin, fmax))
    return (triangles(edges, fft_bins(sample_rate, n_fft)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]).float()


def fft_bins(sample_rate: int, n_fft: int) -> Tensor:
    """Frequencies of the bins of an FFT in Hz, float64 (F,)."""
    return torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)


def triangles(edges: Tensor, bins_F: Tensor) -> Tensor:
    """Triangular filters of unit height between n_mels + 2 points on the scale of the bins, shape (M, F)."""
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins_F - lower) / (centre - lower), (upper - bins_F) / (upper - centre)
    return torch.minimum(rising, falling).clamp_min(0.0)


def layout_filterbank(layout: Layout) -> Tensor:
    """The filterbank of a layout, shape (M, F)."""
    return mel_filterbank(layout.sample_rate, layout.n_fft, layout.n_mels, layout.fmin, layout.fmax)


def set_peak(wave: np.ndarray, peak: float | None) -> np.ndarray:
    """Scale a sound to a peak; silence and `peak` None leave it as it is."""
    return wave if peak is None else (wave * _gain_to(wave, peak)).astype(np.float32)


def made_gain(wave: np.ndarray, peak: float | None) -> float:
    """What a sound that was made is multiplied by: it brings it to the peak that all sounds learnt from have.

    Not more than `LOUDER`, so that next to nothing is not made into noise; 1 for silence and where `peak` is None.
    """
    return 1.0 if peak is None else min(_gain_to(wave, peak), LOUDER)


def _gain_to(wave: np.ndarray, peak: float) -> float:
    loudest = float(np.abs(wave).max(initial=0.0))
    return 1.0 if loudest == 0.0 else peak / loudest


def stft(wave_BN: Tensor, n_fft: int, hop: int) -> Tensor:
    """Centred complex STFT with a periodic Hann window and zero padding, shape (B, F, N // hop + 1)."""
    window = torch.hann_window(n_fft, dtype=wave_BN.dtype, device=wave_BN.device)
    return torch.stft(wave_BN, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)


def compress_magnitudes(spectrum_BFT: Tensor) -> Tensor:
    """A complex spectrum with its magnitudes to the power 0.3, so that quiet bins count for a network."""
    return spectrum_BFT * (spectrum_BFT.abs() + 1e-3).pow(-0.7)


def magnitude_to_log(mel_BMT: Tensor, layout: Layout) -> Tensor:
    """Mel magnitude to the tokenizer's scale in [0, 1]."""
    low, high = math.log10(layout.mel_floor), math.log10(layout.mel_ceiling)
    log_BMT = torch.log10(mel_BMT.clamp_min(layout.mel_floor))
    return ((log_BMT - low) / (high - low)).clamp(0.0, 1.0)


def log_to_magnitude(log_BMT: Tensor, layout: Layout) -> Tensor:
    """Inverse of `magnitude_to_log`, exact where it did not clip."""
    low, high = math.log10(layout.mel_floor), math.log10(layout.mel_ceiling)
    return torch.pow(10.0, log_BMT * (high - low) + low)


def mel_to_unit(mel_BMT: Tensor) -> Tensor:
    """Log-mels in [0, 1] as the tokenizer's one-channel images in [-1, 1], shape (B, 1, M, T)."""
    return mel_BMT[:, None] * 2.0 - 1.0


def unit_to_mel(image_B1MT: Tensor) -> Tensor:
    """Inverse of `mel_to_unit`, clipped to [0, 1], shape (B, M, T)."""
    return ((image_B1MT[:, 0] + 1.0) / 2.0).clamp(0.0, 1.0)


def full_mel(wave_BN: Tensor, layout: Layout) -> Tensor:
    """Log-mel of a whole clip before the crop.

    Args:
        wave_BN: waveform in [-1, 1], `layout.clip_samples` long (shorter is zero-padded, longer cut at the end).

    Returns:
        (B, n_mels, raw_frames) in [0, 1].
    """
    missing = layout.clip_samples - wave_BN.shape[-1]
    wave_BN = F.pad(wave_BN, (0, missing)) if missing > 0 else wave_BN[..., : layout.clip_samples]
    return _log_mel(stft(wave_BN, layout.n_fft, layout.hop).abs()[..., : layout.raw_frames], layout)


def long_mel(wave_BN: Tensor, layout: Layout) -> Tensor:
    """Log-mel of a waveform in [-1, 1] of any length, (B, n_mels, N // hop + 1) in [0, 1]; frame t is at t hop."""
    return _log_mel(stft(wave_BN, layout.n_fft, layout.hop).abs(), layout)


def _log_mel(magnitude_BFT: Tensor, layout: Layout) -> Tensor:
    return magnitude_to_log(layout_filterbank(layout).to(magnitude_BFT) @ magnitude_BFT, layout)


def crop_frames(mel_BMT: Tensor, layout: Layout) -> Tensor:
    """Centre crop from `raw_frames` to the `mel_frames` the tokenizer sees."""
    return mel_BMT[..., layout.mel_offset : layout.mel_offset + layout.mel_frames]


def wave_to_mel(wave_BN: Tensor, layout: Layout) -> Tensor:
    """Waveform to the tokenizer's mel, shape (B, n_mels, mel_frames) in [0, 1]."""
    return crop_frames(full_mel(wave_BN, layout), layout)
