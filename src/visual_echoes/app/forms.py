"""What the HTTP API takes for each task: one form, of which nothing is ignored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from fastapi import Request, UploadFile
from pydantic import Field

from visual_echoes.app import tasks
from visual_echoes.app.jobs import Job, Task
from visual_echoes.app.service import Service
from visual_echoes.app.tasks import Options, Side
from visual_echoes.app.uploads import Upload, shown_name, stored
from visual_echoes.errors import EchoesError
from visual_echoes.layout import Layout
from visual_echoes.media import read_image
from visual_echoes.paths import shown
from visual_echoes.pipeline import PairOrder

_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


async def only_a_form(request: Request) -> None:
    """Refuse a request for a job of which something would be ignored, or taken for something else.

    Raises:
        EchoesError: settings in the address, a body that is no form, or a field that is sent more than once.
    """
    if request.url.query:
        raise EchoesError("Settings in the address are not read; send them as fields of a form (multipart/form-data).")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORMS and (kind or not await _is_empty(request)):
        raise EchoesError(f"A body of type {shown(kind) or 'unknown'} is not read; send a form (multipart/form-data).")
    names = [name for name, _ in (await request.form()).multi_items()] if kind else []
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EchoesError(f"The field {shown(twice)} is sent {names.count(twice)} times; send each field once.")


async def _is_empty(request: Request) -> bool:
    async for piece in request.stream():
        if piece:
            return False
    return True


class JobForm(Options, ABC):
    """What all tasks take."""

    model: str | None = Field(default=None, description="a name from /api/v1/models; the first of them if left out")

    def submit(self, service: Service) -> Job:
        """Store the files, have them read and put the task in the queue; nothing stays stored."""
        with ExitStack() as stack:
            build = self._task(stack)
            return service.submit(self.model, lambda echoes: build(echoes.layout))

    def task(self, layout: Layout) -> Task:
        """Store the files and have them read, for a model's layout; nothing stays stored."""
        with ExitStack() as stack:
            return self._task(stack)(layout)

    @property
    def options(self) -> Options:
        return Options(**{name: getattr(self, name) for name in Options.model_fields})

    @abstractmethod
    def _task(self, stack: ExitStack) -> Callable[[Layout], Task]:
        """How to read what was stored and make a task of it, for a model's layout."""


class SoundForm(JobForm):
    """A sound for a image."""

    picture: UploadFile

    def _task(self, stack: ExitStack) -> Callable[[Layout], Task]:
        picture = _stored(stack, self.picture)
        return lambda layout: tasks.sound_task(layout, self.options, picture)


class ImageForm(JobForm):
    """An image for a sound."""

    sound: UploadFile

    def _task(self, stack: ExitStack) -> Callable[[Layout], Task]:
        sound = _stored(stack, self.sound)
        return lambda layout: tasks.image_task(layout, self.options, sound)


class PairForm(JobForm):
    """Image and sound from nothing."""

    pair_order: PairOrder = "together"

    def _task(self, stack: ExitStack) -> Callable[[Layout], Task]:
        return lambda layout: tasks.pair_task(self.options, self.pair_order)


class FillForm(JobForm):
    """Parts of an image, of a sound, or of both, made anew."""

    picture: UploadFile | None = None
    sound: UploadFile | None = None
    mask: UploadFile | None = Field(
        default=None, description="an image as large as `picture`; what is not black in it is made anew"
    )
    start: float | None = Field(default=None, description="seconds of the fitted sound from which it is made anew")
    end: float | None = Field(default=None, description="seconds up to which it is; to the end if left out")

    def _task(self, stack: ExitStack) -> Callable[[Layout], Task]:
        picture, sound = _optional(stack, self.picture), _optional(stack, self.sound)
        mask = _optional(stack, self.mask)
        if self.start is None and self.end is not None:
            raise EchoesError("There is an end without a start; give both, or the start alone.")
        stretch = None if self.start is None else (self.start, np.inf if self.end is None else self.end)
        return lambda layout: tasks.fill_task(
            layout, self.options, picture, sound, None if mask is None else mask.read(_mask), stretch
        )


class ContinueForm(JobForm):
    """The end of a sound, and what may come after it."""

    picture: UploadFile | None = None
    sound: UploadFile
    keep: float = Field(description="seconds of the sound's end that the result begins with")

    def _task(self, stack: ExitStack) -> Callable[[Layout], Task]:
        picture, sound = _optional(stack, self.picture), _stored(stack, self.sound)
        return lambda layout: tasks.continue_task(layout, self.options, picture, sound, self.keep)


class VaryForm(JobForm):
    """A part of an image and a sound, chosen by the seed, made anew."""

    picture: UploadFile | None = None
    sound: UploadFile | None = None
    side: Side = Field(default="both", description="what is varied")
    share: float = Field(default=0.5, gt=0, le=1, description="how much of it")

    def _task(self, stack: ExitStack) -> Callable[[Layout], Task]:
        picture, sound = _optional(stack, self.picture), _optional(stack, self.sound)
        return lambda layout: tasks.vary_task(layout, self.options, picture, sound, self.side, self.share)


def _stored(stack: ExitStack, file: UploadFile) -> Upload:
    return stack.enter_context(stored(file.file, shown_name(file.filename)))


def _optional(stack: ExitStack, file: UploadFile | None) -> Upload | None:
    return None if file is None else _stored(stack, file)


def _mask(path: Path) -> np.ndarray:
    return np.asarray(read_image(path).convert("L")) > 0
