"""Sounds to look at, as HTML: spectrogram and waveform above one axis of seconds, with hertz and decibels.

The axes are text beside the images, so that it is read at any width, in any theme, and aloud.

Shapes: M mel bands, T mel frames, N samples, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape

import numpy as np
from PIL import Image

from visual_echoes.app.axes import Mark, level_marks, pitch_marks, time_marks
from visual_echoes.demo.page import data_uri, png_bytes
from visual_echoes.layout import Layout
from visual_echoes.media.drawing import spectrogram

COLUMNS = 1000  # of a plot at most


@dataclass(frozen=True)
class Plot:
    """A sound, or the part of it that is made.

    Attributes:
        name: what it is, for those who cannot see it.
        layout: of the model that hears it.
        mel_MT: its log-mel in [0, 1].
        wave_N: in [-1, 1].
        seconds: length of the time axis; None for the sound's own.
        above: what lies above it on the same axis of time, as HTML.
        marked: a stretch (from, to) in seconds.
    """

    name: str
    layout: Layout
    mel_MT: np.ndarray
    wave_N: np.ndarray
    seconds: float | None = None
    above: str = ""
    marked: tuple[float, float] = (0.0, 0.0)

    def html(self) -> str:
        """The plot; what plays the sound beside it moves its playhead (page.js)."""
        made = len(self.wave_N) / self.layout.sample_rate
        seconds = made if self.seconds is None else self.seconds
        share = min(1.0, made / seconds) if seconds else 0.0
        left, right = (min(max(edge / seconds, 0.0), 1.0) if seconds else 0.0 for edge in self.marked)
        mark = f'<i class="mark" style="left:{left:.2%};width:{right - left:.2%}"></i>' if left < right else ""
        return f"""
<div class="plot">{f'<div class="above">{self.above}</div>' if self.above else ""}
{_axis("hertz", "Hz", pitch_marks(self.layout), "bottom")}
<div class="field">{_mel_image(self.mel_MT, self.name, share) if share else ""}</div>
<div class="level">{_bar()}{_axis("decibels", "dB", level_marks(self.layout), "bottom")}</div>
<div class="field wave">{_waveform(self.wave_N, self.name, share) if share else ""}</div>
{_axis("seconds", "s", time_marks(seconds), "left") if seconds else ""}
<div class="over">{mark}<i class="playhead"></i></div>
</div>"""


def _axis(kind: str, unit: str, marks: Sequence[Mark], side: str) -> str:
    named = "".join(f'<span style="{side}:{place:.2%}">{escape(text)}</span>' for text, place in marks)
    return f'<div class="axis {kind}"><b>{unit}</b>{named}</div>'


@cache
def _bar() -> str:
    """The colours from quiet, below, to loud."""
    uri = data_uri("image/png", png_bytes(spectrogram(np.linspace(0, 1, 64)[:, None])))
    return f'<img class="bar" src="{uri}" alt="">'


def _mel_image(mel_MT: np.ndarray, name: str, share: float) -> str:
    if mel_MT.shape[1] > COLUMNS:
        small = Image.fromarray(mel_MT.astype(np.float32)).resize((COLUMNS, len(mel_MT)), Image.Resampling.BOX)
        mel_MT = np.asarray(small)
    uri = data_uri("image/png", png_bytes(spectrogram(mel_MT)))
    return f'<img class="mel" src="{uri}" style="width:{share:.2%}" alt="Mel spectrogram: {escape(name)}">'


def _waveform(wave_N: np.ndarray, name: str, share: float) -> str:
    """Highest and lowest sample of each column, as an area."""
    columns = min(COLUMNS // 2, len(wave_N))
    firsts = np.linspace(0, len(wave_N), columns, endpoint=False).astype(int)
    high_C, low_C = np.maximum.reduceat(wave_N, firsts), np.minimum.reduceat(wave_N, firsts)
    top = [f"{column} {50 - 50 * level:.0f}" for column, level in enumerate(high_C)]
    foot = [f"{column} {51 - 50 * level:.0f}" for column, level in enumerate(low_C)]
    return (
        f'<svg viewBox="0 0 {columns - 1 or 1} 101" preserveAspectRatio="none" style="width:{share:.2%}" role="img" '
        f'aria-label="Waveform: {escape(name)}"><path d="M{" ".join(top + foot[::-1])}Z"/></svg>'
    )
