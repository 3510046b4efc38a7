"""When something begins to sound: onsets by spectral flux, and events gathered from them.

The strength of an onset is the mean over mel bands of what a log magnitude has risen by, half-wave rectified, within
the length of a window (spectral flux: Bello et al. 2005, section III; Dixon 2006, section 2). Each band is compared
with the loudest of its neighbours before, so that a gliding pitch is no onset (Böck and Widmer 2013, section 2). An
onset is the largest strength nearby that also lies above the mean around it by a threshold (Dixon 2006, section 2.6).

Times are those at which the strength has risen to half of its peak, which is within one hop of where a click, a tone
or a noise begins. Magnitudes are relative to the loudest of the sound, so that its level does not matter.

Shapes: N samples, M mel bands, T frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional as F

from visual_echoes.audio import mel_filterbank, stft
from visual_echoes.media.sounds import SILENT_PEAK

# All tuned on words: spoken digits that no classifier or model is tested on, with and without noise.
GAP = 0.5  # seconds in which onsets belong to one event: a word has several
WINDOW, HOP = 0.032, 0.005  # seconds
BANDS, FMIN, FMAX = 40, 50.0, 8000.0  # mel bands; Hz
COMPRESSION = 300.0  # of magnitudes, 1 for the loudest: what is 50 dB below it hardly counts
NEIGHBOURS = 1  # bands on either side
NEAR, AROUND = 0.03, 0.1  # seconds on either side in which a peak is the largest, and of the mean
THRESHOLD = 0.13  # above that mean


def onset_strength(wave_N: np.ndarray, rate: int) -> np.ndarray:
    """Spectral flux of a waveform, float32 (T,), one value for each hop from its first sample on.

    What sounds from the first sample on has begun before, and has no onset.
    """
    window, hop = round(WINDOW * rate), _hop(rate)
    lag = window // hop
    before = math.ceil(window / 2 / hop)  # frames in front of the first sample, which sees a reflection, not silence
    padded_1N = torch.from_numpy(np.pad(wave_N.astype(np.float32), (before * hop, 0), mode="reflect"))[None]
    magnitude_FT = stft(padded_1N, window, hop).abs()[0, :, before:]
    mel_MT = mel_filterbank(rate, window, BANDS, FMIN, min(FMAX, rate / 2)) @ magnitude_FT
    log_MT = torch.log1p(COMPRESSION * mel_MT / mel_MT.max().clamp_min(torch.finfo(mel_MT.dtype).tiny))
    widest_MT = F.max_pool1d(log_MT.T, 2 * NEIGHBOURS + 1, 1, NEIGHBOURS).T
    earlier_MT = torch.cat([widest_MT[:, :1].expand(-1, lag), widest_MT], 1)[:, : log_MT.shape[1]]
    strength: np.ndarray = (log_MT - earlier_MT).clamp_min(0.0).mean(0).numpy()
    return strength


def find_onsets(wave_N: np.ndarray, rate: int) -> list[float]:
    """Times of the onsets of a waveform in seconds, ascending; none in silence.

    Args:
        wave_N: float, full scale is 1; silent below a peak of `SILENT_PEAK`.
        rate: in Hz, 2,000 or more.
    """
    if np.abs(wave_N).max(initial=0.0) < SILENT_PEAK:
        return []
    strength_T, hop = onset_strength(wave_N, rate), _hop(rate) / rate
    values_1T = torch.from_numpy(strength_T)[None]
    near, around = round(NEAR / hop), round(AROUND / hop)
    largest_T = F.max_pool1d(values_1T, 2 * near + 1, 1, near)[0].numpy()
    mean_T = F.avg_pool1d(values_1T, 2 * around + 1, 1, around, count_include_pad=False)[0].numpy()
    times = []
    for peak in np.flatnonzero((strength_T >= largest_T) & (strength_T >= mean_T + THRESHOLD)):
        rising = int(peak)
        while rising > 0 and strength_T[rising - 1] >= strength_T[peak] / 2:
            rising -= 1
        times.append((rising + 1) * hop)
    return sorted(set(times))


def gather(times: Iterable[float], gap: float = GAP) -> list[float]:
    """The first time of each event, ascending: what lies nearer than `gap` seconds to it belongs to the same event."""
    events: list[float] = []
    for time in sorted(times):
        if not events or time - events[-1] >= gap:
            events.append(time)
    return events


def _hop(rate: int) -> int:
    return round(HOP * rate)
