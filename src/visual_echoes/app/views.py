"""A job as HTML: where it is, what it was given, and what it has made."""

from __future__ import annotations

from html import escape

import numpy as np

from visual_echoes.app.api import API, saved_name
from visual_echoes.app.grids import TokenGrids
from visual_echoes.app.jobs import Job, JobStatus
from visual_echoes.app.plots import Plot
from visual_echoes.app.tasks import cut
from visual_echoes.demo.page import data_uri, png_bytes
from visual_echoes.media.drawing import filmstrip
from visual_echoes.model.confidence import in_words
from visual_echoes.pipeline import Result, VisualEchoes

# Where it is


def words(status: JobStatus) -> str:
    """Where a job is, as HTML that screen readers announce."""
    if status.state == "failed":
        return problem(status.error or "")
    if status.state == "waiting":
        return note(f"Waiting; {status.ahead} before it." if status.ahead else "Next in line.")
    if status.state == "running":
        return note(f"{status.unit.capitalize()} {status.done} of {status.total}." if status.total else "Starting.")
    return note("Done." if status.state == "done" else "Cancelled; nothing was kept.")


def note(text: str) -> str:
    """A sentence, as HTML that screen readers announce."""
    return f'<p class="status" role="status">{escape(text)}</p>'


def problem(text: str) -> str:
    """A sentence about what is wrong, as HTML that screen readers announce at once."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


# What it was given, and what it has made


def outcome(job: Job, echoes: VisualEchoes, grids: TokenGrids, photograph: str = "") -> str:
    """What a finished job was given and all items that it made; nothing for others.

    Args:
        photograph: the image that was given, in its own quality (a data URI), where the page has it.
    """
    if job.result is None:
        return ""
    rows = range(len(job.result.seeds))
    cards = "".join(card(job, echoes, grids, row) for row in rows)
    return f'<div class="outcome">{_given(job, echoes, grids, photograph)}<ul class="cards">{cards}</ul></div>'


def coloured(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels (H, W, 1 or 3), or a video's frames side by side, in three colours."""
    strip_HWC = filmstrip(pixels)
    return np.broadcast_to(strip_HWC, (*strip_HWC.shape[:2], 3))


def coloured_png(pixels: np.ndarray) -> bytes:
    """The same as a PNG file."""
    return png_bytes(coloured(pixels))


def seen(pixels: np.ndarray) -> str:
    """What the model sees of an image, as HTML."""
    height, width = filmstrip(pixels).shape[:2]
    caption = f"what the model sees: {width} x {height} pixels"
    return f'<figure class="seen">{_image(pixels, "what the model sees")}<figcaption>{caption}</figcaption></figure>'


def verdicts(result: Result) -> list[str]:
    """What the model takes the items for and how sure it is, in a sentence for those that are alike."""
    said: dict[str, list[int]] = {}
    for row in range(len(result.seeds)):
        parts = []
        if result.labels is not None:
            parts.append(f"taken for: {result.labels[row].replace('_', ' ')}")
        if result.confidence is not None:
            parts.append(f"the model is {in_words(float(result.confidence[row]))}")
        said.setdefault("; ".join(parts), []).append(row + 1)
    if set(said) == {""}:
        return []
    if len(said) == 1:
        return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in said]
    return [f"Variant {', '.join(map(str, rows))} {sentence}." for sentence, rows in said.items()]


def _given(job: Job, echoes: VisualEchoes, grids: TokenGrids, photograph: str) -> str:
    result, parts = job.result, []
    assert result is not None
    if "image" in job.task.given and result.images is not None:
        small, film = _image(result.images[0], "what the model sees"), grids.film(echoes, job, "image", 0)
        if photograph:
            parts.append(f'<img class="photograph" src="{photograph}" alt="the image that was given">')
        parts.append(f'<div class="pair">{small}{film}</div>')
    if "sound" in job.task.given and result.mels is not None:
        parts.append(_plot(job, echoes, grids, 0, "the sound that was given"))
    if not parts:
        return ""
    parts += [f'<p class="verdict">{escape(sentence)}</p>' for sentence in verdicts(result)]
    return f'<section class="given" aria-label="Given">{"".join(parts)}</section>'


def card(job: Job, echoes: VisualEchoes, grids: TokenGrids, row: int) -> str:
    """An item of a finished job."""
    result, status, number, parts = job.result, job.status(), row + 1, []
    assert result is not None
    if "image" not in job.task.given and result.images is not None:
        image = _image(result.images[row], f"image of variant {number}")
        parts.append(f'<div class="pair">{grids.film(echoes, job, "image", row)}{image}</div>')
    if "sound" not in job.task.given and result.mels is not None:
        parts.append(_plot(job, echoes, grids, row, f"sound of variant {number}"))
        parts.append(player(status, f"{number}.wav", f"sound of variant {number}"))
    said = [f"Seed {status.seeds[row]}."]
    if not job.task.given:
        said += verdicts(cut(result, slice(row, row + 1)))
    return f"""
<li class="card"><h3>Variant {number}</h3>
{"".join(parts)}<p class="note known">{grids.known(job, row)}</p>{links(status, number)}
<p class="note">{escape(" ".join(said))}</p>
</li>"""


def _image(pixels: np.ndarray, name: str) -> str:
    return f'<img class="image" src="{data_uri("image/png", coloured_png(pixels))}" alt="{escape(name)}">'


def _plot(job: Job, echoes: VisualEchoes, grids: TokenGrids, row: int, name: str) -> str:
    result = job.result
    assert result is not None
    assert result.mels is not None
    assert result.audio is not None
    return Plot(
        name, echoes.layout, result.mels[row], result.audio[row], above=grids.film(echoes, job, "audio", row)
    ).html()


def player(status: JobStatus, name: str, said: str) -> str:
    """A player of a file, which it takes from the API."""
    return f'<audio controls preload="metadata" src="{address(status, name)}" aria-label="{escape(said)}"></audio>'


def links(status: JobStatus, number: int) -> str:
    """Links that save the files of a variant, as HTML."""
    names = [name for name in status.files if name.startswith(f"{number}.")]
    return f'<p class="downloads">{"".join(_link(status, name) for name in names)}</p>'


def address(status: JobStatus, name: str) -> str:
    """Where a file of a job is, seen from the page, as an attribute takes it."""
    return f"{API.removeprefix('/')}/jobs/{escape(status.id)}/files/{escape(name)}"


def _link(status: JobStatus, name: str) -> str:
    kind = name.rpartition(".")[2].upper()
    return f'<a href="{address(status, name)}" download="{saved_name(status, name)}">{kind}</a>'
