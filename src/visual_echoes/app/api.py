"""The HTTP API under /api/v1: a job for each request, its progress as it goes, its files for a while."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from visual_echoes import __version__
from visual_echoes.app.archive import zipped
from visual_echoes.app.forms import FORMS, JobForm, in_a_sentence
from visual_echoes.app.jobs import Job, JobStatus
from visual_echoes.app.limits import MAX_SHOWN, MAX_WAITING
from visual_echoes.app.service import Busy, Service, UnknownJob, follow
from visual_echoes.errors import EchoesError
from visual_echoes.machine import peak_memory
from visual_echoes.paths import shown

if TYPE_CHECKING:
    from prometheus_client import Metric

API = "/api/v1"
ZIP = f"{API}/zip"
RETRY_SECONDS = 30  # advised to those who find the queue full
_BINARY = {"type": "string", "format": "binary"}
_FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
_METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"
_MEDIA_TYPES = {".png": "image/png", ".wav": "audio/wav", ".mp4": "video/mp4", ".mkv": "video/matroska"}
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")  # one part of a file (RFC 9110, section 14.1.2)


class Problem(BaseModel):
    """What is wrong, and what to do about it."""

    detail: str


class Health(BaseModel):
    """Whether jobs are worked on, and how many wait."""

    alive: bool
    waiting: int


class ModelNames(BaseModel):
    """The models that may be asked for; the first is used where none is named."""

    models: tuple[str, ...]


class ModelView(BaseModel):
    """What a model takes and gives.

    Attributes:
        image_grid: rows and columns of image tokens.
        audio_grid: rows (frequency) and columns (time) of sound tokens.
        sampling: its own settings.
    """

    name: str
    version: str
    image_size: int
    seconds: float
    sample_rate: int
    image_grid: tuple[int, int]
    audio_grid: tuple[int, int]
    sampling: dict[str, Any]


class Grids(BaseModel):
    """The tokens after a sampling step, one list an item, row by row; -1 where one is masked."""

    done: int
    image: list[list[int]]
    audio: list[list[int]]


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _job(job: str, service: TheService) -> Job:
    return service.job(job)


TheService = Annotated[Service, Depends(_service)]
TheJob = Annotated[Job, Depends(_job)]


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem} for status in statuses}


def _problems_as_json(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For routes whose other answers are no JSON, which FastAPI would describe their problems as."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {status: {"content": {"application/json": {"schema": schema}}} for status in statuses}


server = APIRouter(tags=["server"])
models = APIRouter(prefix=f"{API}/models", tags=["models"], responses=_problems(401))
archives = APIRouter(prefix=ZIP, tags=["jobs"], responses=_problems(401, 422))
jobs = APIRouter(prefix=f"{API}/jobs", tags=["jobs"], responses=_problems(401, 422))


def create_api(service: Service, root_path: str = "") -> FastAPI:
    """The routes, with their description at /api/v1/openapi.json; pages about it would fetch scripts from elsewhere.

    Args:
        root_path: where a proxy serves them.
    """
    api = FastAPI(
        title="Visual Echoes", version=__version__, openapi_url=f"{API}/openapi.json", docs_url=None, redoc_url=None,
        description=f"A job makes up to {service.longest:g} seconds of sound, all variants together, for a video or "
        "where a length is asked for.", servers=[{"url": root_path}] if root_path else None,
    )  # fmt: skip
    api.state.service, api.state.root_path = service, root_path
    say_problems(api)
    for routes in (server, models, jobs, archives):
        api.include_router(routes)
    methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
    api.add_route(f"{API}/{{rest:path}}", _elsewhere, methods, include_in_schema=False)
    return api


def say_problems(api: FastAPI) -> None:
    """Have it answer what cannot be used with a `Problem`."""
    api.add_exception_handler(EchoesError, _problem)
    api.add_exception_handler(RequestValidationError, _invalid)


@server.get("/healthz", responses={503: {"model": Health}})
def health(service: TheService, response: Response) -> Health:
    """Whether the server works; needs no token."""
    response.status_code = 200 if service.alive else 503
    return Health(alive=service.alive, waiting=service.waiting)


@server.get("/metrics", response_class=Response, responses={200: {"content": {_METRICS_TYPE: {}}}, **_problems(401)})
def metrics(service: TheService) -> Response:
    """Figures for Prometheus."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(Figures(service))
    return Response(generate_latest(registry), media_type=_METRICS_TYPE)


class Figures:
    """The service's figures as prometheus_client collects them."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        """All figures, each with what it means."""
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge

        service = self.service
        jobs = Counter("echoes_jobs", "Jobs that ended, by how they did.", labels=["state"])
        for state in ("done", "failed", "cancelled"):
            jobs.add_metric([state], service.ended[state])
        yield jobs
        yield Counter("echoes_job_seconds", "Time spent on jobs.", service.seconds)
        yield Counter("echoes_batches", "Batches of jobs made together, or one alone.", service.batches)
        yield Gauge("echoes_jobs_waiting", "Jobs in the queue.", service.waiting)
        yield Gauge("echoes_jobs_waiting_limit", "Jobs that fit into the queue.", MAX_WAITING)
        yield Gauge("echoes_jobs_running", "Jobs being worked on.", service.running)
        yield Gauge("echoes_kept_bytes", "Results in memory.", service.kept_bytes)
        if (peak := peak_memory()) is not None:
            yield Gauge("echoes_peak_memory_bytes", "Largest memory the process has had.", peak)


@models.get("")
def model_names(service: TheService) -> ModelNames:
    """The models that may be asked for."""
    return ModelNames(models=service.names)


@models.get("/{name}", responses=_problems(404, 422))
def model_view(name: str, service: TheService) -> ModelView:
    """What a model takes and gives."""
    if name not in service.names:
        raise HTTPException(404, f"There is no model of this name; choose one of {', '.join(service.names)}.")
    loaded = service.model(name)
    layout = loaded.layout
    return ModelView(
        name=name, version=loaded.model.version, image_size=layout.image_size, seconds=layout.seconds,
        sample_rate=layout.sample_rate, image_grid=layout.image_grid, audio_grid=layout.audio_grid,
        sampling=loaded.defaults.model_dump(),
    )  # fmt: skip


async def only_a_form(request: Request) -> None:
    """Refuse a request for a job of which something would be ignored, or taken for something else.

    Raises:
        EchoesError: settings in the address, a body that is no form, or a field that is sent more than once.
    """
    if request.url.query:
        raise EchoesError("Settings in the address are not read; send them as fields of a form (multipart/form-data).")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORM_TYPES and (kind or not await _is_empty(request)):
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


def _accept(path: str, form: type[JobForm]) -> None:
    """Add the route of a task, which takes its form."""

    def make(service: TheService, request: Request, response: Response, form: JobForm) -> JobStatus:
        job = form.submit(service)
        response.headers["location"] = f"{request.app.state.root_path}{API}/jobs/{job.id}"
        return job.status()

    make.__annotations__["form"] = Annotated[form, Form(media_type="multipart/form-data")]
    add = jobs.post(
        path, status_code=202, description=form.__doc__, responses=_problems(400, 403, 413, 503),
        dependencies=[Depends(only_a_form)],
    )  # fmt: skip
    add(make)


for _name, _form in FORMS.items():
    _accept(f"/{_name}", _form)


@jobs.get("/{job}", responses=_problems(404))
def status(job: TheJob) -> JobStatus:
    """How far a job is."""
    return job.status()


@jobs.delete("/{job}", status_code=204, responses=_problems(403, 404))
def forget(job: TheJob, service: TheService) -> None:
    """Cancel a job and keep nothing of it."""
    service.forget(job)


@jobs.get("/{job}/events", response_class=EventSourceResponse, responses=_problems_as_json(401, 404, 422))
async def events(job: TheJob) -> AsyncIterator[ServerSentEvent]:
    """The job's `status` whenever it changes and the token `grids` of each sampling step, until it is over.

    Of a sound that is made window by window the status alone is sent, which counts windows.
    """
    shown = 0
    async for now in follow(job):
        for frame in job.frames[shown : now.done]:
            shown += 1
            grids = Grids(done=shown, image=frame["image"].tolist(), audio=frame["audio"].tolist())
            yield ServerSentEvent(event="grids", data=grids)
        yield ServerSentEvent(event="status", data=now)


@jobs.get(
    "/{job}/files/{name}",
    response_class=Response,
    responses={
        **{code: {"content": {kind: {"schema": _BINARY} for kind in _MEDIA_TYPES.values()}} for code in (200, 206)},
        **_problems(404),
        416: {"description": "The part that is asked for begins after the file's end."},
    },
)
def file(job: TheJob, name: str, request: Request) -> Response:
    """A file that a job has made, by one of the names in its status; of `Range: bytes=FIRST-LAST` that part."""
    if name not in job.files:
        raise HTTPException(404, "The job has no such file, or is not done yet; its status names its files.")
    media_type = _MEDIA_TYPES[PurePosixPath(name).suffix]
    return _part(job.files[name], request.headers.get("range", ""), media_type)


@archives.get("", response_class=Response, responses={200: {"content": {"application/zip": {}}}, **_problems(404)})
def archive(
    service: TheService, job: Annotated[list[str], Query(max_length=MAX_SHOWN, description="ids of jobs")]
) -> StreamingResponse:
    """All files of some jobs as a ZIP file; what is no longer kept is left out."""
    known = [found for name in job if (found := service.find(name)) is not None]
    files = [
        (f"{number:02}-{saved_name(found.status(), name)}", content)
        for number, found in enumerate(known, 1)
        for name, content in found.files.items()
    ]
    if not files:
        raise HTTPException(404, "Nothing is kept of these jobs any more; make it again.")
    headers = {"cache-control": "private, no-store", "content-disposition": 'attachment; filename="visual-echoes.zip"'}
    return StreamingResponse(zipped(files), media_type="application/zip", headers=headers)


def saved_name(status: JobStatus, name: str) -> str:
    """What a file of a job is called where it is saved."""
    number, kind = name.split(".")
    return f"{status.task}-seed{status.seeds[int(number) - 1]}.{kind}"


def _part(content: bytes, asked: str, media_type: str) -> Response:
    """The content, or the part of it that is asked for: players seek by that. Starlette serves parts of paths alone."""
    size, headers = len(content), {"cache-control": "private, no-store", "accept-ranges": "bytes"}
    edges = _RANGE.fullmatch(asked)
    if edges is None or not any(edges.groups()) or (all(edges.groups()) and int(edges[1]) > int(edges[2])):
        return Response(content, media_type=media_type, headers=headers)  # what makes no sense is to be ignored
    if edges[1]:
        first, last = int(edges[1]), min(int(edges[2] or size), size - 1)
    else:
        first, last = max(0, size - int(edges[2])), size - 1
    if first > last:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {first}-{last}/{size}"
    return Response(content[first : last + 1], 206, headers, media_type)


async def _elsewhere(request: Request) -> JSONResponse:
    """What is asked of no route: the page, which answers to every other address, would say that nothing is there."""
    known = [
        route for router in (server, models, jobs, archives) for route in router.routes if isinstance(route, APIRoute)
    ]
    partial = [route for route in known if route.matches(request.scope)[0] is Match.PARTIAL]
    allowed = sorted({method for route in partial for method in route.methods or ()})
    if not allowed:
        return JSONResponse({"detail": "There is nothing at this address."}, 404)
    methods = ", ".join(allowed)
    return JSONResponse({"detail": f"This address takes {methods} alone."}, 405, {"allow": methods})


def _problem(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Busy):
        return JSONResponse({"detail": str(error)}, 503, {"retry-after": str(RETRY_SECONDS)})
    return JSONResponse({"detail": str(error)}, 404 if isinstance(error, UnknownJob) else 422)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": in_a_sentence(error.errors()[0])}, 422)
