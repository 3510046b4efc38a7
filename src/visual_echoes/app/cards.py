"""What a job has made, as HTML: images, spectrograms, players, downloads, and how sure the model is."""

from __future__ import annotations

from html import escape

import numpy as np

from visual_echoes.app.api import API
from visual_echoes.app.jobs import Job, JobStatus, Kind
from visual_echoes.demo.page import data_uri, png_bytes
from visual_echoes.media.drawing import spectrogram
from visual_echoes.model.confidence import in_words


def words(status: JobStatus) -> str:
    """Where a job is, as HTML that screen readers announce."""
    if status.state == "failed":
        return problem(status.error or "")
    if status.state == "waiting":
        return note(f"Waiting; {status.ahead} before it." if status.ahead else "Next in line.")
    if status.state == "running":
        return note(f"Step {status.done} of {status.total}." if status.total else "Starting.")
    return note("Done." if status.state == "done" else "Cancelled; nothing was kept.")


def note(text: str) -> str:
    """A sentence, as HTML that screen readers announce."""
    return f'<p class="status" role="status">{escape(text)}</p>'


def problem(text: str) -> str:
    """A sentence about what is wrong, as HTML that screen readers announce at once."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def cards(job: Job) -> str:
    """All items of a finished job; nothing for others."""
    status = job.status()
    if job.result is None:
        return ""
    items = "".join(_card(job, status, row) for row in range(len(status.seeds)))
    return f'<ul class="cards">{items}</ul>'


def image_source(pixels: np.ndarray) -> str:
    """uint8 pixels (H, W, 1 or 3) as an address."""
    return data_uri("image/png", png_bytes(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))


def image_view(pixels: np.ndarray, name: str) -> str:
    """uint8 pixels (H, W, 1 or 3) as an HTML image."""
    return f'<img class="picture" src="{image_source(pixels)}" alt="{escape(name)}">'


def sound_view(mel_MT: np.ndarray, name: str) -> str:
    """A log-mel in [0, 1] as an HTML image."""
    source = data_uri("image/png", png_bytes(spectrogram(mel_MT)))
    return f'<img class="spectrogram" src="{source}" alt="Mel spectrogram: {escape(name)}">'


def _card(job: Job, status: JobStatus, row: int) -> str:
    result, number = job.result, row + 1
    assert result is not None
    views = []
    if result.images is not None:
        views.append(_figure(image_view(result.images[row], f"image of variant {number}"), "picture", job))
    if result.mels is not None:
        views.append(_figure(sound_view(result.mels[row], f"sound of variant {number}"), "sound", job))
    player = ""
    if f"{number}.wav" in job.files:
        source = data_uri("audio/wav", job.files[f"{number}.wav"])
        player = f'<audio controls preload="metadata" src="{source}" aria-label="Sound of variant {number}"></audio>'
    links = "".join(_link(status, name) for name in status.files if name.startswith(f"{number}."))
    return (
        f'<li class="card"><h3>Variant {number}</h3><div class="views">{"".join(views)}</div>{player}'
        f'<p class="downloads">{links}</p><p class="note">{escape(_note(job, status, row))}</p></li>'
    )


def _figure(view: str, kind: Kind, job: Job) -> str:
    state = "given" if kind in job.task.given else "made"
    return f'<figure>{view}<figcaption><span class="{state}">{state}</span> {kind}</figcaption></figure>'


def _link(status: JobStatus, name: str) -> str:
    kind = name.rsplit(".", 1)[-1].upper()
    saved = f"{status.task}-seed{status.seeds[int(name.split('.')[0]) - 1]}.{kind.lower()}"
    return f'<a href="{API}/jobs/{escape(status.id)}/files/{escape(name)}" download="{saved}">{kind}</a>'


def _note(job: Job, status: JobStatus, row: int) -> str:
    """How to make the item again, and how likely it is what was asked for."""
    assert job.result is not None
    chances = job.result.confidence
    sure = "" if chances is None else f"; the model is {in_words(float(chances[row]))}"
    return f"Seed {status.seeds[row]}{sure}."
