"""What page and API can ask for: a form for each task, which checks its fields, reads its files and makes the task.

Shapes: H rows, W columns, h x w token grid.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from fastapi import UploadFile
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from visual_echoes.app.jobs import Job
from visual_echoes.app.limits import MAX_CANDIDATES, MAX_STEPS, MAX_UPLOAD_BYTES, MAX_VARIANTS, MIN_SECONDS, MIX_DB
from visual_echoes.app.long import LongSound
from visual_echoes.app.service import Service
from visual_echoes.app.tasks import Items, Kind, Method, Task
from visual_echoes.app.timeline import small_frames
from visual_echoes.app.uploads import kept, read_file, shown_name
from visual_echoes.errors import EchoesError
from visual_echoes.inputs import FittedImage, fit_length, fitted_image, read_heard
from visual_echoes.layout import Layout
from visual_echoes.media import media_kind, read_image
from visual_echoes.media.remux import check_copy, video_seconds
from visual_echoes.model.settings import optional_fields
from visual_echoes.paths import shown
from visual_echoes.pipeline import MAX_SEED, PairOrder
from visual_echoes.regions import audio_positions, image_positions

SAMPLING_LIMITS = {"steps": MAX_STEPS, "residual_steps": MAX_STEPS, "best_of": MAX_CANDIDATES}
_FORMER = {"picture": "image"}  # fields, and values of `side`, by the name they had
_SAMPLING: type[BaseModel] = create_model("Sampling", **optional_fields(**SAMPLING_LIMITS))

Side = Literal["image", "sound", "both"]


# Forms

_LABEL: Any = Field(default=None, max_length=64, description="what is to be seen and heard, of a model with labels")


class JobForm(_SAMPLING, ABC):  # type: ignore[misc, valid-type]
    """What all tasks take; what is left out is the model's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="a name from /api/v1/models; the first of them if left out")
    seed: int = Field(
        default=0, ge=0, le=MAX_SEED - MAX_VARIANTS, description="of the first variant; the next ones count up from it"
    )
    count: int = Field(default=1, ge=1, le=MAX_VARIANTS, description="variants")

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = {name if _FORMER.get(name) in values else _FORMER.get(name, name): v for name, v in values.items()}
        return {name: _FORMER.get(v, v) if name == "side" else v for name, v in values.items()}

    @classmethod
    def of(cls, **values: Any) -> Self:
        """A form with what a person has set; `EchoesError` says in a sentence what cannot be."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise EchoesError(in_a_sentence(error.errors()[0])) from error

    def submit(self, service: Service) -> Job:
        """Have the files read and put the task in the queue."""
        return service.submit(self.model, lambda echoes: self.task(echoes.layout))

    @abstractmethod
    def task(self, layout: Layout) -> Task:
        """The task, its files read and fitted to a model's layout."""

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling settings that are named."""
        return self.model_dump(include=set(_SAMPLING.model_fields), exclude_none=True)

    def _items(self, method: Method, inputs: Sequence[Any] | None = None, **arguments: Any) -> Items:
        """Every variant as an item of its own, which other requests' items can join."""
        return Items(method, range(self.seed, self.seed + self.count), {**self.sampling, **arguments}, inputs)


class SoundForm(JobForm):
    """A sound for an image, or one as long as a video, which comes back with it."""

    image: UploadFile = Field(description="an image, or a video; how long one may be is said at the top")
    label: str | None = _LABEL
    seconds: float | None = Field(
        default=None, ge=MIN_SECONDS, allow_inf_nan=False,
        description="length of an image's sound; the model's own if left out",
    )  # fmt: skip
    mix_db: float | None = Field(
        default=None, ge=MIX_DB[0], le=MIX_DB[1],
        description="level at which a video's own sound stays beneath, in dB; not at all if left out",
    )  # fmt: skip

    def task(self, layout: Layout) -> Task:
        image = read_file(self.image, partial(_image_of, layout=layout))
        if image is None:
            return self._for_video()
        if self.mix_db is not None:
            raise EchoesError(f"{shown_name(self.image.filename)} is an image, without a sound; leave out mix_db.")
        if self.seconds is not None:
            return self._long(image, self.seconds)
        made = self._items("image_to_audio", [image] * self.count, label=self.label, confidence=True)
        return Task("sound", made, frozenset({"image"}), {"source": shown_name(self.image.filename)})

    def _for_video(self) -> Task:
        """A task that holds the video until it is over."""
        name = shown_name(self.image.filename)
        if self.seconds is not None:
            raise EchoesError(f"{name} is a video, whose sound is as long as it is; leave out seconds.")
        with ExitStack() as stack:
            video = stack.enter_context(kept(self.image))
            size = video.path.stat().st_size * self.count
            if size > MAX_UPLOAD_BYTES:
                raise EchoesError(
                    f"{self.count} variants of {name} have {size / 1024**2:.0f} MB, more than the "
                    f"{MAX_UPLOAD_BYTES / 1024**2:g} MB of a job; ask for fewer."
                )
            seconds = read_file(video, partial(_video_length, own_sound=self.mix_db is not None))
            task = self._long(video.path, seconds, self.mix_db, read_file(video, self._frames))
            return replace(task, held=stack.pop_all())

    def _long(
        self,
        source: Path | FittedImage,
        seconds: float,
        mix_db: float | None = None,
        frames: Sequence[Image.Image] = (),
    ) -> Task:
        seeds, settings = range(self.seed, self.seed + self.count), {"label": self.label, **self.sampling}
        name = shown_name(self.image.filename)
        return Task("sound", LongSound(source, name, seconds, seeds, settings, mix_db, frames))

    def _frames(self, video: Path) -> Sequence[Image.Image]:
        """What is to be seen of a video while its sound is made."""
        return ()


class WatchedForm(SoundForm):
    """As the page makes the sound of a video: with frames to look at."""

    def _frames(self, video: Path) -> Sequence[Image.Image]:
        return small_frames(video)


class PictureForm(JobForm):
    """An image for a sound."""

    sound: UploadFile
    label: str | None = _LABEL

    def task(self, layout: Layout) -> Task:
        wave = fit_length(_heard(self.sound, layout), layout)
        waves = [(wave, layout.sample_rate)] * self.count
        made = self._items("audio_to_image", waves, label=self.label, confidence=True)
        return Task("picture", made, frozenset({"sound"}), {"source": shown_name(self.sound.filename)})


class PairForm(JobForm):
    """Image and sound from nothing."""

    pair_order: PairOrder = "together"
    label: str | None = _LABEL

    def task(self, layout: Layout) -> Task:
        made = self._items("generate_pair", pair_order=self.pair_order, label=self.label)
        return Task("pair", made, details={"pair_order": self.pair_order})


class EditForm(JobForm):
    """What the tasks take that change an image, a sound, or both; the one that is not given is made for the other."""

    image: UploadFile | None = None
    sound: UploadFile | None = None

    def _fitted(self, layout: Layout) -> np.ndarray | None:
        return None if self.sound is None else fit_length(_heard(self.sound, layout), layout)

    def _inpainting(
        self,
        name: str,
        layout: Layout,
        wave: np.ndarray | None,
        image_mask: np.ndarray | None,
        audio_mask: Sequence[tuple[float, float]],
    ) -> Task:
        """Fill what is masked: pixels, bool (H, W), and stretches of the wave from and to seconds."""
        arguments = {
            "image": None if self.image is None else read_file(self.image, partial(fitted_image, layout=layout)),
            "audio": None if wave is None else (wave, layout.sample_rate), "image_mask": image_mask,
            "audio_mask": audio_mask, "count": self.count, "batch_size": self.count, "seed": self.seed, **self.sampling,
        }  # fmt: skip
        source = ", ".join(shown_name(sent.filename) for sent in (self.image, self.sound) if sent is not None)
        same: dict[Kind, bool] = {
            "image": self.image is not None and not image_positions(image_mask, layout).any(),
            "sound": self.sound is not None and not audio_positions(audio_mask, layout).any(),
        }
        given = frozenset(kind for kind, unchanged in same.items() if unchanged)
        return Task(
            name, lambda echoes, progress: echoes.inpaint(progress=progress, **arguments), given, {"source": source}
        )


class FillForm(EditForm):
    """Parts of an image, of a sound, or of both, inpainted."""

    mask: UploadFile | None = Field(
        default=None, description="an image as large as `image`; what is not black in it is inpainted"
    )
    start: float | None = Field(default=None, description="seconds of the fitted sound from which it is inpainted")
    end: float | None = Field(default=None, description="seconds up to which it is; to the end if left out")

    def task(self, layout: Layout) -> Task:
        if self.start is None and self.end is not None:
            raise EchoesError("There is an end without a start; give both, or the start alone.")
        audio_mask = [] if self.start is None else [(self.start, math.inf if self.end is None else self.end)]
        image_mask = self._image_mask(layout)
        marked = image_positions(image_mask, layout).any(), audio_positions(audio_mask, layout).any()
        if not any(marked):
            raise EchoesError("Nothing is marked; mark the part of the image or of the sound that is to be inpainted.")
        if (marked[0] and self.image is None) or (marked[1] and self.sound is None):
            raise EchoesError("A part is marked of something that is not given; give the image or sound it belongs to.")
        return self._inpainting("fill", layout, self._fitted(layout), image_mask, audio_mask)

    def _image_mask(self, layout: Layout) -> np.ndarray | None:
        return None if self.mask is None else read_file(self.mask, _not_black)


class PaintedForm(FillForm):
    """As the page fills: token by token of the image."""

    painted: tuple[int, ...] = ()

    def _image_mask(self, layout: Layout) -> np.ndarray | None:
        return np.isin(np.arange(layout.image_tokens), self.painted).reshape(layout.image_grid)


class ContinueForm(EditForm):
    """The end of a sound, and what may come after it; without an image, one is made along with it."""

    sound: UploadFile
    keep: float = Field(description="seconds of the sound's end that the result begins with")

    def task(self, layout: Layout) -> Task:
        if not 0 < self.keep < layout.seconds:
            raise EchoesError(
                f"{self.keep:g} seconds cannot be kept of a sound of {layout.seconds:g}; keep less, but more than 0."
            )
        tail = _heard(self.sound, layout)[-max(1, round(self.keep * layout.sample_rate)) :]
        wave = np.pad(tail, (0, layout.clip_samples - len(tail)))
        return self._inpainting("continue", layout, wave, None, [(len(tail) / layout.sample_rate, math.inf)])


class VaryForm(EditForm):
    """A part of the tokens of an image and a sound, chosen by the seed, inpainted."""

    side: Side = Field(default="both", description="what is varied")
    share: float = Field(default=0.5, gt=0, le=1, description="how much of it")

    def task(self, layout: Layout) -> Task:
        if (self.image is None and self.side != "sound") or (self.sound is None and self.side != "image"):
            raise EchoesError("What is to be varied is missing; give the image, the sound, or both.")
        noise = np.random.default_rng(self.seed)
        mask_hw = None
        if self.side != "sound":
            mask_hw = _some(noise, layout.image_tokens, self.share).reshape(layout.image_grid)
        columns_w = _some(noise, layout.audio_grid[1], self.share) if self.side != "image" else np.zeros(0, bool)
        # The middle of each chosen column of sound tokens, in seconds of the fitted sound.
        token = layout.audio_factor[1] * layout.hop / layout.sample_rate
        first = layout.sound_start
        stretches = [
            (first + (column + 0.25) * token, first + (column + 0.75) * token) for column in np.flatnonzero(columns_w)
        ]
        return self._inpainting("vary", layout, self._fitted(layout), mask_hw, stretches)


FORMS: dict[str, type[JobForm]] = {
    "sound": SoundForm, "picture": PictureForm, "pair": PairForm, "fill": FillForm, "continue": ContinueForm,
    "vary": VaryForm,
}  # fmt: skip


def in_a_sentence(problem: Any) -> str:
    """What pydantic finds wrong with a value."""
    name = ".".join(shown(str(part)) for part in problem["loc"] if part != "body")
    if "UploadFile" in problem["msg"]:  # in FastAPI's words
        return f"The value of {name} cannot be used: it is text; send a file, with a name."
    return f"The value of {name or 'the request'} cannot be used: {problem['msg']}."


def _heard(sound: UploadFile, layout: Layout) -> np.ndarray:
    return read_file(sound, partial(read_heard, layout=layout))


def _image_of(path: Path, layout: Layout) -> FittedImage | None:
    """An image as the model takes it; None for a video."""
    return None if media_kind(path) == "video" else fitted_image(path, layout)


def _video_length(path: Path, own_sound: bool) -> float:
    """Seconds of a video that can come back with a sound; `EchoesError` for others."""
    check_copy(path, own_sound)
    return video_seconds(path)[1]


def _not_black(path: Path) -> np.ndarray:
    return np.asarray(read_image(path).convert("L")) > 0


def _some(noise: np.random.Generator, positions: int, share: float) -> np.ndarray:
    """A share of the positions, at least one of them; bool (positions,)."""
    chosen = np.zeros(positions, bool)
    chosen[noise.permutation(positions)[: max(1, round(share * positions))]] = True
    return chosen
