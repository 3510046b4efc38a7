"""Where seconds, hertz and decibels lie on a spectrogram, as shares of its width and height."""

from __future__ import annotations

import math

import numpy as np

from visual_echoes.audio import mel_edges, mel_to_hz
from visual_echoes.layout import Layout

Mark = tuple[str, float]  # what it says, and where: from 0, at the left or below, to 1

TIMES = 8  # marks on the time axis at most, without the one at 0
LEVELS = 4  # marks of the level at most, without the one at 0
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60)  # seconds between marks
_PITCHES = (125, 250, 500, 1000, 2000, 4000, 8000)  # Hz


def time_marks(seconds: float) -> list[Mark]:
    """Times at round steps."""
    step = next((step for step in _STEPS if seconds / step <= TIMES), 60 * math.ceil(seconds / 60 / TIMES))
    times = [number * step for number in range(int(seconds / step + 1e-6) + 1)]
    return [(f"{time:g}", time / seconds) for time in times]


def pitch_marks(layout: Layout) -> list[Mark]:
    """Pitches on the mel scale, in Hz; those that lie too close to be read are left out."""
    edges = mel_to_hz(mel_edges(layout.n_mels, layout.fmin, layout.fmax)).numpy()
    inside = [pitch for pitch in _PITCHES if edges[1] <= pitch <= edges[-2]]
    # Band b, whose middle is at b + 1/2, is centred on point b + 1.
    places = np.interp(inside, edges, np.arange(len(edges)) - 0.5) / layout.n_mels
    marks: list[Mark] = []
    for pitch, place in zip(inside, places.tolist(), strict=True):
        if not marks or place - marks[-1][1] >= 0.1:
            marks.append((f"{pitch:g}", place))
    return marks


def level_marks(layout: Layout) -> list[Mark]:
    """Levels in dB, 0 being the loudest that the scale shows."""
    span = 20 * math.log10(layout.mel_ceiling / layout.mel_floor)
    step = next(step for step in (10, 20, 40) if span / step <= LEVELS or step == 40)
    return [(f"{-level}" if level else "0", 1 - level / span) for level in range(0, int(span + 1e-6) + 1, step)]
