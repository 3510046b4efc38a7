"""A job: one task on its way through the queue, and what came of it.

Any thread may look at it.

Shapes: B items, P positions of a stream, Q codes a position.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from visual_echoes.app.long import LongSound
from visual_echoes.app.tasks import Task
from visual_echoes.pipeline import Result
from visual_echoes.streams import Tokens
from visual_echoes.windows import Window

MASKED = -1  # stands for a masked token

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]


class Cancelled(Exception):
    """Raised between two sampling steps, or windows, of a job that is no longer wanted."""


# Tokens after a sampling step, by stream: the first code of each position, int16 (B, P), or `MASKED`.
Frame = dict[str, np.ndarray]


class JobStatus(BaseModel):
    """What is known of a job at one moment.

    Attributes:
        ahead: jobs that come before it; 0 unless it waits.
        unit: what is counted: sampling steps, or the windows of long sounds.
        done: steps or windows done.
        total: steps or windows in all; 0 before the first begins or is done.
        seeds: of each item; with its seed an item can be made again.
        confidence: of each item, the probability that it is what was asked for; null where the model cannot tell.
        files: names of the files that can be fetched.
        notes: what is worth knowing about the files it started from, such as damage inside a sound.
        error: why it failed, in one sentence.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    task: str
    model: str
    state: JobState = "waiting"
    ahead: int = 0
    unit: Literal["step", "window"] = "step"
    done: int = 0
    total: int = 0
    seeds: tuple[int, ...] = ()
    confidence: tuple[float | None, ...] = ()
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "cancelled")


class Job:
    """A task with its status; `id` cannot be guessed, so that whoever knows it is whom it belongs to.

    One thread changes it at a time: who holds the queue while it waits, the worker from then on.

    Attributes:
        model: its name in the service.
        frames: one for each sampling step done.
        heard: of a long sound that is being made: a variant's row, a window of it and the window's sound.
        result: what was made; None unless it is done, and for long sounds, which are files alone.
        files: content by name, such as "1.wav" for the first item's sound.
        ended: when it ended, in seconds of the monotonic clock; None before.
    """

    def __init__(self, task: Task, model: str, notes: Sequence[str] = ()) -> None:
        self.id, self.task, self.model = secrets.token_urlsafe(24), task, model
        self.frames: list[Frame] = []
        self.heard: list[tuple[int, Window, np.ndarray]] = []
        self.result: Result | None = None
        self.files: Mapping[str, bytes] = {}
        self.ended: float | None = None
        self._cancelled = threading.Event()
        unit: Literal["step", "window"] = "window" if isinstance(task.make, LongSound) else "step"
        self._status = JobStatus(id=self.id, task=task.name, model=model, unit=unit, notes=tuple(notes))

    def status(self) -> JobStatus:
        """The job as it is now."""
        return self._status

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.ended is not None

    @property
    def size(self) -> int:
        """Bytes of what it made."""
        arrays = () if self.result is None else (self.result.images, self.result.audio, self.result.mels)
        grids = sum(tokens_BP.nbytes for frame in self.frames for tokens_BP in frame.values())
        grids += sum(wave_N.nbytes for _, _, wave_N in self.heard)
        return grids + sum(map(len, self.files.values())) + sum(a.nbytes for a in arrays if a is not None)

    def cancel(self) -> None:
        """Ask the job to end; one that runs does so after its sampling step or window."""
        self._cancelled.set()

    def line_up(self, ahead: int) -> None:
        """Say how many jobs come before it."""
        self._become(ahead=ahead)

    def start(self) -> None:
        """Say that its turn has come; nothing is left of an earlier try."""
        self.frames.clear()
        self._become(state="running", ahead=0, done=0)

    def advance(self, done: int, total: int, tokens: Tokens, masked: Tokens) -> None:
        """Note a sampling step; raises `Cancelled` if the job is no longer wanted.

        Steps that a stage had no need of look as the one after which it was filled.
        """
        frame = {name: _first_codes(tokens[name], masked[name]) for name in tokens}
        self.frames += [frame] * max(1, done - len(self.frames))
        self._count(done, total)

    def hear(self, row: int, window: Window, wave_N: np.ndarray) -> None:
        """Note the sound of a variant's window."""
        self.heard.append((row, window, wave_N))

    def pass_window(self, row: int, done: int, windows: int) -> None:
        """Note that so many windows of a variant are done; raises `Cancelled` if the job is no longer wanted."""
        assert isinstance(self.task.make, LongSound)
        self._count(row * windows + done, len(self.task.make.seeds) * windows)

    def finish(self, result: Result, files: Mapping[str, bytes]) -> None:
        """End it well."""
        self.result = result
        self._end(state="done", seeds=result.seeds, confidence=_chances(result), files=files)

    def finish_long(self, made: LongSound, files: Mapping[str, bytes]) -> None:
        """End a long sound well."""
        self._end(state="done", seeds=tuple(made.seeds), confidence=(None,) * len(made.seeds), files=files)

    def give_up(self, state: Literal["failed", "cancelled"], error: str | None = None) -> None:
        """End it without a result."""
        self._end(state=state, ahead=0, error=error)

    def _count(self, done: int, total: int) -> None:
        self._become(done=done, total=total)
        if self._cancelled.is_set():
            raise Cancelled

    def _end(self, files: Mapping[str, bytes] | None = None, **changes: Any) -> None:
        self.task.held.close()
        self.heard.clear()
        self.files, self.ended = files or {}, time.monotonic()
        self._become(files=tuple(self.files), **changes)

    def _become(self, **changes: Any) -> None:
        self._status = self._status.model_copy(update=changes)


def _first_codes(tokens_BPQ: Tensor, masked_BPQ: Tensor) -> np.ndarray:
    return tokens_BPQ.masked_fill(masked_BPQ, MASKED)[..., 0].to("cpu").numpy().astype(np.int16)


def _chances(result: Result) -> tuple[float | None, ...]:
    if result.confidence is None:
        return (None,) * len(result.seeds)
    return tuple(None if math.isnan(chance) else float(chance) for chance in result.confidence)
