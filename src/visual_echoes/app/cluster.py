"""Many machines: sounds for images, and images for sounds, as a deployment of Ray Serve.

Each replica holds the model and makes in one batch what reaches it at the same time. A request is answered with what
was made, as a job would be known to one replica alone. Sounds of videos are made window by window, in turns with the
batches.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, FastAPI, Form, Response
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from starlette.types import ASGIApp

from visual_echoes.app.api import API, only_a_form, say_problems
from visual_echoes.app.archive import zipped
from visual_echoes.app.forms import JobForm, PictureForm, SoundForm
from visual_echoes.app.gate import LOOPBACK_NAMES, Gate
from visual_echoes.app.jobs import Cancelled
from visual_echoes.app.limits import BATCH_DELAY, BATCH_ITEMS, LONGEST_SOUND, MAX_VARIANTS, MAX_WAITING, MIN_TOKEN
from visual_echoes.app.long import LongSound, check_length
from visual_echoes.app.tasks import Items, Task, along, cut, item_files, join
from visual_echoes.app.turns import Line, Turn
from visual_echoes.errors import EchoesError
from visual_echoes.model.precision import Wanted
from visual_echoes.paths import shown
from visual_echoes.pipeline import DEFAULT_MODEL, VisualEchoes

BATCH_HEADER = "x-batch-items"  # how many variants were made at once, those of other requests included


class ClusterSettings(BaseModel):
    """What is deployed.

    Attributes:
        model: a folder that all machines see, a packaged model or a hub repository.
        device, precision: of each replica, as `VisualEchoes.from_pretrained` takes them.
        gpus: GPUs of each replica; may be a fraction.
        replicas: copies of the model.
        batch_items: variants that a replica makes at once; no fewer than a request may ask for.
        batch_delay: seconds that a request waits for others to be made along with it.
        longest: seconds of sound that one request may have made window by window.
        token: what visitors show as a bearer token; without one, replicas answer to the names of this machine alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = DEFAULT_MODEL
    device: str = "auto"
    precision: Wanted = "auto"
    gpus: float = Field(default=0, ge=0)
    replicas: int = Field(default=1, ge=1)
    batch_items: int = Field(default=BATCH_ITEMS, ge=MAX_VARIANTS)
    batch_delay: float = Field(default=BATCH_DELAY, ge=0, le=10)
    longest: float = Field(default=LONGEST_SOUND, gt=0, allow_inf_nan=False)
    token: str | None = Field(default=None, min_length=MIN_TOKEN)


class Made(NamedTuple):
    """What one request gets: files by name, and how many items the batch had."""

    files: dict[str, bytes]
    batch: int


def application(arguments: Mapping[str, Any]) -> serve.Application:
    """What `serve run visual_echoes.app.cluster:application` deploys.

    Args:
        arguments: what of `ClusterSettings` is not as it is by itself; on the command line NAME=VALUE.

    Raises:
        ValidationError: there is no such setting, or it cannot have this value.
    """
    settings = ClusterSettings.model_validate(arguments)
    deploy = serve.deployment(
        name="Echoes", num_replicas=settings.replicas, ray_actor_options={"num_gpus": settings.gpus},
        max_ongoing_requests=2 * settings.batch_items, max_queued_requests=MAX_WAITING,
    )  # fmt: skip
    return deploy(serve.ingress()(Replica)).bind(settings)


def _count(tasks: list[Task]) -> int:
    return sum(len(task.make.seeds) for task in tasks if isinstance(task.make, Items))


class Replica:
    """The model, and the routes of two tasks before it.

    Raises:
        EchoesError: the model cannot be loaded.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings, self._name = settings, Path(settings.model).resolve().name
        self._echoes = VisualEchoes.from_pretrained(
            settings.model, device=settings.device, precision=settings.precision
        )
        self._reading = asyncio.Lock()  # files are decoded one at a time, which bounds the memory it takes
        self._one_long, self._line = asyncio.Lock(), Line()
        self._make.set_max_batch_size(settings.batch_items)
        self._make.set_batch_wait_timeout_s(settings.batch_delay)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The routes behind the gate; Ray Serve asks for it."""
        api = FastAPI(title="Visual Echoes", openapi_url=f"{API}/openapi.json", docs_url=None, redoc_url=None)
        say_problems(api)
        for route in (self.sound, self.picture):
            api.post(f"{API}/{route.__name__}", response_class=Response, dependencies=[Depends(only_a_form)])(route)
        token = self._settings.token
        return Gate(api, names=LOOPBACK_NAMES if token is None else None, token=token, has_room=lambda: True)

    async def sound(self, form: Annotated[SoundForm, Form(media_type="multipart/form-data")]) -> Response:
        """Sounds for an image or a video, as a ZIP file of WAV and MP4 files."""
        return await self._answer(form)

    async def picture(self, form: Annotated[PictureForm, Form(media_type="multipart/form-data")]) -> Response:
        """Images for a sound, as a ZIP file of PNG and MP4 files."""
        return await self._answer(form)

    async def _answer(self, form: JobForm) -> Response:
        if form.model not in (None, self._name):
            raise EchoesError(f"There is no model '{shown(form.model or '')}' here; choose {self._name}.")
        async with self._reading:
            task = await asyncio.to_thread(form.task, self._echoes.layout)
        headers = {"cache-control": "private, no-store"}
        if isinstance(task.make, LongSound):
            with task.held:
                check_length(task.make.name, task.make.seconds, len(task.make.seeds), self._settings.longest)
                files = await self._make_long(task.make)
        else:
            made = await self._make(task)
            files, headers[BATCH_HEADER] = made.files, str(made.batch)
        return Response(b"".join(zipped(files.items())), media_type="application/zip", headers=headers)

    async def _make_long(self, sound: LongSound) -> dict[str, bytes]:
        """Its files, with a turn for each window; a visitor who leaves ends it after the window."""
        gone = threading.Event()

        def make() -> dict[str, bytes]:
            with Turn(self._line) as turn:

                def watch(_: int, done: int, windows: int) -> None:
                    turn.end()
                    if gone.is_set():
                        raise Cancelled
                    if done < windows:
                        turn.begin()

                return sound.make(self._echoes, watch, lambda *_: None)

        async with self._one_long:
            making = asyncio.ensure_future(asyncio.to_thread(make))
            try:
                return await asyncio.shield(making)
            except asyncio.CancelledError:
                gone.set()
                await asyncio.gather(making, return_exceptions=True)  # what it reads must stay until then
                raise

    @serve.batch(batch_size_fn=_count)  # type: ignore[untyped-decorator]
    async def _make(self, tasks: list[Task]) -> list[Made]:
        return await asyncio.to_thread(self._make_all, tasks)  # requests are taken meanwhile

    def _make_all(self, tasks: list[Task]) -> list[Made]:
        """Each task's files; tasks that are alike are made together."""
        made: dict[int, Made] = {}
        left = list(range(len(tasks)))
        while left:
            together = along([tasks[number].make for number in left], self._echoes.defaults, self._settings.batch_items)
            chosen = [left[index] for index in together]
            make, rows = join([make for number in chosen if not isinstance(make := tasks[number].make, LongSound)])
            with Turn(self._line) as turn:
                turn.begin()
                result = make(self._echoes, lambda *_: None)
            for number, own in zip(chosen, rows, strict=True):
                files = item_files(self._echoes, tasks[number], cut(result, own))
                made[number] = Made(files, len(result.seeds))
            left = [number for number in left if number not in made]
        return [made[number] for number in range(len(tasks))]
