"""A job as HTML: where it is, its token grids as they fill, and what it has made.

Shapes: P positions, h x w token grid, K codes, D width, 3 colour channels.
"""

from __future__ import annotations

from html import escape
from typing import cast

import numpy as np
import torch

from visual_echoes.app.api import API
from visual_echoes.app.jobs import MASKED, Frame, Job, JobStatus
from visual_echoes.demo.page import Card, View, card, data_uri, png_bytes
from visual_echoes.layout import MODALITIES, Modality
from visual_echoes.media.drawing import filmstrip
from visual_echoes.model.confidence import in_words
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.pipeline import VisualEchoes

_GROUND = (28, 24, 38)  # of masked tokens
_DARKEST = 70  # of an unmasked token, so that it stands out from the ground
_GRID_NAMES = {"image": "Image tokens of variant {}", "audio": "Sound tokens of variant {}, time to the right"}


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


# What it has made


def cards(job: Job) -> str:
    """All items of a finished job; nothing for others."""
    status = job.status()
    if job.result is None:
        return ""
    return f'<ul class="cards">{"".join(_card(job, status, row) for row in range(len(status.seeds)))}</ul>'


def coloured_png(pixels: np.ndarray) -> bytes:
    """uint8 pixels (H, W, 1 or 3), or a video's frames side by side, as a PNG file."""
    strip_HWC = filmstrip(pixels)
    return png_bytes(np.broadcast_to(strip_HWC, (*strip_HWC.shape[:2], 3)))


def _card(job: Job, status: JobStatus, row: int) -> str:
    result, number, given = job.result, row + 1, job.task.given
    assert result is not None
    views = []
    if result.images is not None:
        views.append(View(f"image of variant {number}", "image" in given, coloured_png(result.images[row])))
    if result.mels is not None:
        wave = job.files.get(f"{number}.wav", b"")
        views.append(View(f"sound of variant {number}", "sound" in given, wave, result.mels[row]))
    sure = "" if result.confidence is None else f"; the model is {in_words(float(result.confidence[row]))}"
    return card(Card(f"Variant {number}", views, f"Seed {status.seeds[row]}{sure}."), links(status, number))


def links(status: JobStatus, number: int) -> str:
    """Links that save the files of a variant, as HTML."""
    names = [name for name in status.files if name.startswith(f"{number}.")]
    return f'<p class="downloads">{"".join(_link(status, name) for name in names)}</p>'


def address(status: JobStatus, name: str) -> str:
    """Where a file of a job is, as an attribute takes it."""
    return f"{API}/jobs/{escape(status.id)}/files/{escape(name)}"


def _link(status: JobStatus, name: str) -> str:
    number, kind = name.split(".")
    saved = f"{status.task}-seed{status.seeds[int(number) - 1]}.{kind}"
    return f'<a href="{address(status, name)}" download="{saved}">{kind.upper()}</a>'


# Its grids


class TokenGrids:
    """Draws frames, one small square a token; the colours of a model are worked out once."""

    def __init__(self) -> None:
        self._colours: dict[tuple[int, Modality], np.ndarray] = {}

    def show(self, echoes: VisualEchoes, job: Job, step: int) -> str:
        """The grids of all items after a sampling step, as HTML; nothing before the first step."""
        if not 1 <= step <= len(job.frames):
            return ""
        frame = job.frames[step - 1]
        figures = []
        for row in range(len(frame["image"])):
            images = "".join(
                f'<img class="grid" src="{self._drawn(echoes, name, frame[name][row])}" '
                f'alt="{_GRID_NAMES[name].format(row + 1)}">'
                for name in MODALITIES
            )
            caption = f"<figcaption>{escape(_unmasked(frame, row))}</figcaption>"
            figures.append(f'<figure><div class="grids">{images}</div>{caption}</figure>')
        return f'<div class="live">{"".join(figures)}</div>'

    def _drawn(self, echoes: VisualEchoes, name: Modality, tokens_P: np.ndarray) -> str:
        key = id(echoes), name
        if key not in self._colours:
            self._colours[key] = code_colours(echoes, name)
        if name == "audio":
            tokens_hw = tokens_P.reshape(echoes.layout.audio_grid)[::-1]  # low frequencies at the bottom
        else:
            tokens_hw = np.concatenate(tokens_P.reshape(-1, *echoes.layout.image_grid), axis=1)  # frames side by side
        return data_uri("image/png", png_bytes(draw_grid(tokens_hw, self._colours[key])))


def code_colours(echoes: VisualEchoes, modality: Modality) -> np.ndarray:
    """A colour for each code, uint8 (K, 3): codes that the transformer holds alike look alike.

    They are the first three principal components of the token embeddings, each spread evenly by rank.
    """
    transformer = cast(EchoTransformer, echoes.codec.part("transformer"))
    table_KD = transformer.codes_of((modality, 0)).detach().double().cpu()
    components_K3 = torch.linalg.svd(table_KD - table_KD.mean(0), full_matrices=False).U[:, :3]
    rank_K3 = components_K3.argsort(0).argsort(0).double() / max(1, len(table_KD) - 1)
    return (_DARKEST + rank_K3 * (255 - _DARKEST)).round().to(torch.uint8).numpy()


def draw_grid(tokens_hw: np.ndarray, colours_K3: np.ndarray) -> np.ndarray:
    """The tokens as pixels, uint8 (h, w, 3); masked ones are dark."""
    pixels_hw3 = colours_K3[np.maximum(tokens_hw, 0)]
    return np.where((tokens_hw == MASKED)[..., None], np.array(_GROUND, np.uint8), pixels_hw3)


def _unmasked(frame: Frame, row: int) -> str:
    known = sum(int((tokens_BP[row] != MASKED).sum()) for tokens_BP in frame.values())
    return f"{known} of {sum(tokens_BP.shape[1] for tokens_BP in frame.values())} tokens"
