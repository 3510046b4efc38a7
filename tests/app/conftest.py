"""A service of the tiny model, one whose jobs wait for a word, and clients of the whole application."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi import UploadFile
from PIL import Image
from starlette.testclient import TestClient

import tiny
from visual_echoes.app.api import create_api
from visual_echoes.app.gate import LOOPBACK_NAMES, Gate
from visual_echoes.app.jobs import Job, JobStatus
from visual_echoes.app.server import create_app
from visual_echoes.app.service import Service
from visual_echoes.app.tasks import Task
from visual_echoes.media import write_wav
from visual_echoes.model.interface import Progress
from visual_echoes.pipeline import Result, VisualEchoes
from visual_echoes.streams import empty_tokens

ADDRESS = "http://127.0.0.1:7860"
TOKEN = "a token for the tests"
PATIENCE = 60  # seconds; a busy machine is no failure


def png(seed: int = 0, size: tuple[int, int] = (24, 20)) -> bytes:
    """An image of noise as a PNG file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sent(content: bytes, name: str) -> UploadFile:
    """A file as the API gets it."""
    return UploadFile(io.BytesIO(content), filename=name)


@pytest.fixture(scope="session")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tone, longer than the tiny model's sounds, as a WAV file."""
    path = tmp_path_factory.mktemp("tone") / "tone.wav"
    times = np.arange(4000) / tiny.LAYOUT.sample_rate
    write_wav(path, 0.5 * np.sin(2 * np.pi * 440 * times), tiny.LAYOUT.sample_rate, {})
    return path.read_bytes()


def wait(job: Job) -> JobStatus:
    """The job's status once it is over."""
    deadline = time.monotonic() + PATIENCE
    while not job.status().over and time.monotonic() < deadline:
        time.sleep(0.01)
    return job.status()


class Brake:
    """A task that takes a step whenever it is let, and makes a pair in the end."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self._steps = threading.Semaphore(0)

    def let(self, steps: int) -> None:
        self._steps.release(steps)

    def task(self, _: object = None) -> Task:
        return Task("pair", self._make)

    def _make(self, echoes: VisualEchoes, progress: Progress) -> Result:
        self.started.set()
        tokens = empty_tokens(echoes.layout.streams, 1)
        for step in range(3):
            assert self._steps.acquire(timeout=PATIENCE)
            progress(step + 1, 3, tokens, {name: side == step for name, side in tokens.items()})
        return echoes.generate_pair(1, steps=1)


@pytest.fixture
def service(echoes: VisualEchoes) -> Iterator[Service]:
    service = Service({"tiny": lambda: echoes, "other": lambda: echoes})
    yield service
    service.close()


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    """A visitor of the API on this machine; the page, which takes seconds to make, is not there."""
    gate = Gate(create_api(service), names=LOOPBACK_NAMES, token=None, has_room=lambda: True)
    with TestClient(gate, base_url=ADDRESS) as client:
        yield client


@pytest.fixture
def remote(service: Service) -> Iterator[TestClient]:
    """A visitor of the API from elsewhere, who has not shown the token yet."""
    gate = Gate(create_api(service), names=None, token=TOKEN, has_room=lambda: True)
    with TestClient(gate, base_url="http://echoes.example") as client:
        yield client


@pytest.fixture(scope="module")
def page(echoes: VisualEchoes, uploads: Path) -> Iterator[TestClient]:
    """A visitor of page and API on this machine; the page is made once for all tests of a module."""
    service = Service({"tiny": lambda: echoes})
    with TestClient(create_app(service, uploads, None, LOOPBACK_NAMES), base_url=ADDRESS) as client:
        yield client
    service.close()


@contextmanager
def held(service: Service) -> Iterator[None]:
    """Another job has its turn until the block ends."""
    brake = Brake()
    first = service.submit(None, brake.task)
    assert brake.started.wait(PATIENCE)
    try:
        yield
    finally:
        brake.let(3)
    assert wait(first).state == "done"
