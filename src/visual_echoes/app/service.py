"""The work behind page and API: models that are loaded once, and one bounded queue for one worker.

Jobs that wait for the same are made in one batch. No library for dynamic batching does it, as a batch is of one kind
and settings, jobs can leave it, each is told of every step, and all know their place in the queue.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from visual_echoes.app.batching import Items, along, cut, join
from visual_echoes.app.jobs import Cancelled, Job, JobStatus, Task
from visual_echoes.app.limits import (
    BATCH_DELAY,
    BATCH_ITEMS,
    MAX_KEPT_BYTES,
    MAX_KEPT_SECONDS,
    MAX_WAITING,
    POLL_SECONDS,
)
from visual_echoes.errors import EchoesError, collected
from visual_echoes.outputs import export_item
from visual_echoes.paths import shown
from visual_echoes.pipeline import Result, VisualEchoes
from visual_echoes.streams import Tokens

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Busy(EchoesError):
    """There is no room for another job."""


class UnknownJob(EchoesError):
    """There is no job of an id, or no longer."""


class Service:
    """Jobs batch after batch, and what came of them for a while.

    Args:
        models: how to load each model that may be asked for, by name; the first is loaded at once and used unless
            another one is named.
        batch_items: variants made at once, of jobs that wait for the same; 1 makes every job alone.
        batch_delay: seconds that jobs which had to wait wait for more to join them; one that finds nothing to wait for
            starts at once.

    Attributes:
        ended: how many jobs ended in which state.
        batches: how many batches were begun.
        seconds: time spent on jobs.

    Raises:
        EchoesError: the first model cannot be loaded.
    """

    def __init__(
        self,
        models: Mapping[str, Callable[[], VisualEchoes]],
        batch_items: int = BATCH_ITEMS,
        batch_delay: float = BATCH_DELAY,
    ) -> None:
        self.names = tuple(models)
        self.batch_items, self.batch_delay = batch_items, batch_delay
        self.ended: Counter[str] = Counter()
        self.batches = 0
        self.seconds = 0.0
        self._sources = models
        self._loaded: dict[str, VisualEchoes] = {}
        self._loading = threading.Lock()
        self._reading = threading.Lock()  # files are decoded one at a time, which bounds the memory it takes
        self._change = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._jobs: dict[str, Job] = {}  # oldest first
        self._closed = False
        self.model()
        self._worker = threading.Thread(target=self._work, name="echoes-worker", daemon=True)
        self._worker.start()

    # Models

    def model(self, name: str | None = None) -> VisualEchoes:
        """The model of a name, loaded the first time; None for the first one."""
        name = name or self.names[0]
        if name not in self._sources:
            raise EchoesError(f"There is no model '{shown(name)}' here; choose one of {', '.join(self.names)}.")
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = self._sources[name]()
            return self._loaded[name]

    # Jobs

    def submit(self, model: str | None, build: Callable[[VisualEchoes], Task]) -> Job:
        """Put a task in the queue.

        Args:
            model: its model's name; None for the first.
            build: makes the task for the loaded model, reading and fitting what it starts from.

        Raises:
            Busy: the queue is full.
            EchoesError: no such model, or `build` cannot use what it was given.
        """
        with self._change:
            self._check_room()
        echoes = self.model(model)
        with self._reading, collected() as notes:
            job = Job(build(echoes), model or self.names[0], notes)
        with self._change:
            self._check_room()
            self._forget_old()
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._line_up()
            self._change.notify_all()
        return job

    def read(self, model: str | None, read: Callable[[VisualEchoes], T]) -> T:
        """What `read` makes of a file for a model, while no other file is being decoded."""
        echoes = self.model(model)
        with self._reading:
            return read(echoes)

    def job(self, name: str) -> Job:
        """The job with an id.

        Raises:
            UnknownJob: there is none, or its results are no longer kept.
        """
        with self._change:
            self._forget_old()
            if name not in self._jobs:
                raise UnknownJob("There is no such job; results are kept for a while only, so make it again.")
            return self._jobs[name]

    def cancel(self, job: Job) -> None:
        """End a job at once if it waits, after its sampling step if it runs."""
        job.cancel()
        with self._change:
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job, "cancelled")
                self._line_up()

    def forget(self, job: Job) -> None:
        """Cancel a job and keep nothing of it."""
        self.cancel(job)
        with self._change:
            self._jobs.pop(job.id, None)

    # What goes on

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs being worked on, which make up one batch."""
        return len(self._running)

    @property
    def kept_bytes(self) -> int:
        """Bytes of results in memory."""
        with self._change:
            return sum(job.size for job in self._jobs.values())

    @property
    def alive(self) -> bool:
        """Whether jobs are being worked on at all."""
        return self._worker.is_alive() and not self._closed

    def close(self) -> None:
        """Cancel every job and end the worker."""
        with self._change:
            self._closed = True
            running, waiting = self._running, list(self._waiting)
            self._change.notify_all()
        for job in [*waiting, *running]:
            self.cancel(job)
        self._worker.join()

    # The worker

    def _work(self) -> None:
        while jobs := self._next():
            begin = time.monotonic()
            self._run(jobs)
            with self._change:
                self._running = []
                self.seconds += time.monotonic() - begin
                self._line_up()

    def _next(self) -> list[Job]:
        """The next batch, once there is one; nothing when the service is closed."""
        with self._change:
            if self._waiting:  # what comes to an idle worker is not held up
                self._change.wait_for(lambda: self._closed or self._full(), self.batch_delay)
            self._change.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return []
            self._running = self._alike()
            self._waiting = deque(job for job in self._waiting if job not in self._running)
            self.batches += 1
            self._line_up()
            return self._running

    def _alike(self) -> list[Job]:
        """The first waiting job and those that can be made along with it."""
        jobs = [job for job in self._waiting if job.model == self._waiting[0].model]
        defaults = self._loaded[jobs[0].model].defaults
        return [jobs[index] for index in along([job.task.make for job in jobs], defaults, self.batch_items)]

    def _full(self) -> bool:
        """Whether nothing can join the first waiting job."""
        calls = [job.task.make for job in self._alike()] if self._waiting else []
        counts = [len(call.seeds) if isinstance(call, Items) else self.batch_items for call in calls]
        return sum(counts) >= self.batch_items

    def _run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.start()
        make, rows = join([job.task.make for job in jobs])
        try:
            echoes = self.model(jobs[0].model)
            result = make(echoes, partial(self._advance, jobs, rows))
        except Cancelled:
            return
        except Exception as error:
            if len(jobs) == 1:
                self._fail(jobs[0], error)
            else:
                self._run_apart(jobs)
            return
        for job, own in zip(jobs, rows, strict=True):
            if not job.over:
                self._finish(job, echoes, cut(result, own))

    def _run_apart(self, jobs: Sequence[Job]) -> None:
        """Make one by one what could not be made together, such as for lack of memory."""
        for job in jobs:
            if not job.over:
                self._run([job])

    def _advance(
        self, jobs: Sequence[Job], rows: Sequence[slice], done: int, total: int, tokens: Tokens, masked: Tokens
    ) -> None:
        """Tell each job of its own items; those that are no longer wanted leave, and the last one ends the sampling."""
        for job, own in zip(jobs, rows, strict=True):
            if not job.over:
                try:
                    job.advance(done, total, *({n: t[own] for n, t in state.items()} for state in (tokens, masked)))
                except Cancelled:
                    self._end(job, "cancelled")
        if all(job.over for job in jobs):
            raise Cancelled

    def _finish(self, job: Job, echoes: VisualEchoes, result: Result) -> None:
        try:
            files = item_files(echoes, job.task, result)
        except Exception as error:
            self._fail(job, error)
        else:
            job.finish(result, files)
            self.ended["done"] += 1

    def _fail(self, job: Job, error: Exception) -> None:
        if isinstance(error, EchoesError):
            said = str(error)
        elif isinstance(error, MemoryError):
            said = "There is not enough memory for this; ask for fewer variants."
        else:
            _log.error("a job of the task %s failed", job.task.name, exc_info=error)
            said = "Something went wrong in the server, which has noted it; try other settings."
        self._end(job, "failed", said)

    def _end(self, job: Job, state: Literal["failed", "cancelled"], error: str | None = None) -> None:
        job.give_up(state, error)
        self.ended[state] += 1

    def _check_room(self) -> None:
        if self._closed or len(self._waiting) >= MAX_WAITING:
            raise Busy(f"{len(self._waiting)} jobs are waiting already, as many as fit; try again in a minute.")

    def _line_up(self) -> None:
        for index, job in enumerate(self._waiting):
            job.line_up(index + self.running)

    def _forget_old(self) -> None:
        """Let go of what ended long ago, and of the oldest results while all of them take too much memory."""
        ended = [(job.ended, job) for job in self._jobs.values() if job.ended is not None]
        kept = sum(job.size for _, job in ended)
        oldest = time.monotonic() - MAX_KEPT_SECONDS
        for when, job in sorted(ended, key=lambda entry: entry[0]):
            if when > oldest and kept <= MAX_KEPT_BYTES:
                return
            kept -= job.size
            del self._jobs[job.id]


async def follow(job: Job) -> AsyncIterator[JobStatus]:
    """The job's status now and whenever it has changed, until it is over."""
    last = None
    while last is None or not last.over:
        status = job.status()
        if status != last:
            yield status
            last = status
        else:
            await asyncio.sleep(POLL_SECONDS)


def item_files(echoes: VisualEchoes, task: Task, result: Result) -> dict[str, bytes]:
    """The files of all items, with what they say of themselves; nothing of them stays on the disk."""
    files = {}
    with tempfile.TemporaryDirectory(prefix="echoes-job-") as folder:
        for row in range(len(result.seeds)):
            stem, details = Path(folder) / str(row + 1), {"task": task.name, **task.details}
            for path in export_item(echoes.model, result, row, stem, task.suffixes, **details):
                files[path.name] = path.read_bytes()
    return files
