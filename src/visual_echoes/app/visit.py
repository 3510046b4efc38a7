"""What a visitor has made so far: to look at again, to vary with one click, to save as a whole.

Shapes: S pixels of a side, C colour channels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr
import numpy as np
import soundfile
from fastapi import UploadFile
from PIL import Image, ImageOps

from visual_echoes.app.api import ZIP, saved_name
from visual_echoes.app.forms import Side, VaryForm
from visual_echoes.app.jobs import Job
from visual_echoes.app.limits import MAX_SHOWN
from visual_echoes.app.long import LongSound
from visual_echoes.app.long_views import long_card
from visual_echoes.app.panel import Common, Panel
from visual_echoes.app.views import card, coloured, coloured_png, problem
from visual_echoes.app.widgets import QUIET
from visual_echoes.errors import EchoesError
from visual_echoes.media.drawing import spectrogram

SHARE = 0.5  # of the tokens that a variation makes anew
_MADE = {"picture": "image", "fill": "filled", "continue": "continued", "vary": "varied"}  # by task
THUMBNAIL = 128  # pixels of each half


@dataclass(frozen=True)
class Seen:
    """What a visitor's page knows, as a state that nobody else can read.

    Attributes:
        jobs: ids, oldest first.
        items: which of their items the gallery shows, in its order: a job's id and a row.
        chosen: index in the gallery.
    """

    jobs: tuple[str, ...] = ()
    items: tuple[tuple[str, int], ...] = ()
    chosen: int = 0


class Visit:
    """The gallery, and what can be done with an item of it."""

    def __init__(self, common: Common) -> None:
        self._common, self._service = common, common.service
        self._seen = gr.State(Seen())
        with gr.Column(visible=False) as self._all:
            self._gallery = gr.Gallery(
                label="Made in this visit; click one to see it again", columns=6, fit_columns=False, height="auto",
                allow_preview=False, object_fit="contain", interactive=False, buttons=[], elem_classes="visit",
            )  # fmt: skip
            self._card = gr.HTML()
            self.panel = Panel(common, "vary", "Vary it")
            self._save = gr.Button("Download all as ZIP", link_target="_self")
        self.panel.connect([self._seen], self._vary)
        self._gallery.select(self._choose, self._seen, [self._seen, self._card], **QUIET)

    def follow(self, panel: Panel) -> None:
        """Have the gallery take in what a panel's jobs have made."""
        outputs = [self._seen, self._all, self._gallery, self._card, self._save]
        panel.over.then(self._add, [self._seen, panel.job], outputs, **QUIET)

    def _vary(self, asked: dict[str, Any], given: Sequence[Any]) -> VaryForm:
        """A variation of the chosen item: of what was made, not of what was given."""
        (seen,) = given
        if not seen.items:
            raise EchoesError("Nothing is made yet.")
        name, row = seen.items[seen.chosen]
        job = self._service.job(name)
        pixels, rate, wave = item(job, row)
        side: Side = "sound" if "image" in job.task.given else "image" if "sound" in job.task.given else "both"
        status, number = job.status(), row + 1
        sound = io.BytesIO()
        soundfile.write(sound, wave, rate, format="WAV")
        sound.seek(0)
        asked |= {"model": job.model}
        form = VaryForm.of(
            **asked, side=side, share=SHARE,
            image=UploadFile(io.BytesIO(coloured_png(pixels)), filename=saved_name(status, f"{number}.png")),
            sound=UploadFile(sound, filename=saved_name(status, f"{number}.wav")),
        )  # fmt: skip
        # Each click makes another one.
        return form.model_copy(update={"seed": form.seed + len(seen.jobs)})

    def _add(self, seen: Seen, name: str | None) -> list[Any]:
        if name is None or name in seen.jobs:
            return [seen, gr.skip(), gr.skip(), gr.skip(), gr.skip()]
        names = [*seen.jobs, name]
        jobs = [job for job in map(self._service.find, names) if job is not None and job.files]
        items = [(job, row) for job in reversed(jobs) for row in range(len(job.status().seeds))][:MAX_SHOWN]
        shown = {job.id: job for job, _ in reversed(items)}
        gallery = [(thumbnail(job, row), _caption(job, row)) for job, row in items]
        link = f"{ZIP.removeprefix('/')}?{urlencode({'job': list(shown)}, doseq=True)}"
        now = Seen(tuple(shown), tuple((job.id, row) for job, row in items))
        return [
            now, gr.Column(visible=bool(items)), gr.Gallery(gallery, selected_index=0), "",
            gr.Button(link=link, link_target="_self"),
        ]  # fmt: skip

    def _choose(self, seen: Seen, event: gr.SelectData) -> list[Any]:
        if event.index not in range(len(seen.items)):
            raise EchoesError("There is no such result.")
        name, row = seen.items[event.index]
        try:
            job = self._service.job(name)
        except EchoesError as error:
            return [seen, problem(str(error))]
        echoes, made = self._service.model(job.model), job.task.make
        if isinstance(made, LongSound):
            shown = long_card(job, made, echoes.layout, row + 1)
        else:
            shown = card(job, echoes, self._common.grids, row)
        return [replace(seen, chosen=event.index), f'<ul class="cards">{shown}</ul>']


def item(job: Job, row: int) -> tuple[np.ndarray, int, np.ndarray]:
    """An item's image, uint8 (H, W, C) or of a video (F, H, W, C), the rate of its sound, and the sound."""
    result = job.result
    if result is None or result.images is None or result.audio is None:
        raise EchoesError("The sound of a video is not varied token by token; make it again with another seed.")
    return result.images[row], result.sample_rate, result.audio[row]


def thumbnail(job: Job, row: int) -> np.ndarray:
    """An item's image beside its spectrogram, uint8 (S, 2 S, C); of a long sound the middles of its video's frames."""
    made, result, square = job.task.make, job.result, (THUMBNAIL, THUMBNAIL)
    halves = []
    if isinstance(made, LongSound):
        frames = (*made.frames[:1], *made.frames[-1:])
        halves = [ImageOps.fit(frame, square) for frame in frames]
    elif result is not None and result.images is not None and result.mels is not None:
        shown = (coloured(result.images[row]), spectrogram(result.mels[row]))
        halves = [Image.fromarray(half).resize(square, Image.Resampling.NEAREST) for half in shown]
    sheet = Image.new("RGB", (2 * THUMBNAIL, THUMBNAIL))
    for number, half in enumerate(halves):
        sheet.paste(half, (number * THUMBNAIL, 0))
    return np.asarray(sheet)


def _caption(job: Job, row: int) -> str:
    status = job.status()
    return f"{_MADE.get(status.task, status.task)}, seed {status.seeds[row]}"
