"""Examination in processes of their own, so that a file on which a decoder crashes or hangs takes nothing else down.

A worker process is this module, run with -m. The first line it reads holds the rules, and it writes an empty line when
it has them. Then it reads candidates as lines of JSON and writes a line for each outcome, and an empty one after the
last of each candidate. It ends with its input. Many of them work on this machine, or on all of a Ray cluster, with the
same outcomes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event, Timer
from typing import Any, TextIO

import visual_echoes
from visual_echoes.data.prepare.candidates import Candidate, Outcome, Reason, Rejected, Rules, unpack
from visual_echoes.data.prepare.examine import examine
from visual_echoes.errors import EchoesError

START_LIMIT = 120.0  # seconds that a worker may take to be ready
MAX_BYTES = 4 << 30  # of a worker's address space
BLOCK = 16  # candidates that a worker of a cluster takes at a time, and so what a kill can lose of each
MAX_BLOCKS = 10_000  # Ray's scheduler keeps an eye on each
_MODULE = "visual_echoes.data.prepare.workers"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Examined = tuple[Candidate, list[Outcome]]


class IsolatedExaminer:
    """Examines candidates one after the other in a worker process, which is started anew after it died.

    Args:
        rules: as for `examine`.
        time_limit: seconds that a worker may take for one clip.
    """

    def __init__(self, rules: Rules, time_limit: float) -> None:
        self._rules, self._time_limit = rules, time_limit
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, candidate: Candidate) -> list[Outcome]:
        """All outcomes of a candidate; a single rejection if its worker died or took too long."""
        process = self._process = self._process or self._start()
        expired = Event()
        lines: list[str] = []
        try:
            _send(process, asdict(candidate))
            while (line := _read_line(process, self._time_limit, expired)) != "\n":
                lines.append(line)
        except (OSError, EOFError):
            self._process = None
            process.kill()
            status = process.wait()
            if expired.is_set():
                reason, detail = Reason.TIMED_OUT, f"more than {self._time_limit:g} s for one clip"
            else:
                how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                reason, detail = Reason.CRASHED, f"ended {how}"
            return [Rejected(candidate.id, candidate.files[0], reason, detail)]
        return unpack([json.loads(line) for line in lines])

    def close(self) -> None:
        """End the worker at once, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[str]:
        package = str(Path(visual_echoes.__file__).parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE],  # -P: modules in the current folder are none of ours
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            env=os.environ | _ONE_THREAD | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the process that keeps the journal
        )  # fmt: skip
        try:
            _send(process, asdict(self._rules))
            _read_line(process, START_LIMIT, Event())
        except (OSError, EOFError) as error:
            process.kill()
            raise EchoesError("A worker process could not be started; use fewer --workers.") from error
        return process


def _send(process: subprocess.Popen[str], value: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(value) + "\n")
    process.stdin.flush()


def _read_line(process: subprocess.Popen[str], time_limit: float, expired: Event) -> str:
    """The worker's next line; `EOFError` if it dies, or is killed since the time is up, which `expired` then tells."""

    def end() -> None:
        expired.set()
        process.kill()

    assert process.stdout is not None
    timer = Timer(time_limit, end)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    if not line.endswith("\n"):
        raise EOFError
    return line


def examine_in_pool(
    candidates: Iterable[Candidate], rules: Rules, workers: int, time_limit: float
) -> Generator[Examined, None, None]:
    """Yield each candidate with its outcomes as soon as they are known, in any order; closing it ends all workers."""
    idle = [IsolatedExaminer(rules, time_limit) for _ in range(workers)]
    examiners = list(idle)
    running: dict[Future[list[Outcome]], tuple[Candidate, IsolatedExaminer]] = {}

    def finished() -> Iterator[Examined]:
        """Wait for at least one result; take all there are."""
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            candidate, examiner = running.pop(future)
            idle.append(examiner)
            yield candidate, future.result()

    with ThreadPoolExecutor(workers) as threads:  # each waits for one worker process
        try:
            for candidate in candidates:
                if not idle:
                    yield from finished()
                examiner = idle.pop()
                running[threads.submit(examiner, candidate)] = candidate, examiner
            while running:
                yield from finished()
        finally:
            for examiner in examiners:
                examiner.close()


class _RayExaminer:
    """The examiner as Ray's workers hold it; Ray carries rows of plain text."""

    def __init__(self, rules: Rules, time_limit: float) -> None:
        self._examiner = IsolatedExaminer(rules, time_limit)

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        outcomes = self._examiner(Candidate(**json.loads(row["candidate"])))
        return {"candidate": row["candidate"], "outcomes": json.dumps([asdict(outcome) for outcome in outcomes])}

    def __del__(self) -> None:
        self._examiner.close()


def examine_on_cluster(
    candidates: Sequence[Candidate], rules: Rules, workers: int | None, time_limit: float, address: str
) -> Generator[Examined, None, None]:
    """Yield each candidate with its outcomes, in any order. Every machine must see the files under the same paths.

    Args:
        workers: how many; None for as many as the cluster has cores.
        address: of a running cluster ("auto" for the one this machine belongs to), or "local" to start one here.
    """
    import ray

    ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    try:
        rows = [{"candidate": json.dumps(asdict(candidate))} for candidate in candidates]
        count = workers or int(ray.cluster_resources()["CPU"])
        blocks = min(len(rows), max(count, min(MAX_BLOCKS, len(rows) // BLOCK)))
        ray.data.DataContext.get_current().enable_progress_bars = False
        dataset = ray.data.from_items(rows, override_num_blocks=blocks).map(
            _RayExaminer, fn_constructor_args=(rules, time_limit), concurrency=count
        )
        for row in dataset.iter_rows():
            yield Candidate(**json.loads(row["candidate"])), unpack(json.loads(row["outcomes"]))
    finally:
        ray.shutdown()


def main() -> None:
    """Be a worker process."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a decoder prints is no result
    with suppress(ImportError, OSError, ValueError):  # not everywhere, and never above the user's own limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    rules = Rules(**json.loads(sys.stdin.readline()))
    _write(results, "")
    for line in sys.stdin:
        candidate = Candidate(**json.loads(line))
        try:
            for outcome in examine(candidate, rules):
                _write(results, json.dumps(asdict(outcome)))
        except MemoryError:
            _write(results, json.dumps(asdict(Rejected(candidate.id, candidate.files[0], Reason.OUT_OF_MEMORY))))
        _write(results, "")


def _write(results: TextIO, line: str) -> None:
    results.write(line + "\n")
    results.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
