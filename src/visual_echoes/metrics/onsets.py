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


def onset_strength(wave_N: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """Spectral flux of a waveform, float32 (T,), a value for each hop, and which hop is the first.

    Only frames that lie within the sound are compared, since it is not known what was before. So what sounds from the
    first sample on has no onset, and one in the first 20 ms or so is found a little late.
    """
    window, hop = round(WINDOW * rate), _hop(rate)
    first, lag = math.ceil(window / 2 / hop), window // hop
    frames = max(0, (len(wave_N) - (window + 1) // 2) // hop + 1 - first)
    if frames <= lag:
        return np.zeros(0, np.float32), 0
    magnitude_FT = stft(torch.from_numpy(wave_N.astype(np.float32))[None], window, hop).abs()[0, :, first:][:, :frames]
    mel_MT = mel_filterbank(rate, window, BANDS, FMIN, min(FMAX, rate / 2)) @ magnitude_FT
    log_MT = torch.log1p(COMPRESSION * mel_MT / mel_MT.max().clamp_min(torch.finfo(mel_MT.dtype).tiny))
    earlier_MT = F.max_pool1d(log_MT.T, 2 * NEIGHBOURS + 1, 1, NEIGHBOURS).T[:, :-lag]
    strength: np.ndarray = (log_MT[:, lag:] - earlier_MT).clamp_min(0.0).mean(0).numpy()
    return strength, first + lag


def find_onsets(wave_N: np.ndarray, rate: int) -> list[float]:
    """Times of the onsets of a waveform in seconds, ascending; none in silence.

    Args:
        wave_N: float, full scale is 1; silent below a peak of `SILENT_PEAK`.
        rate: in Hz, 2,000 or more.
    """
    if np.abs(wave_N).max(initial=0.0) < SILENT_PEAK:
        return []
    strength_T, first = onset_strength(wave_N, rate)
    if not len(strength_T):
        return []
    hop, values_1T = _hop(rate) / rate, torch.from_numpy(strength_T)[None]
    near, around = round(NEAR / hop), round(AROUND / hop)
    largest_T = F.max_pool1d(values_1T, 2 * near + 1, 1, near)[0].numpy()
    mean_T = F.avg_pool1d(values_1T, 2 * around + 1, 1, around, count_include_pad=False)[0].numpy()
    times = []
    for peak in np.flatnonzero((strength_T >= largest_T) & (strength_T >= mean_T + THRESHOLD)):
        rising = int(peak)
        while rising > 0 and strength_T[rising - 1] >= strength_T[peak] / 2:
            rising -= 1
        times.append((first + rising + 1) * hop)
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
