"""The work behind page and API: models that are loaded once, and one bounded queue for two workers.

One worker makes long sounds, the other everything else. They take turns with the models, window by window and batch by
batch, so that nobody waits for the whole of a video; what a video needs besides, such as decoding, is done between.

Jobs that wait for the same are made in one batch. No library for dynamic batching does it, as a batch is of one kind
and settings, jobs can leave it, each is told of every step, and all know their place in the queue.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeVar

from visual_echoes.app.jobs import Cancelled, Job, JobStatus
from visual_echoes.app.limits import (
    BATCH_DELAY,
    BATCH_ITEMS,
    LONGEST_SOUND,
    MAX_KEPT_BYTES,
    MAX_KEPT_SECONDS,
    MAX_WAITING,
    POLL_SECONDS,
)
from visual_echoes.app.long import LongSound, check_length
from visual_echoes.app.tasks import Items, Task, along, cut, item_files, join
from visual_echoes.app.turns import Line, Turn
from visual_echoes.errors import EchoesError, collected
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
        longest: seconds of sound that one job may make window by window.

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
        longest: float = LONGEST_SOUND,
    ) -> None:
        self.names = tuple(models)
        self.batch_items, self.batch_delay, self.longest = batch_items, batch_delay, longest
        self.ended: Counter[str] = Counter()
        self.batches = 0
        self.seconds = 0.0
        self._sources = models
        self._loaded: dict[str, VisualEchoes] = {}
        self._loading = threading.Lock()
        self._reading = threading.Lock()  # files are decoded one at a time, which bounds the memory it takes
        self._change = threading.Condition()
        self._line = Line()
        self._waiting: deque[Job] = deque()
        self._running: dict[bool, Sequence[Job]] = {False: (), True: ()}  # by whether they make long sounds
        self._jobs: dict[str, Job] = {}  # oldest first
        self._closed = False
        self.model()
        self._workers = [
            threading.Thread(target=self._work, args=(long,), name=f"echoes-worker-{long}", daemon=True)
            for long in self._running
        ]
        for worker in self._workers:
            worker.start()

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
            EchoesError: no such model, `build` cannot use what it was given, or too long a sound is asked for.
        """
        with self._change:
            self._check_room()
        echoes = self.model(model)
        with self._reading, collected() as notes:
            job = Job(build(echoes), model or self.names[0], notes)
        if isinstance(made := job.task.make, LongSound):
            check_length(made.name, made.seconds, len(made.seeds), self.longest)
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

    def find(self, name: str) -> Job | None:
        """The job with an id; None where there is none."""
        try:
            return self.job(name)
        except UnknownJob:
            return None

    def cancel(self, job: Job) -> None:
        """End a job at once if it waits, after its sampling step or window if it runs."""
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
        """Jobs being worked on: a batch, and one that makes a long sound."""
        return sum(map(len, self._running.values()))

    @property
    def kept_bytes(self) -> int:
        """Bytes of results in memory."""
        with self._change:
            return sum(job.size for job in self._jobs.values())

    @property
    def alive(self) -> bool:
        """Whether jobs are being worked on at all."""
        return all(worker.is_alive() for worker in self._workers) and not self._closed

    def close(self) -> None:
        """Cancel every job and end the workers."""
        with self._change:
            self._closed = True
            jobs = [*self._waiting, *self._running[False], *self._running[True]]
            self._change.notify_all()
        for job in jobs:
            self.cancel(job)
        for worker in self._workers:
            worker.join()

    # The workers; one of them makes long sounds

    def _work(self, long: bool) -> None:
        while jobs := self._next(long):
            begin = time.monotonic()
            with Turn(self._line) as turn:
                if long:
                    self._run_long(jobs[0], turn)
                else:
                    turn.begin()
                    self._run(jobs)
            with self._change:
                self._running[long] = ()
                self.seconds += time.monotonic() - begin
                self._line_up()

    def _next(self, long: bool) -> Sequence[Job]:
        """A worker's next batch, once there is one; nothing when the service is closed."""
        with self._change:
            if self._queue(long):  # what comes to an idle worker is not held up
                self._change.wait_for(lambda: self._closed or self._full(long), self.batch_delay)
            self._change.wait_for(lambda: self._queue(long) or self._closed)
            if self._closed:
                return []
            self._running[long] = jobs = self._alike(long)
            self._waiting = deque(job for job in self._waiting if job not in jobs)
            self.batches += 1
            self._line_up()
            return jobs

    def _queue(self, long: bool) -> list[Job]:
        """The jobs that wait for a worker."""
        return [job for job in self._waiting if _is_long(job) is long]

    def _alike(self, long: bool) -> list[Job]:
        """The first job that waits for a worker, and those that can be made along with it."""
        queue = self._queue(long)
        if long:
            return queue[:1]
        jobs = [job for job in queue if job.model == queue[0].model]
        defaults = self._loaded[jobs[0].model].defaults
        return [jobs[index] for index in along([job.task.make for job in jobs], defaults, self.batch_items)]

    def _full(self, long: bool) -> bool:
        """Whether nothing can join the first job that waits for a worker."""
        calls = [job.task.make for job in self._alike(long)] if self._queue(long) else []
        counts = [len(call.seeds) if isinstance(call, Items) else self.batch_items for call in calls]
        return sum(counts) >= self.batch_items

    def _run_long(self, job: Job, turn: Turn) -> None:
        """Make a long sound, with a turn for each window alone."""
        made = job.task.make
        assert isinstance(made, LongSound)
        job.start()

        def watch(row: int, done: int, windows: int) -> None:
            turn.end()
            job.pass_window(row, done, windows)
            if done < windows:
                turn.begin()

        try:
            files = made.make(self.model(job.model), watch, job.hear)
        except Cancelled:
            self._end(job, "cancelled")
        except Exception as error:
            self._fail(job, error)
        else:
            job.finish_long(made, files)
            self.ended["done"] += 1

    def _run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.start()
        make, rows = join([make for job in jobs if not isinstance(make := job.task.make, LongSound)])
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
        for long, running in self._running.items():
            for index, job in enumerate(self._queue(long)):
                job.line_up(index + len(running))

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


def _is_long(job: Job) -> bool:
    return isinstance(job.task.make, LongSound)


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
