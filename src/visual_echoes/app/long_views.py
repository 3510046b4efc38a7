"""A job that makes long sounds as HTML: its timeline as it grows, and what it has made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

import numpy as np
import soundfile
import torch
from PIL import Image

from visual_echoes.app.jobs import Job
from visual_echoes.app.long import LongSound
from visual_echoes.app.plots import Plot
from visual_echoes.app.timeline import strip
from visual_echoes.app.views import address, links
from visual_echoes.audio import long_mel
from visual_echoes.demo.page import jpeg_uri
from visual_echoes.layout import Layout


def timeline(frames: Sequence[Image.Image], seconds: float, wave_N: np.ndarray, layout: Layout) -> str:
    """The frames of a video above its sound as far as it is made, float32 (N,)."""
    made = len(wave_N) / layout.sample_rate
    alt = f"Frames of the video above its sound; {made:.1f} of {seconds:.1f} s are made"
    shown = f'<img class="strip" src="{jpeg_uri(strip(frames))}" alt="{alt}">'
    mel_MT = long_mel(torch.from_numpy(wave_N)[None], layout)[0].numpy() if made else np.zeros((layout.n_mels, 0))
    return Plot("the sound of the video", layout, mel_MT, wave_N, seconds, shown).html()


def growing(job: Job, made: LongSound, layout: Layout) -> str:
    """The timeline of the variant that is being made; nothing once the job is over."""
    if job.over:
        return ""
    heard = list(job.heard)
    row = heard[-1][0] if heard else 0
    samples = round(made.seconds * layout.sample_rate)
    wave_N, done = np.zeros(samples, np.float32), 0
    for its_row, window, window_N in heard:
        if its_row == row:
            until = min(window.first + len(window_N), window.until)
            wave_N[window.first : until] = window_N[: until - window.first]
            done = until
    return timeline(made.frames, made.seconds, wave_N[:done], layout)


def long_cards(job: Job, made: LongSound, layout: Layout) -> str:
    """All variants of a finished job; nothing for others."""
    numbers = range(1, len(job.status().seeds) + 1)
    return f'<ul class="cards long">{"".join(long_card(job, made, layout, number) for number in numbers)}</ul>'


def long_card(job: Job, made: LongSound, layout: Layout, number: int) -> str:
    """A variant. The player takes its file from the API, as it may be large."""
    status = job.status()
    video = next(name for name in status.files if name.startswith(f"{number}.") and not name.endswith(".wav"))
    wave_N, _ = soundfile.read(io.BytesIO(job.files[f"{number}.wav"]), dtype="float32")
    return f"""
<li class="card">
<h3>Variant {number}</h3>
<video controls preload="metadata" src="{address(status, video)}" aria-label="{escape(made.name)} with sound"></video>
{timeline(made.frames, made.seconds, wave_N, layout)}
{links(status, number)}
<p class="note">Seed {status.seeds[number - 1]}.</p>
</li>"""
